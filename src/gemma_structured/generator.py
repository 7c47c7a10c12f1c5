"""`Generator[T]`: one task, many inputs. A thin driver of the re-ask flow, sync and async."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Generic, Literal, TypeVar, overload

from gemma_structured.driver import ModelRequest
from gemma_structured.exceptions import GemmaStructuredError, InputError
from gemma_structured.observability import bind
from gemma_structured.reask import ask
from gemma_structured.streaming import AsyncStream, Stream
from gemma_structured.types import Cancellation, Deadline

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gemma_structured.driver import Driver, Task
    from gemma_structured.messages import Input
    from gemma_structured.reask import Flow
    from gemma_structured.types import Result

__all__ = ["Generator"]

T = TypeVar("T")


class Generator(Generic[T]):
    """A model with one task; call it with inputs. Made by `Model.compile`. Thread-safe.

    The grammar is compiled and the fixed part of the prompt is prefilled with the first input, and
    kept for those that follow.
    """

    def __init__(self, driver: Driver, task: Task[T]) -> None:
        self.task = task
        self._responder = bind(driver, task)

    def __repr__(self) -> str:
        return f"Generator({self._responder.model_name!r}, {self.task.output_type.name})"

    @property
    def concurrency(self) -> int:
        """How many inputs the model has under way at once, unless told otherwise."""
        return self._responder.concurrency

    def __call__(self, document: Input) -> Result[T]:
        """Generate one output.

        Args:
            document: A text, or a conversation that ends with the user.

        Raises:
            OutputValidationError: No attempt validates.
            ModelError: The model gave no usable answer.
            InputError: The document cannot be used.
        """
        return self._call(document, Cancellation())

    async def acall(self, document: Input) -> Result[T]:
        """Generate one output without blocking the event loop; see `__call__`.

        Cancelling the task ends the work at its next step.
        """
        cancellation = Cancellation()
        try:
            return await self._acall(document, cancellation)
        finally:
            cancellation.cancel()

    def stream(self, document: Input) -> Stream[T]:
        """Generate one output and watch it grow; use it in a `with` block.

        Nothing is sent before the first piece is asked for. Leaving the block early ends the work.
        """
        cancellation = Cancellation()
        return Stream(
            self._flow(document, cancellation),
            self._responder.stream,
            is_json=self.task.output_type.is_json,
            cancellation=cancellation,
        )

    def astream(self, document: Input) -> AsyncStream[T]:
        """Generate one output and watch it grow; use it in an `async with` block."""
        cancellation = Cancellation()
        return AsyncStream(
            self._flow(document, cancellation),
            self._responder.astream,
            is_json=self.task.output_type.is_json,
            cancellation=cancellation,
        )

    @overload
    def batch(
        self,
        documents: Iterable[Input],
        *,
        errors: Literal["raise"] = "raise",
        concurrency: int | None = None,
    ) -> list[Result[T]]: ...
    @overload
    def batch(
        self,
        documents: Iterable[Input],
        *,
        errors: Literal["return"],
        concurrency: int | None = None,
    ) -> list[Result[T] | GemmaStructuredError]: ...
    def batch(
        self,
        documents: Iterable[Input],
        *,
        errors: Literal["raise", "return"] = "raise",
        concurrency: int | None = None,
    ) -> list[Result[T]] | list[Result[T] | GemmaStructuredError]:
        """Generate an output for each input, several at a time.

        Args:
            documents: The inputs.
            errors: `"raise"` ends the rest at the first error and raises it; `"return"` puts each
                error in the place of its result.
            concurrency: How many are under way at once; the model's own number unless told.

        Returns:
            One result an input, in the order of the inputs.

        Raises:
            GemmaStructuredError: The first error, unless they are returned.
            InputError: `concurrency` is less than 1.
        """
        outcomes = _Outcomes[T](stop_at_first=errors == "raise")

        def call(document: Input) -> Result[T] | GemmaStructuredError:
            try:
                return self._call(document, outcomes.cancellation)
            except GemmaStructuredError as error:
                return outcomes.keep(error)

        def call_in_context(document: Input) -> Result[T] | GemmaStructuredError:
            return context.copy().run(call, document)  # a context is entered once at a time

        context = contextvars.copy_context()  # the threads' spans belong to the caller's
        with ThreadPoolExecutor(self._width(concurrency)) as pool:
            try:
                results = list(pool.map(call_in_context, documents))
            finally:  # before the pool waits for what still runs
                outcomes.cancellation.cancel()
        return outcomes.check(results)

    @overload
    async def abatch(
        self,
        documents: Iterable[Input],
        *,
        errors: Literal["raise"] = "raise",
        concurrency: int | None = None,
    ) -> list[Result[T]]: ...
    @overload
    async def abatch(
        self,
        documents: Iterable[Input],
        *,
        errors: Literal["return"],
        concurrency: int | None = None,
    ) -> list[Result[T] | GemmaStructuredError]: ...
    async def abatch(
        self,
        documents: Iterable[Input],
        *,
        errors: Literal["raise", "return"] = "raise",
        concurrency: int | None = None,
    ) -> list[Result[T]] | list[Result[T] | GemmaStructuredError]:
        """Generate an output for each input, without blocking the event loop; see `batch`."""
        outcomes = _Outcomes[T](stop_at_first=errors == "raise")
        room = asyncio.Semaphore(self._width(concurrency))

        async def call(document: Input) -> Result[T] | GemmaStructuredError:
            async with room:
                try:
                    return await self._acall(document, outcomes.cancellation)
                except GemmaStructuredError as error:
                    return outcomes.keep(error)

        try:
            results = await asyncio.gather(*map(call, documents))
        finally:
            outcomes.cancellation.cancel()
        return outcomes.check(results)

    def prompt(self, document: Input) -> str:
        """Exactly what will be sent for an input, control tokens and all.

        Raises:
            InputError: The document cannot be used.
            ModelError: The model cannot be loaded.
        """
        return self._responder.prompt(ModelRequest(input=document))

    def count_tokens(self, document: Input) -> int:
        """How many tokens the prompt for an input has; an upper bound for a remote model.

        Raises:
            InputError: The document cannot be used.
            ModelError: The model cannot be loaded.
        """
        return self._responder.count_tokens(ModelRequest(input=document))

    def _width(self, concurrency: int | None) -> int:
        if concurrency is None:
            return self._responder.concurrency
        if concurrency < 1:
            raise InputError(f"concurrency must be at least 1, not {concurrency}.")
        return concurrency

    def _flow(self, document: Input, cancellation: Cancellation) -> Flow[T]:
        deadline = Deadline.after(self.task.timeout)
        return ask(self.task, document, deadline=deadline, cancellation=cancellation)

    def _call(self, document: Input, cancellation: Cancellation) -> Result[T]:
        flow = self._flow(document, cancellation)
        try:
            request = next(flow)
            while True:
                try:
                    response = self._responder.respond(request)
                except GemmaStructuredError as error:
                    request = flow.throw(error)
                else:
                    request = flow.send(response)
        except StopIteration as stop:
            result: Result[T] = stop.value
            return result

    async def _acall(self, document: Input, cancellation: Cancellation) -> Result[T]:
        flow = self._flow(document, cancellation)
        try:
            request = next(flow)
            while True:
                try:
                    response = await self._responder.arespond(request)
                except GemmaStructuredError as error:
                    request = flow.throw(error)
                else:
                    request = flow.send(response)
        except StopIteration as stop:
            result: Result[T] = stop.value
            return result


class _Outcomes(Generic[T]):
    """What became of a batch: the first error, and whether it ends the rest."""

    def __init__(self, *, stop_at_first: bool) -> None:
        self.cancellation = Cancellation()
        self._stop_at_first = stop_at_first
        self._first: GemmaStructuredError | None = None
        self._lock = threading.Lock()

    def keep(self, error: GemmaStructuredError) -> GemmaStructuredError:
        """Note an error, and end the rest if it is the first and they are not to go on."""
        with self._lock:
            self._first = self._first or error
        if self._stop_at_first:
            self.cancellation.cancel()
        return error

    def check(
        self, results: list[Result[T] | GemmaStructuredError]
    ) -> list[Result[T] | GemmaStructuredError]:
        """Raise the first error if it ended the rest."""
        if self._stop_at_first and self._first is not None:
            raise self._first
        return results
