"""Gives memory that nobody uses back to the system, once the engines have nothing to do.

glibc keeps what a thread has freed in the thread's arena, for the next one who asks. After a while
of answers of all lengths that is some percent of the process: held by nobody, and still counted.
`malloc_trim` gives it back (https://man7.org/linux/man-pages/man3/malloc_trim.3.html). Other C
libraries have no such call; there is nothing to do there.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

__all__ = ["FreeMemory", "free_memory"]

_DELAY: Final = 1.0


def _malloc_trim() -> Callable[[int], int] | None:
    """The function, if this process runs on glibc."""
    if sys.platform != "linux":
        return None
    return getattr(ctypes.CDLL(None), "malloc_trim", None)


class FreeMemory:
    """The memory of this process that is free. Thread-safe.

    Args:
        delay: Seconds without work after which it is given back: work that goes on at once would
            ask for it again.
    """

    def __init__(self, delay: float = _DELAY) -> None:
        self._delay = delay
        self._trim = _malloc_trim()
        self._lock = threading.Lock()
        self._workers = 0
        self._timer: threading.Timer | None = None
        self._is_due = False

    @contextmanager
    def in_use(self) -> Generator[None]:
        """Work inside uses it; a while after the last of it, free memory is given back."""
        with self._lock:
            self._workers += 1
        try:
            yield
        finally:
            with self._lock:
                self._workers -= 1
                if self._trim is not None and not self._workers and not self._is_due:
                    self._is_due = True
                    self._timer = threading.Timer(self._delay, self._give_back)
                    self._timer.daemon = True
                    self._timer.start()

    def forget(self) -> None:
        """Give nothing back any more: no thread may run into the end of the interpreter."""
        with self._lock:
            timer, self._trim = self._timer, None
        if timer is not None:
            timer.cancel()
            timer.join()

    def _give_back(self) -> None:
        with self._lock:
            self._is_due = False
            if (
                self._trim is not None and not self._workers
            ):  # else that work's end is the next time
                self._trim(0)


free_memory: Final = FreeMemory()
"""That of the process, for all engines."""
