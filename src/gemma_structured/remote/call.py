"""One request from its reservation to its settlement, without I/O."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from gemma_structured.exceptions import (
    APIStatusError,
    ContextLengthError,
    RefusalError,
    TransportError,
)
from gemma_structured.remote.completion import Completion
from gemma_structured.remote.errors import ErrorContext, error_from_body
from gemma_structured.types import Attempt, Cancellation, Deadline, Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gemma_structured.exceptions import GemmaStructuredError
    from gemma_structured.remote.decode import Decoder
    from gemma_structured.remote.pricing import Quote
    from gemma_structured.types import ModelDelta

__all__ = ["Call", "Exchange", "Reader", "Whole"]

R = TypeVar("R")

_ERROR_BODY: Final = 64 * 1024
"""So much of an error's body is read."""


@dataclass(slots=True, kw_only=True)
class Call(Generic[R]):
    """One thing that is asked of a server, retries included.

    Attributes:
        decoder: Makes what reads the answer, given its content type.
        method: `POST` or `GET`.
        path: Joined to the server's base URL.
        body: The request's JSON.
        context: For errors.
        deadline: For all of it.
        cancellation: Looked at between steps.
        quote: What each request may cost, where a budget is kept.
        failed_usage: What the requests that failed cost so far.
    """

    decoder: Callable[[str, ErrorContext], Decoder[R]]
    method: str = "POST"
    path: str = "chat/completions"
    body: bytes = field(default=b"", repr=False)
    context: ErrorContext = field(default_factory=ErrorContext)
    deadline: Deadline = field(default_factory=Deadline)
    cancellation: Cancellation = field(default_factory=Cancellation)
    quote: Quote | None = None
    failed_usage: Usage = field(default_factory=Usage)

    def check(self) -> None:
        """Raise if the call is cancelled or out of time.

        Raises:
            GenerationCancelledError: It is cancelled.
            DeadlineExceededError: It is out of time.
        """
        self.cancellation.check()
        self.deadline.check()


@dataclass(frozen=True, slots=True)
class Whole(Generic[R]):
    """The whole answer, which comes after its pieces."""

    value: R


class Exchange(Generic[R]):
    """One request of a call: what it may cost is reserved, and settled however it ends.

    Attributes:
        is_sent: Whether the server may have seen the request, and so may bill it.
    """

    __slots__ = ("_call", "_reservation", "is_sent")

    def __init__(self, call: Call[R]) -> None:
        self._call = call
        self.is_sent = False
        name = call.context.model_name
        self._reservation = call.quote.reserve(name) if call.quote else None

    def succeeded(self, result: R) -> None:
        """The answer is whole."""
        if isinstance(result, Completion):
            self._settle(result.usage)

    def failed(self, error: GemmaStructuredError) -> GemmaStructuredError:
        """Settle, and put the cost of all the call's requests so far on the error."""
        call = self._call
        own = error.attempts[0] if error.attempts else None
        usage = own.usage if own is not None else Usage(requests=int(self.is_sent))
        if usage.total_tokens or usage.cost is not None:
            self._settle(usage)
        elif self._reservation is not None and not self.is_sent:
            self._reservation.cancel()
        elif self._reservation is not None and _is_free(error):
            self._reservation.release()
        call.failed_usage += usage
        if call.failed_usage.requests:
            own = own or Attempt(
                model_name=call.context.model_name or "",
                text="",
                finish_reason=None,
                usage=usage,
                error=error,
            )
            error.attempts = (replace(own, usage=call.failed_usage),)
        return error

    def close(self) -> None:
        """Count in full what nobody has settled: it may have been billed if it was sent."""
        if self._reservation is None:
            return
        if self.is_sent:
            self._reservation.settle(cost=None, tokens=None)
        else:
            self._reservation.cancel()

    def _settle(self, usage: Usage) -> None:
        if self._call.quote is not None and self._reservation is not None:
            self._call.quote.settle(self._reservation, usage)


def _is_free(error: GemmaStructuredError) -> bool:
    """Whether the server refused before the model wrote anything."""
    refused = isinstance(error, APIStatusError | RefusalError | ContextLengthError)
    return refused and not any(attempt.text for attempt in error.attempts)


class Reader(Generic[R]):
    """Reads one response: an answer, or an error by its status; within the size that is allowed."""

    __slots__ = ("_body", "_context", "_decoder", "_left", "_status")

    def __init__(
        self, call: Call[R], *, status: int, headers: Mapping[str, str], max_bytes: int
    ) -> None:
        self._status = status
        self._context = replace(call.context, headers=headers)
        self._left = max_bytes
        self._body = bytearray()
        self._decoder: Decoder[R] | None = None
        if 200 <= status < 300:  # noqa: PLR2004
            self._decoder = call.decoder(headers.get("content-type", ""), self._context)

    @property
    def is_done(self) -> bool:
        """Whether nothing that matters can follow."""
        if self._decoder is None:
            return len(self._body) >= _ERROR_BODY
        return self._decoder.is_done

    def feed(self, piece: bytes) -> Sequence[ModelDelta]:
        """Take the next bytes; give back what they add to the answer.

        Raises:
            TransportError: The answer is longer than allowed.
            ModelError: It tells of an error.
        """
        if self._decoder is None:
            self._body += piece[: _ERROR_BODY - len(self._body)]
            return ()
        self._left -= len(piece)
        if self._left < 0:
            raise TransportError(
                "The answer is longer than `max_response_bytes` allows.",
                model_name=self._context.model_name,
                retryable=False,
            )
        return self._decoder.feed(piece)

    def finish(self) -> tuple[Sequence[ModelDelta], R]:
        """The bytes have ended: the last pieces of the answer, and the whole.

        Raises:
            ModelError: It is an error, or not whole.
        """
        if self._decoder is None:
            raise error_from_body(self._status, bytes(self._body), self._context)
        return self._decoder.finish()
