"""What is seen of requests from outside, local and remote alike: the log, spans and metrics.

The log is that of `logging` under the name `gemma_structured`. It says who was asked, how long it
took and how many tokens there were; it holds no document, no answer and no key.
"""

from __future__ import annotations

import logging
import time
from contextlib import aclosing, closing
from typing import TYPE_CHECKING, Any, Self, TypeVar

from gemma_structured import telemetry
from gemma_structured.exceptions import OutputValidationError
from gemma_structured.telemetry import Origin, Telemetry, error_type
from gemma_structured.types import ModelResponse

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Sequence
    from contextlib import AbstractContextManager
    from types import TracebackType

    from gemma_structured.driver import Driver, ModelRequest, Responder, Task
    from gemma_structured.exceptions import GemmaStructuredError
    from gemma_structured.messages import Message
    from gemma_structured.types import ModelDelta

__all__ = ["ObservedResponder", "bind", "log_reask", "logger"]

T = TypeVar("T")

logger = logging.getLogger("gemma_structured")
"""The package's one logger."""


def bind(driver: Driver, task: Task[T]) -> Responder:
    """Bind a model to a task, so that its requests are seen.

    A driver whose `origin` is `None` is made of others, whose requests are seen one by one.
    """
    origin: Origin | None = getattr(driver, "origin", Origin())
    responder = driver.bind(task)
    return responder if origin is None else ObservedResponder(responder, task, origin)


def log_reask(model_name: str, attempt: int, error: GemmaStructuredError) -> None:
    """Log that an answer was no good and is asked for again."""
    issues = error.issues if isinstance(error, OutputValidationError) else ()
    logger.info(
        "%s is asked again: attempt %d failed (%s, %d issues)",
        model_name,
        attempt,
        type(error).__name__,
        len(issues),
    )


class ObservedResponder:
    """A responder whose requests are logged, traced and counted; see `Responder`."""

    def __init__(self, responder: Responder, task: Task[Any], origin: Origin) -> None:
        self._responder = responder
        self._task = task
        self._origin = origin

    @property
    def model_name(self) -> str:
        """Who answers."""
        return self._responder.model_name

    @property
    def concurrency(self) -> int:
        """How many requests are worth having under way at once."""
        return self._responder.concurrency

    def respond(self, request: ModelRequest) -> ModelResponse:
        """Answer; see `Responder`."""
        with self._watch(request) as watch, watch.within():
            return watch.note(self._responder.respond(request))

    async def arespond(self, request: ModelRequest) -> ModelResponse:
        """Answer, without blocking the event loop."""
        with self._watch(request) as watch, watch.within():
            return watch.note(await self._responder.arespond(request))

    def stream(self, request: ModelRequest) -> Generator[ModelDelta | ModelResponse]:
        """Answer piece by piece."""
        with (
            self._watch(request, stream=True) as watch,
            closing(self._responder.stream(request)) as pieces,
        ):
            while True:
                with watch.within():  # not over a yield: the caller's context is its own
                    piece = next(pieces, None)
                if piece is None:
                    return
                yield watch.note(piece)

    async def astream(self, request: ModelRequest) -> AsyncGenerator[ModelDelta | ModelResponse]:
        """Answer piece by piece, without blocking the event loop."""
        with self._watch(request, stream=True) as watch:
            async with aclosing(self._responder.astream(request)) as pieces:
                while True:
                    with watch.within():
                        piece = await anext(pieces, None)
                    if piece is None:
                        return
                    yield watch.note(piece)

    def prompt(self, request: ModelRequest) -> str:
        """The prompt as it will be sent."""
        return self._responder.prompt(request)

    def messages(self, request: ModelRequest) -> Sequence[Message]:
        """The prompt's messages."""
        return self._responder.messages(request)

    def count_tokens(self, request: ModelRequest) -> int:
        """The prompt's length in tokens."""
        return self._responder.count_tokens(request)

    def _watch(self, request: ModelRequest, *, stream: bool = False) -> _Watch:
        return _Watch(self._responder, self._task, self._origin, request, stream=stream)


P = TypeVar("P", bound="ModelDelta | ModelResponse")


class _Watch:
    """Watches one request from its beginning to its end."""

    def __init__(
        self,
        responder: Responder,
        task: Task[Any],
        origin: Origin,
        request: ModelRequest,
        *,
        stream: bool,
    ) -> None:
        self._responder = responder
        self._request = request
        self._stream = stream
        self._first: float | None = None
        self._response: ModelResponse | None = None
        self._telemetry = telemetry.current()
        self._common = origin.attributes(responder.model_name)
        self._start = time.perf_counter()
        self._span = None
        if self._telemetry is not None:
            self._span = self._telemetry.start(self._common, task, request, stream=stream)

    def within(self) -> AbstractContextManager[object]:
        """Make the request's span the current one."""
        return Telemetry.within(self._span)

    def note(self, piece: P) -> P:
        """A piece of the answer, or the whole, has come."""
        if isinstance(piece, ModelResponse):
            self._response = piece
        elif self._first is None:
            self._first = self._elapsed
        return piece

    @property
    def _elapsed(self) -> float:
        return time.perf_counter() - self._start

    def __enter__(self) -> Self:
        seen = self._telemetry
        span = self._span
        if seen is not None and span is not None and seen.content and span.is_recording():
            try:
                seen.record_prompt(span, self._responder.messages(self._request))
            except Exception as error:
                self._end(error)
                raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end(error)

    def _end(self, error: BaseException | None) -> None:
        response, seconds = self._response, self._elapsed
        if response is not None:
            error = None  # who has the whole answer may close the stream
            logger.debug(
                "%s answered attempt %d in %.2f s: %d tokens read, %d written",
                response.model_name,
                self._request.attempt,
                seconds,
                response.usage.prompt_tokens,
                response.usage.completion_tokens,
            )
        elif error is not None:
            logger.debug(
                "%s did not answer attempt %d after %.2f s: %s",
                self._responder.model_name,
                self._request.attempt,
                seconds,
                error_type(error),
            )
        if self._telemetry is not None and self._span is not None:
            self._telemetry.end(
                self._span,
                self._common,
                seconds=seconds,
                first=self._first if self._stream else None,
                response=response,
                error=error,
            )
