"""How many requests at once, how many a minute, and none at all for a while after a 429.

All of it is shared by every thread and event loop that uses one model.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import deque
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from gemma_structured.exceptions import InputError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

    from gemma_structured.types import Cancellation, Deadline

__all__ = ["Pace", "Slots"]

_GLANCE = 0.05
"""Seconds between looks at the cancellation flag while waiting."""


class Slots:
    """A semaphore for threads and tasks of any event loop alike; first come, first served."""

    def __init__(self, size: int) -> None:
        if size < 1:
            raise InputError(f"max_concurrency must be at least 1, not {size}.")
        self._free = size
        self._waiting: deque[Future[None]] = deque()
        self._lock = threading.Lock()

    @contextmanager
    def take(self, deadline: Deadline, cancellation: Cancellation) -> Generator[None]:
        """Hold a slot, once there is one.

        Raises:
            DeadlineExceededError: There was none in time.
            GenerationCancelledError: The call was cancelled while it waited.
        """
        turn = self._queue()
        try:
            while not turn.done():
                deadline.check()
                cancellation.check()
                try:
                    turn.result(min(_GLANCE, max(deadline.remaining, 0)))
                except TimeoutError:
                    continue
            yield
        finally:
            self._leave(turn)

    @asynccontextmanager
    async def atake(self, deadline: Deadline, cancellation: Cancellation) -> AsyncGenerator[None]:
        """Hold a slot, once there is one; see `take`."""
        turn = self._queue()
        try:
            if not turn.done():
                left = max(deadline.remaining, 0)
                timeout = left if math.isfinite(left) else None
                await asyncio.wait({asyncio.wrap_future(turn)}, timeout=timeout)
                if not turn.done():
                    deadline.check()
                cancellation.check()
            yield
        finally:
            self._leave(turn)

    def _queue(self) -> Future[None]:
        turn: Future[None] = Future()
        with self._lock:
            if self._free:
                self._free -= 1
                turn.set_result(None)
            else:
                self._waiting.append(turn)
        return turn

    def _leave(self, turn: Future[None]) -> None:
        """Give the slot to the next who still waits, or stop waiting."""
        if turn.cancel():
            with self._lock:
                if turn in self._waiting:
                    self._waiting.remove(turn)
            return
        with self._lock:
            while self._waiting:
                following = self._waiting.popleft()
                if following.set_running_or_notify_cancel():
                    following.set_result(None)
                    return
            self._free += 1


class Pace:
    """When the next request may begin: a rate limit, and a cool-down after the server said 429.

    A rate of `n` a minute lets a burst of up to `n` through and then one every `60 / n` seconds
    (the generic cell rate algorithm, https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm).
    """

    def __init__(self, requests_per_minute: float | None = None) -> None:
        if requests_per_minute is not None and not requests_per_minute > 0:
            raise InputError(f"requests_per_minute must be above 0, not {requests_per_minute}.")
        self._interval = 60 / requests_per_minute if requests_per_minute else 0.0
        self._next = 0.0
        self._cool_until = 0.0
        self._lock = threading.Lock()

    def delay(self) -> float:
        """Take the next place; give back the seconds until it comes."""
        with self._lock:
            now = time.monotonic()
            if not self._interval:
                return 0.0
            self._next = max(self._next, now) + self._interval
            return max(0.0, self._next - max(60.0, self._interval) - now)

    def cooling(self) -> float:
        """Seconds that are left of the cool-down."""
        with self._lock:
            return max(0.0, self._cool_until - time.monotonic())

    def cool_down(self, seconds: float) -> None:
        """Let nobody begin for some seconds; a longer cool-down that is under way stays."""
        with self._lock:
            self._cool_until = max(self._cool_until, time.monotonic() + seconds)
