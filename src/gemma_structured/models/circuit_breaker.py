"""Sparing a model that keeps failing (https://martinfowler.com/bliki/CircuitBreaker.html)."""

from __future__ import annotations

import threading
import time

__all__ = ["CircuitBreaker"]


class CircuitBreaker:
    """Lets calls through until too many in a row have failed; then one at a time, now and then.

    Args:
        failures: So many in a row open it.
        seconds: So long it stays open before one call may see whether things are better.
    """

    def __init__(self, *, failures: int, seconds: float) -> None:
        self._limit = failures
        self._seconds = seconds
        self._failed = 0
        self._open_until = 0.0
        self._is_probed = False
        self._lock = threading.Lock()

    def enter(self) -> float:
        """Ask for a call to be let through.

        Returns:
            0 if it is; otherwise the seconds until the next one may be.
        """
        with self._lock:
            if self._failed < self._limit:
                return 0.0
            left = self._open_until - time.monotonic()
            if left <= 0 and not self._is_probed:
                self._is_probed = True
                return 0.0
            return max(left, 0.001)

    def succeed(self) -> None:
        """A call was answered: close."""
        with self._lock:
            self._failed, self._is_probed = 0, False

    def fail(self) -> None:
        """A call was not answered: open, if it was one too many."""
        with self._lock:
            self._failed, self._is_probed = self._failed + 1, False
            if self._failed >= self._limit:
                self._open_until = time.monotonic() + self._seconds

    def leave(self) -> None:
        """A call ended without telling anything about the model."""
        with self._lock:
            self._is_probed = False
