"""Every error that the package raises, in one tree.

```
GemmaStructuredError
├── InputError                    a document or option that cannot be used (also a ValueError)
├── SchemaError                   a type or schema that cannot be used (also a ValueError)
├── GrammarError                  a grammar that does not compile, or a matcher that failed
│   └── TokenRejectedError        a token that the grammar does not allow
├── ModelError                    the model gave no usable answer
│   ├── LoadError                 missing extra, weights, files or memory
│   ├── ContextLengthError        the prompt does not fit into the model's context
│   ├── TransportError            no answer arrived: connection, TLS, a cut stream
│   ├── APIStatusError            the server answered with an error
│   │   ├── AuthenticationError
│   │   ├── InsufficientCreditsError
│   │   └── RateLimitError
│   ├── IncompleteOutputError     the token budget ended inside the answer: what there is of it
│   ├── RefusalError              the model or its provider declined
│   ├── BudgetExceededError       the call could pass, or has passed, the money or token budget
│   ├── DeadlineExceededError     the time is up (also a TimeoutError)
│   ├── GenerationCancelledError  the caller closed the stream or cancelled the task
│   ├── ModelBusyError            no room for one more request
│   └── FallbackError             every model failed (also an ExceptionGroup: one cause a model)
├── OutputValidationError         the last attempt does not validate: text, issues, every attempt
└── ToolError                     a tool that cannot be used or that failed
    ├── ToolRetry                 raised by a tool: the model is to call it again, otherwise
    └── ToolTimeoutError          a tool took longer than it may (also a TimeoutError)
```

Messages say where, what was found, and what to do. They hold no document text, no model output and
no keys: those are in attributes, so that a log line leaks nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gemma_structured.types import Attempt, Issue, Usage

__all__ = [
    "APIStatusError",
    "AuthenticationError",
    "BudgetExceededError",
    "ContextLengthError",
    "DeadlineExceededError",
    "FallbackError",
    "GemmaStructuredError",
    "GenerationCancelledError",
    "GrammarError",
    "IncompleteOutputError",
    "InputError",
    "InsufficientCreditsError",
    "LoadError",
    "ModelBusyError",
    "ModelError",
    "OutputValidationError",
    "RateLimitError",
    "RefusalError",
    "SchemaError",
    "TokenRejectedError",
    "ToolError",
    "ToolRetry",
    "ToolTimeoutError",
    "TransportError",
]

_SHOWN_ISSUES = 5


class GemmaStructuredError(Exception):
    """The root of the tree.

    Attributes:
        hint: What to do about it, where that is known.
        attempts: Every attempt that was made before this error, with its usage.
    """

    def __init__(
        self, message: str, *, hint: str | None = None, attempts: Sequence[Attempt] = ()
    ) -> None:
        super().__init__(message)
        self.hint = hint
        self.attempts: tuple[Attempt, ...] = tuple(attempts)

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by state: several errors have arguments that are keyword-only."""
        return _rebuild, (type(self), self._new_args(), self.__dict__)

    def _new_args(self) -> tuple[object, ...]:
        return self.args

    @property
    def message(self) -> str:
        """What happened and where."""
        return str(self.args[0])

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message} {self.hint}"


class InputError(GemmaStructuredError, ValueError):
    """A document, message or example that cannot be used."""


class SchemaError(GemmaStructuredError, ValueError):
    """A type or schema that cannot be used.

    Attributes:
        path: Where, as a JSON Pointer into the schema (RFC 6901), or a dotted path into a type.
        keyword: The JSON Schema keyword at fault, where there is one.
    """

    def __init__(
        self, message: str, *, path: str = "", keyword: str | None = None, hint: str | None = None
    ) -> None:
        where = f"{path or '(root)'}: " if path or keyword else ""
        super().__init__(f"{where}{message}", hint=hint)
        self.path = path
        self.keyword = keyword


class GrammarError(GemmaStructuredError):
    """A grammar that does not compile, or a matcher that failed."""


class TokenRejectedError(GrammarError):
    """A token that the grammar does not allow at this place.

    Attributes:
        token_id: The token.
        position: How many tokens the matcher had accepted before it.
    """

    def __init__(self, token_id: int, position: int) -> None:
        super().__init__(f"Token {token_id} is not allowed after {position} accepted tokens.")
        self.token_id = token_id
        self.position = position


class ModelError(GemmaStructuredError):
    """The model gave no usable answer.

    Attributes:
        model_name: Who was asked, where that is known.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        attempts: Sequence[Attempt] = (),
        model_name: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint, attempts=attempts)
        self.model_name = model_name


class LoadError(ModelError):
    """The model cannot be loaded: a missing extra, weights, files or memory."""


class ContextLengthError(ModelError):
    """The prompt does not fit into the model's context.

    Attributes:
        prompt_tokens: The prompt's length in tokens.
        context_length: The most positions that the model has.
    """

    def __init__(
        self, *, prompt_tokens: int, context_length: int, model_name: str | None = None
    ) -> None:
        super().__init__(
            f"The prompt has {prompt_tokens} tokens and the model's context holds "
            f"{context_length}, its answer included.",
            hint="Shorten or split the document, or give fewer examples.",
            model_name=model_name,
        )
        self.prompt_tokens = prompt_tokens
        self.context_length = context_length


class TransportError(ModelError):
    """No answer arrived: connection, TLS, a cut stream.

    Attributes:
        retryable: Whether the same request may succeed later.
    """

    def __init__(
        self,
        message: str,
        *,
        retryable: bool = True,
        hint: str | None = None,
        attempts: Sequence[Attempt] = (),
        model_name: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint, attempts=attempts, model_name=model_name)
        self.retryable = retryable


class APIStatusError(ModelError):
    """The server answered with an error.

    Attributes:
        status_code: The HTTP status, or the code inside a body that came with status 200.
        retry_after: Seconds that the server asked to wait, where it did.
        retryable: Whether the same request may succeed later.
    """

    def __init__(
        self,
        message: str,
        *,
        status_code: int,
        retry_after: float | None = None,
        retryable: bool = False,
        hint: str | None = None,
        attempts: Sequence[Attempt] = (),
        model_name: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint, attempts=attempts, model_name=model_name)
        self.status_code = status_code
        self.retry_after = retry_after
        self.retryable = retryable


class AuthenticationError(APIStatusError):
    """The key is missing, unknown or not allowed to do this."""


class InsufficientCreditsError(APIStatusError):
    """The account cannot pay for the request."""


class RateLimitError(APIStatusError):
    """Too many requests."""


class IncompleteOutputError(ModelError):
    """The token budget ended inside the answer.

    Attributes:
        text: What there is of the answer.
        usage: What it cost.
    """

    def __init__(
        self,
        message: str,
        *,
        text: str,
        usage: Usage,
        hint: str | None = None,
        attempts: Sequence[Attempt] = (),
        model_name: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint, attempts=attempts, model_name=model_name)
        self.text = text
        self.usage = usage


class RefusalError(ModelError):
    """The model or its provider declined to answer."""


class BudgetExceededError(ModelError):
    """The call could pass, or has passed, the money, token or request budget."""


class DeadlineExceededError(ModelError, TimeoutError):
    """The time is up."""


class GenerationCancelledError(ModelError):
    """The caller closed the stream or cancelled the task."""


class ModelBusyError(ModelError):
    """The model has no room for one more request."""


class FallbackError(ModelError, ExceptionGroup[ModelError]):
    """Every model of a `FallbackModel` failed; `exceptions` holds one cause a model."""

    def __new__(cls, message: str, causes: Sequence[ModelError]) -> Self:
        """Build the group (an `ExceptionGroup` takes its arguments here)."""
        return super().__new__(cls, message, causes)

    def __init__(self, message: str, causes: Sequence[ModelError]) -> None:
        reasons = "; ".join(
            f"{cause.model_name or 'model'}: {type(cause).__name__}: {cause}" for cause in causes
        )
        super().__init__(
            f"{message} {reasons}",
            attempts=[attempt for cause in causes for attempt in cause.attempts],
        )

    def _new_args(self) -> tuple[object, ...]:
        return self.message, self.exceptions


class OutputValidationError(GemmaStructuredError):
    """No attempt validates.

    Attributes:
        text: The last attempt's text.
        issues: What is wrong with it.
    """

    def __init__(
        self, *, text: str, issues: Sequence[Issue], attempts: Sequence[Attempt] = ()
    ) -> None:
        super().__init__("The output does not validate.", attempts=attempts)
        self.text = text
        self.issues: tuple[Issue, ...] = tuple(issues)

    @property
    def message(self) -> str:
        """What is wrong with the last attempt, and how many there were."""
        shown = [f"{i.where}: {i.message}" for i in self.issues[:_SHOWN_ISSUES]]
        more = len(self.issues) - len(shown)
        tries = f" after {len(self.attempts)} attempts" if len(self.attempts) > 1 else ""
        rest = f" (and {more} more)" if more else ""
        return f"The output does not validate{tries}: {'; '.join(shown)}{rest}."


class ToolError(GemmaStructuredError):
    """A tool that cannot be used or that failed."""


class ToolRetry(ToolError):  # noqa: N818 - a request, not a failure
    """Raise it in a tool to have the model call again: the message says what it must do better."""


class ToolTimeoutError(ToolError, TimeoutError):
    """A tool took longer than it may."""


def _rebuild(
    kind: type[GemmaStructuredError], args: tuple[object, ...], state: dict[str, object]
) -> GemmaStructuredError:
    error = kind.__new__(kind, *args)
    error.args = args[:1]
    error.__dict__.update(state)
    return error
