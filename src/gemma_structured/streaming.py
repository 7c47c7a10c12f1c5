"""Outputs that are watched while they grow: partial values, restarts, then the result."""

from __future__ import annotations

from contextlib import aclosing, closing, contextmanager
from typing import TYPE_CHECKING, Generic, Self, TypeAlias, TypeVar

from gemma_structured.exceptions import (
    GemmaStructuredError,
    GenerationCancelledError,
    TransportError,
)
from gemma_structured.parsing.json_start import JsonStart
from gemma_structured.parsing.partial import JsonValueParser, TextValueParser
from gemma_structured.types import ModelResponse, Partial, Restarted

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
    from types import TracebackType

    from gemma_structured.driver import ModelRequest
    from gemma_structured.parsing.partial import ValueParser
    from gemma_structured.reask import Flow
    from gemma_structured.types import Cancellation, ModelDelta, Result

__all__ = ["AsyncStream", "Stream", "StreamEvent"]

T = TypeVar("T")

StreamEvent: TypeAlias = "Partial[T] | Restarted"
"""What a stream yields."""


class _Progress(Generic[T]):
    """One output's way from request to result, without I/O: both streams drive it."""

    def __init__(self, flow: Flow[T], *, is_json: bool) -> None:
        self._flow = flow
        self._is_json = is_json
        self.result: Result[T] | None = None
        self.request: ModelRequest | None = next(flow)
        self._begin()

    def _begin(self) -> None:
        self._parser: ValueParser = JsonValueParser() if self._is_json else TextValueParser()
        self._start = JsonStart() if self._is_json else None
        self._text = ""

    def piece(self, delta: ModelDelta) -> Partial[T]:
        """A piece of the answer has come."""
        self._text += delta.text
        self._parser.feed(delta.text if self._start is None else self._start.feed(delta.text))
        return self._partial(delta.text, delta.thinking)

    def response(self, response: ModelResponse | None) -> StreamEvent[T]:
        """The answer is whole: the last look at it if it validates, or what is wrong with it.

        Raises:
            OutputValidationError: It does not validate, and there are no attempts left.
            IncompleteOutputError: It was cut.
            TransportError: There is none, though the pieces have ended.
        """
        if response is None:
            raise TransportError("The model's stream ended without a response.")
        try:
            self.request = self._flow.send(response)
        except StopIteration as stop:
            self.request, self.result = None, stop.value
            self._parser.finish()
            return self._partial("", "")
        self._begin()
        return Restarted(attempt=self.request.attempt, issues=self.request.issues)

    def failed(self, error: GemmaStructuredError) -> None:
        """The model raised: so does the flow, with the attempts so far on the error."""
        self.request = self._flow.throw(error)

    def _partial(self, delta: str, thinking: str) -> Partial[T]:
        return Partial(
            value=self._parser.value,
            closed=self._parser.closed,
            delta=delta,
            text=self._text,
            thinking=thinking,
        )


class _Outcome(Generic[T]):
    """What became of a stream, for those who ask afterwards."""

    def __init__(self) -> None:
        self.value: Result[T] | None = None
        self._error: GemmaStructuredError | None = None

    @contextmanager
    def noting(self) -> Generator[None]:
        """Keep the error that ends the stream, if one does."""
        try:
            yield
        except GemmaStructuredError as error:
            self._error = error
            raise

    def result(self) -> Result[T]:
        """The result, or the error that came in its place."""
        if self._error is not None:
            raise self._error
        if self.value is None:
            raise GenerationCancelledError("The stream was closed before its answer was complete.")
        return self.value


class Stream(Generic[T]):
    """An output that is being generated: iterate over it, then ask for the `result`.

    The deltas of the `Partial`s since the last `Restarted` add up to the answer's text.
    """

    def __init__(
        self,
        flow: Flow[T],
        send: Callable[[ModelRequest], Generator[ModelDelta | ModelResponse]],
        *,
        is_json: bool,
        cancellation: Cancellation,
    ) -> None:
        self._cancellation = cancellation
        self._outcome = _Outcome[T]()
        self._events = self._run(flow, send, is_json=is_json)

    def _run(
        self,
        flow: Flow[T],
        send: Callable[[ModelRequest], Generator[ModelDelta | ModelResponse]],
        *,
        is_json: bool,
    ) -> Generator[StreamEvent[T]]:
        with self._outcome.noting():
            progress = _Progress(flow, is_json=is_json)
            while (request := progress.request) is not None:
                response: ModelResponse | None = None
                try:
                    with closing(send(request)) as pieces:
                        for piece in pieces:
                            if isinstance(piece, ModelResponse):
                                response = piece
                            else:
                                yield progress.piece(piece)
                except GemmaStructuredError as error:
                    progress.failed(error)
                else:
                    yield progress.response(response)
            self._outcome.value = progress.result

    def __iter__(self) -> Iterator[StreamEvent[T]]:
        return self._events

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the work, if it has not ended, and free what it holds."""
        self._cancellation.cancel()
        self._events.close()

    def result(self) -> Result[T]:
        """The result, once the rest of the answer has come.

        Raises:
            GemmaStructuredError: What `Generator.__call__` raises.
            GenerationCancelledError: The stream was closed before.
        """
        for _ in self._events:
            """What nobody looks at still has to be generated."""
        return self._outcome.result()


class AsyncStream(Generic[T]):
    """A `Stream` that does not block the event loop."""

    def __init__(
        self,
        flow: Flow[T],
        send: Callable[[ModelRequest], AsyncGenerator[ModelDelta | ModelResponse]],
        *,
        is_json: bool,
        cancellation: Cancellation,
    ) -> None:
        self._cancellation = cancellation
        self._outcome = _Outcome[T]()
        self._events = self._run(flow, send, is_json=is_json)

    async def _run(
        self,
        flow: Flow[T],
        send: Callable[[ModelRequest], AsyncGenerator[ModelDelta | ModelResponse]],
        *,
        is_json: bool,
    ) -> AsyncGenerator[StreamEvent[T]]:
        with self._outcome.noting():
            progress = _Progress(flow, is_json=is_json)
            while (request := progress.request) is not None:
                response: ModelResponse | None = None
                try:
                    async with aclosing(send(request)) as pieces:
                        async for piece in pieces:
                            if isinstance(piece, ModelResponse):
                                response = piece
                            else:
                                yield progress.piece(piece)
                except GemmaStructuredError as error:
                    progress.failed(error)
                else:
                    yield progress.response(response)
            self._outcome.value = progress.result

    def __aiter__(self) -> AsyncIterator[StreamEvent[T]]:
        return self._events

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End the work, if it has not ended, and free what it holds."""
        self._cancellation.cancel()
        await self._events.aclose()

    async def result(self) -> Result[T]:
        """The result, once the rest of the answer has come; see `Stream.result`."""
        async for _ in self._events:
            """What nobody looks at still has to be generated."""
        return self._outcome.result()
