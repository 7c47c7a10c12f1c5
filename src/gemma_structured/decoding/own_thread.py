"""Runs a function in a thread that ends with it.

A thread that has computed with PyTorch keeps a team of OpenMP threads for as long as it lives, and
GNU's OpenMP no longer lets any team wait actively once all together are more than the cores: each
operation of a small model then waits for a thread to wake up, and takes up to twice as long
(`gomp_throttled_spin_count_var` in https://gcc.gnu.org/git/?p=gcc.git;a=blob;f=libgomp/env.c).
So a model is not loaded in the thread that asks for it, which may go on to do something else.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from contextvars import copy_context
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["in_own_thread"]

T = TypeVar("T")


def in_own_thread(function: Callable[[], T]) -> T:
    """Call a function and wait for it; what it raises is raised here.

    An interrupt of the waiting thread does not wait for the function.
    """
    outcome: Future[T] = Future()
    context = copy_context()

    def run() -> None:
        try:
            outcome.set_result(context.run(function))
        except BaseException as error:  # noqa: BLE001 - the one who waits gets it
            outcome.set_exception(error)

    threading.Thread(target=run, name="gemma-structured-load", daemon=True).start()
    return outcome.result()
