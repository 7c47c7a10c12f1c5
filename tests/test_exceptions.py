"""The error tree: drawn as it is, caught as Python's own, safe to log and to send elsewhere."""

from __future__ import annotations

import copy
import pickle
import re
from typing import Any

import pytest

import gemma_structured.exceptions as errors
from gemma_structured.types import Attempt, Issue, Usage

SECRET = "the whole document"
ATTEMPT = Attempt(model_name="m", text=SECRET, finish_reason="stop", usage=Usage())
ISSUE = Issue(path=("a",), message="must be a number", found='"x"')

EXAMPLES: list[errors.GemmaStructuredError] = [
    errors.GemmaStructuredError("went wrong", hint="Do that.", attempts=[ATTEMPT]),
    errors.InputError("bad input"),
    errors.SchemaError("cannot be used", path="/a", keyword="not", hint="Drop it."),
    errors.GrammarError("no"),
    errors.TokenRejectedError(5, 2),
    errors.ModelError("no answer", model_name="m"),
    errors.LoadError("missing", model_name="m"),
    errors.ContextLengthError(prompt_tokens=9, context_length=5, model_name="m"),
    errors.TransportError("cut", retryable=False),
    errors.APIStatusError("odd", status_code=500, retryable=True, retry_after=2.5),
    errors.AuthenticationError("who", status_code=401),
    errors.InsufficientCreditsError("pay", status_code=402),
    errors.RateLimitError("slow", status_code=429, retry_after=1.0),
    errors.IncompleteOutputError("cut", text=SECRET, usage=Usage(sampled_tokens=3)),
    errors.RefusalError("no"),
    errors.BudgetExceededError("spent"),
    errors.DeadlineExceededError("late"),
    errors.GenerationCancelledError("gone"),
    errors.ModelBusyError("full"),
    errors.FallbackError("All failed.", [errors.LoadError("a"), errors.TransportError("b")]),
    errors.OutputValidationError(text=SECRET, issues=[ISSUE], attempts=[ATTEMPT, ATTEMPT]),
    errors.ToolError("broke"),
    errors.ToolRetry("call it with a city"),
    errors.ToolTimeoutError("slow"),
]


def test_every_error_has_an_example_here() -> None:
    """So that what follows is tested for all of them."""
    assert {type(error).__name__ for error in EXAMPLES} == set(errors.__all__)


def test_the_tree_is_drawn_as_it_is() -> None:
    """Each error stands under its parent in the module's docstring."""
    stack: list[str] = []
    drawn: dict[str, str] = {}
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"^((?:[│├└─ ]{4})*)(\w+)\b", line)
        if found and found[2] in errors.__all__:
            depth = len(found[1]) // 4
            stack[depth:] = [found[2]]
            drawn[found[2]] = stack[depth - 1] if depth else "Exception"
    assert drawn == {name: getattr(errors, name).__bases__[0].__name__ for name in errors.__all__}


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("copied", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy])
def test_errors_survive_the_way_to_another_process(error: Any, copied: Any) -> None:
    """Pickled or copied, with every attribute."""
    again = copied(error)
    assert type(again) is type(error)
    assert str(again) == str(error)
    before, after = dict(vars(error)), dict(vars(again))
    for state in (before, after):
        state.pop("_exceptions", None)
    assert before == after
    if isinstance(error, errors.FallbackError):
        assert [str(cause) for cause in again.exceptions] == ["a", "b"]


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_neither_message_nor_repr_holds_a_document(error: errors.GemmaStructuredError) -> None:
    """A log line leaks nothing; what was written is in attributes."""
    assert SECRET not in str(error)
    assert SECRET not in repr(error)


def test_a_message_ends_with_what_to_do() -> None:
    """The hint follows the message, which is there alone too."""
    error = EXAMPLES[0]
    assert (error.message, str(error)) == ("went wrong", "went wrong Do that.")
    assert error.attempts == (ATTEMPT,)


@pytest.mark.parametrize(
    ("kind", "parent"),
    [
        (errors.InputError, ValueError),
        (errors.SchemaError, ValueError),
        (errors.DeadlineExceededError, TimeoutError),
        (errors.ToolTimeoutError, TimeoutError),
        (errors.FallbackError, ExceptionGroup),
    ],
)
def test_errors_are_python_s_own_too(kind: type, parent: type) -> None:
    """So that code which knows nothing of this package catches them."""
    assert issubclass(kind, parent)


def test_a_schema_error_says_where() -> None:
    """The path first; the root has a name; without a place there is none."""
    assert str(errors.SchemaError("no", path="/a/b")) == "/a/b: no"
    assert str(errors.SchemaError("no", keyword="not")) == "(root): no"
    assert str(errors.SchemaError("no")) == "no"


def test_a_context_error_has_both_numbers() -> None:
    """In the message and as attributes."""
    error = errors.ContextLengthError(prompt_tokens=900, context_length=512)
    assert "900" in str(error)
    assert "512" in str(error)
    assert (error.prompt_tokens, error.context_length) == (900, 512)


def test_a_validation_error_shows_the_first_issues() -> None:
    """Five of them, and how many more there are."""
    few = errors.OutputValidationError(text="x", issues=[ISSUE], attempts=[ATTEMPT])
    assert str(few) == "The output does not validate: /a: must be a number."
    many = errors.OutputValidationError(text="x", issues=[ISSUE] * 9, attempts=[ATTEMPT] * 3)
    assert "after 3 attempts" in str(many)
    assert str(many).count("/a: ") == 5
    assert "(and 4 more)" in str(many)


def test_a_fallback_error_has_a_cause_for_each_model() -> None:
    """Each can be caught with `except*`, and their attempts are together."""
    busy = errors.ModelBusyError("full", model_name="a", attempts=[ATTEMPT])
    group = errors.FallbackError("All models failed.", [busy, errors.LoadError("gone")])
    assert "a: ModelBusyError: full; model: LoadError: gone" in str(group)
    assert group.attempts == (ATTEMPT,)
    caught = []
    try:
        raise group
    except* errors.ModelBusyError as part:
        caught += part.exceptions
    except* errors.LoadError as part:
        caught += part.exceptions
    assert [type(error) for error in caught] == [errors.ModelBusyError, errors.LoadError]
