"""Continuous batching: the requests of all threads and tasks are decoded together.

Requests wait in order of arrival. Rows join when there is room and leave when they are done.
Prompts are read beside the rows that answer, no more than a chunk in one forward, so a long prompt
stalls nobody. Who would begin with what another prompt is about to leave in the prefix store waits
for it. A worker thread runs while there is work, and ends with it.
"""

from __future__ import annotations

import asyncio
import atexit
import threading
import weakref
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING

from gemma_structured.decoding.failures import explain
from gemma_structured.decoding.free_memory import free_memory
from gemma_structured.exceptions import ModelBusyError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Sequence

    from gemma_structured.decoding.loop import DecodeLoop
    from gemma_structured.decoding.sequence import TokenSequence

__all__ = ["Engine"]


@dataclass(frozen=True, slots=True)
class _Request:
    """A sequence, and where its text goes: pieces, and `None` at the end."""

    sequence: TokenSequence
    deliver: Callable[[str | None], None]

    def push(self) -> None:
        """Deliver what is new."""
        if delta := self.sequence.take_text():
            self.deliver(delta)

    def attempt(self, action: Callable[[], None]) -> None:
        """Do something for this request alone; what goes wrong ends it."""
        try:
            action()
        except Exception as error:  # noqa: BLE001 - it reaches the one who asked
            self.sequence.fail(explain(error))


class Engine:
    """Decodes many sequences at once on one loop. Thread-safe.

    Args:
        loop: The decode loop; nobody else may use it.
        max_batch_size: The most rows in one forward.
        has_room: Whether the KV cache has room for one more sequence beside those that run. One
            sequence alone always runs.
        max_waiting: The most requests that wait for room; `None` for no limit.
    """

    def __init__(
        self,
        loop: DecodeLoop,
        *,
        max_batch_size: int,
        has_room: Callable[[TokenSequence, list[TokenSequence]], bool],
        max_waiting: int | None = None,
    ) -> None:
        self._loop = loop
        self._max_batch_size = max_batch_size
        self._has_room = has_room
        self._max_waiting = max_waiting
        self._lock = threading.Lock()
        self._waiting: deque[_Request] = deque()
        self._active: list[_Request] = []
        self._worker: threading.Thread | None = None
        _engines.add(self)

    def stream(self, sequence: TokenSequence) -> Generator[str]:
        """Decode a sequence; its text comes piece by piece.

        Closing the iterator early ends the request, and its memory is freed at the next step.

        Raises:
            ModelBusyError: Too many requests wait already.
            GemmaStructuredError: What went wrong with the sequence.
        """
        pieces: SimpleQueue[str | None] = SimpleQueue()
        self._submit(_Request(sequence, pieces.put))
        try:
            while (piece := pieces.get()) is not None:
                yield piece
        finally:
            sequence.abandon()
        if sequence.error is not None:
            raise sequence.error

    async def astream(self, sequence: TokenSequence) -> AsyncGenerator[str]:
        """Decode a sequence without blocking the event loop; see `stream`."""
        event_loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[str | None] = asyncio.Queue()

        def deliver(piece: str | None) -> None:
            with suppress(RuntimeError):  # the event loop is closed: nobody waits any more
                event_loop.call_soon_threadsafe(pieces.put_nowait, piece)

        self._submit(_Request(sequence, deliver))
        try:
            while (piece := await pieces.get()) is not None:
                yield piece
        finally:
            sequence.abandon()
        if sequence.error is not None:
            raise sequence.error

    def shutdown(self) -> None:
        """Cancel everything and wait for the worker to end."""
        with self._lock:
            for request in (*self._waiting, *self._active):
                request.sequence.abandon()
            worker = self._worker
        if worker is not None:
            worker.join()

    def _submit(self, request: _Request) -> None:
        with self._lock:
            free = self._max_batch_size - len(self._active)
            if self._max_waiting is not None and len(self._waiting) >= self._max_waiting + free:
                raise ModelBusyError(
                    f"{len(self._active)} requests run and {len(self._waiting)} wait.",
                    hint="Try again later, or raise `max_waiting`.",
                )
            self._waiting.append(request)
            if self._worker is None:
                self._worker = threading.Thread(
                    target=self._work, name="gemma-structured-engine", daemon=True
                )
                _workers.add(self._worker)
                self._worker.start()

    def _work(self) -> None:
        with free_memory.in_use():
            try:
                while self._turn():
                    """Until there is no work."""
            except BaseException as error:  # noqa: BLE001 - those who wait must not wait for ever
                self._give_up(error)

    def _turn(self) -> bool:
        """Let requests leave and join, and run their forwards; say whether there were any."""
        with self._lock:
            self._retire()
            self._admit()
            if not self._active:
                self._worker = None
                return False
        self._step(self._loop.turn([request.sequence for request in self._active]))
        for request in self._active:
            request.push()
        return True

    def _give_up(self, error: BaseException) -> None:
        """End every request with what broke the worker; the next request starts another one."""
        with self._lock:
            requests = [*self._active, *self._waiting]
            self._active.clear()
            self._waiting.clear()
            self._worker = None
            for request in requests:
                if not request.sequence.finished:
                    request.sequence.fail(explain(error))
                with suppress(Exception):
                    self._loop.end(request.sequence)
        for request in requests:
            request.deliver(None)

    def _retire(self) -> None:
        """Let those leave who are done, out of time, or no longer wanted."""
        for request in (*self._active, *self._waiting):
            if not request.sequence.finished:
                request.attempt(request.sequence.check)
        for request in [r for r in (*self._active, *self._waiting) if r.sequence.finished]:
            self._loop.end(request.sequence)
            (self._active if request in self._active else self._waiting).remove(request)
            request.push()
            request.deliver(None)

    def _admit(self) -> None:
        """Let those join for whom there is room."""
        while self._waiting and self._fits(self._waiting[0].sequence):
            request = self._waiting.popleft()
            request.attempt(partial(self._loop.start, request.sequence))
            self._active.append(request)

    def _fits(self, sequence: TokenSequence) -> bool:
        running = [request.sequence for request in self._active if not request.sequence.finished]
        if not running:
            return True
        return (
            len(running) < self._max_batch_size
            and not any(other.reads_fixed_part for other in running)
            and self._has_room(sequence, running)
        )

    def _step(self, sequences: Sequence[TokenSequence]) -> None:
        if not sequences:
            return
        try:
            self._loop.step(sequences)
        except Exception as error:  # noqa: BLE001 - it reaches those who asked
            for sequence in sequences:
                sequence.fail(explain(error))


_engines: weakref.WeakSet[Engine] = weakref.WeakSet()
_workers: weakref.WeakSet[threading.Thread] = weakref.WeakSet()


@atexit.register
def _shutdown() -> None:
    """Let no worker run into the end of the interpreter.

    Nor one that has nothing to do any more: it may be the last that knows of a model, and frees it.
    """
    for engine in list(_engines):
        engine.shutdown()
    for worker in list(_workers):
        worker.join()
    free_memory.forget()
