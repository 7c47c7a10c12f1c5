"""Hostile input through the public API: a result or a typed error, in bounded time and memory."""

from __future__ import annotations

import resource
import time
from contextlib import contextmanager, suppress
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal

import pytest
from pydantic import BaseModel, Field, create_model

import gemma_structured as gs
from gemma_structured.models.local import LocalModel

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from gemma_structured.decoding.loaded_model import LoadedModel

ARCHITECTURES = ("gemma4", "gemma3", "mixtral", "afmoe", "minimax_m2", "deepseek_v3")


class Answer(BaseModel):
    """A small answer."""

    kind: Literal["a", "b"]
    count: int = Field(ge=0, le=9)


@pytest.fixture
def local(tiny_model: Callable[[Any], LoadedModel]) -> Callable[[str], LocalModel]:
    """Makes a model over a tiny one."""

    def make(architecture: str) -> LocalModel:
        loaded = tiny_model(architecture)
        return LocalModel.from_transformers(loaded.model, loaded.tokenizer)

    return make


@contextmanager
def bounded(seconds: float = 60, megabytes: float = 1500) -> Generator[None]:
    """Fail if a block takes more than this; generous, since it is about runaways, not speed."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.monotonic()
    yield
    assert time.monotonic() - started < seconds
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < megabytes


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(
    "document", ["", " \n\t ", "\x00\x00nul\x00", "\ufeffbom", "a\u202eb", "🙂" * 50]
)
def test_odd_documents_are_answered(local, architecture, document):
    """Nothing, white space, NUL, marks and emoji are documents like others."""
    result = local(architecture).generate(document, Answer, max_tokens=100)
    assert isinstance(result.output, Answer)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_control_tokens_in_a_document_stay_text(local, architecture):
    """A document made of every control token's name yields none of their ids."""
    model = local(architecture)
    runtime = model.runtime()
    names = [
        runtime.vocabulary.decode([i], show_control=True) for i in runtime.vocabulary.control_ids
    ]
    document = "".join(names)
    ids = runtime.vocabulary.encode(document)
    assert not runtime.vocabulary.control_ids & set(ids)
    assert runtime.vocabulary.decode(ids) == document
    assert isinstance(model.generate(document, Answer, max_tokens=100).output, Answer)


@pytest.mark.parametrize("surrogate", ["\ud800", "ok \udfff tail"])
def test_a_lone_surrogate_is_an_input_error(local, surrogate):
    """What is no Unicode text is refused, in a document, an instruction and an example."""
    model = local("gemma4")
    with pytest.raises(gs.InputError):
        model.generate(surrogate, Answer)
    with pytest.raises(gs.InputError):
        model.generate("doc", Answer, instruction=surrogate)
    with pytest.raises(gs.InputError):
        model.generate("doc", Answer, examples=[gs.Example(surrogate, Answer(kind="a", count=1))])


@pytest.mark.parametrize("document", [None, 3, b"bytes", [], ["text"], object()])
def test_what_is_no_document_is_an_input_error(local, document):
    """An input is a text or messages; anything else is refused with what it was."""
    with pytest.raises(gs.InputError):
        local("gemma4").generate(document, Answer)


def test_a_document_of_a_megabyte_is_refused_with_both_numbers(local):
    """It does not fit, and the error says how much there was and how much there is room for."""
    with bounded(), pytest.raises(gs.ContextLengthError) as caught:
        local("gemma4").generate("word " * 200_000, Answer)
    assert caught.value.prompt_tokens >= 1_000_000 > caught.value.context_length


def test_two_thousand_properties(local):
    """A model with 2,000 fields is written, or refused with what to do."""
    fields: dict[str, Any] = {f"field_{i}": (bool, ...) for i in range(2000)}
    wide = create_model("Wide", **fields)
    with bounded():
        outcomes = local("mixtral").batch(["d"], wide, errors="return", max_tokens=200)
    assert isinstance(
        outcomes[0], (gs.ContextLengthError, gs.GrammarError, gs.IncompleteOutputError)
    )


def test_ten_thousand_enum_members(local):
    """One of 10,000 values is chosen."""
    many = Enum("many", {f"member_{i}": f"value {i}" for i in range(10_000)})
    model = local("mixtral")
    with bounded():
        outcome = model.compile(many).batch(["d"], errors="return")[0]
        short = model.generate("d", gs.Choice([f"v{i}" for i in range(1000)]))
    assert isinstance(outcome, gs.ContextLengthError) or isinstance(outcome.output, many)
    assert short.output.startswith("v")


def nested_schema(depth: int) -> dict[str, Any]:
    """A JSON Schema whose one instance is as deep."""
    schema: dict[str, Any] = {"type": "boolean"}
    for _ in range(depth):
        schema = {
            "type": "object",
            "properties": {"in": schema},
            "required": ["in"],
            "additionalProperties": False,
        }
    return schema


def test_sixty_levels_of_nesting(local):
    """A deep schema is written, all of it; a chain of as many classes too, or it is refused."""
    deep: Any = bool
    for _ in range(60):
        deep = create_model("Deep", inner=(deep, ...))
    with bounded():
        result = local("mixtral").generate("d", gs.JsonSchema(nested_schema(60)), max_tokens=1500)
        with suppress(gs.SchemaError):
            local("mixtral").generate("d", deep, max_tokens=1500)
    assert result.text.count("{") == 60


@pytest.mark.parametrize("pattern", [r"^(a+)+$", r"^(a|a)*$", r"^(.*)*$", r"^(\w+\s?)*$"])
def test_a_catastrophic_regular_expression(local, pattern):
    """A pattern that backtracks without end elsewhere ends here, masked and validated."""
    with bounded():
        outcome = local("mixtral").batch(
            ["d"],
            gs.JsonSchema({"type": "string", "pattern": pattern}),
            errors="return",
            max_tokens=60,
        )[0]
    assert isinstance(outcome, (gs.Result, gs.IncompleteOutputError, gs.GrammarError))


class Endless(BaseModel):
    """Has no finite value."""

    again: Endless


def test_a_type_with_no_finite_value_is_refused_at_once(local):
    """It is refused when it is compiled, with its path."""
    with pytest.raises(gs.SchemaError) as caught:
        local("gemma4").compile(Endless)
    assert "Endless" in caught.value.path


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "strin"},
        {"$ref": "#/$defs/missing"},
        {"type": "string", "pattern": "("},
        {"minimum": "one"},
        {"type": "integer", "minimum": 5, "maximum": 3},
        False,
    ],
)
def test_a_schema_that_cannot_be_used_is_refused_at_once(local, schema):
    """Nothing is generated for a schema that is wrong or that nothing satisfies."""
    with pytest.raises(gs.SchemaError):
        local("gemma4").compile(gs.JsonSchema(schema))
