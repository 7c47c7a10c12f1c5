"""A function in a thread of its own: its result, its errors and its context reach who waits."""

from __future__ import annotations

import subprocess
import sys
import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING

import pytest

import gemma_structured as gs
from gemma_structured.decoding.own_thread import in_own_thread
from gemma_structured.exceptions import LoadError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemma_structured.decoding.loaded_model import LoadedModel
    from gemma_structured.testing.tiny_shapes import Architecture

_color: ContextVar[str] = ContextVar("color")


def test_results_and_context_pass_through() -> None:
    """And the thread has ended."""
    _color.set("green")
    before = threading.active_count()
    assert in_own_thread(lambda: (_color.get(), threading.current_thread().daemon)) == (
        "green",
        True,
    )
    assert in_own_thread(threading.current_thread) is not threading.current_thread()
    for thread in threading.enumerate():
        if thread.name == "gemma-structured-load":
            thread.join(10)
    assert threading.active_count() <= before


@pytest.mark.parametrize("error", [LoadError("no weights"), KeyboardInterrupt()])
def test_errors_pass_through(error: BaseException) -> None:
    """The very same object."""

    def fail() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        in_own_thread(fail)
    assert caught.value is error


TEAMS = """
import time
from pathlib import Path
import torch
from gemma_structured.decoding.own_thread import in_own_thread

def compute():
    torch.ones(4_000_000).exp()

def threads():
    return len(list(Path("/proc/self/task").iterdir()))

def new_threads(run):
    before = threads()
    run()
    time.sleep(1)  # a thread that has ended takes its team with it, in its own time
    return threads() - before

torch.set_num_threads(4)
print(new_threads(lambda: in_own_thread(compute)), new_threads(compute), new_threads(compute))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="it counts the threads in /proc")
def test_no_team_of_threads_is_left() -> None:
    """A thread that lives on keeps its team of four: itself, and three that wait for more work."""
    ran = subprocess.run(
        [sys.executable, "-c", TEAMS], capture_output=True, text=True, check=True, timeout=120
    )
    assert ran.stdout.split() == ["0", "3", "0"]


def test_a_model_is_loaded_in_a_thread_of_its_own(
    tiny_model: Callable[[Architecture], LoadedModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in that of the caller, who may live on; what goes wrong there is raised here."""
    loaded = tiny_model("gemma4")
    model = gs.LocalModel.from_transformers(loaded.model, loaded.tokenizer)
    threads = []

    def load() -> LoadedModel:
        threads.append(threading.current_thread())
        if len(threads) == 1:
            raise LoadError("no weights")
        return loaded

    monkeypatch.setattr(model, "_load", load)
    with pytest.raises(LoadError, match="no weights"):
        model.load()
    assert model.load().runtime().loaded is loaded
    assert threading.current_thread() not in threads
    assert len(threads) == 2
