"""Memory is bounded: what many extractions leave behind is what few leave behind.

`benchmarks/memory.py` measures the same on 2,000 extractions, by the process's resident set size.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Literal

import psutil
import pytest
import torch
from pydantic import BaseModel, Field, create_model

import gemma_structured as gs
from gemma_structured.decoding.free_memory import FreeMemory, _malloc_trim, free_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LIMITS: Any = {"kv_cache_bytes": 2**20, "prefix_cache_bytes": 2**18, "grammar_cache_size": 3}


class Item(BaseModel):
    """What each of the types below adds a field to."""

    name: str = Field(max_length=8)


TYPES = [create_model(f"Item{i}", __base__=Item, kind=(Literal["a", f"b{i}"], ...)) for i in "wxyz"]


class Endless(BaseModel):
    """What a random model does not come to the end of."""

    text: str = Field(min_length=3000, max_length=4000)


def work(model: gs.LocalModel, round_number: int) -> None:
    """Answer, fail, run out of time, leave streams and cancel tasks, on new documents."""
    documents = [f"round {round_number}, document {i}" + " x" * 40 * i for i in range(3)]
    for output_type in TYPES:
        assert len(model.batch(documents, output_type, max_tokens=60)) == 3
    model.batch(documents, Endless, max_tokens=20, errors="return")
    model.batch(documents, Endless, timeout=0.02, errors="return")
    with model.stream(documents[0], Endless) as stream:
        next(iter(stream))

    async def cancel() -> None:
        task = asyncio.create_task(model.agenerate(documents[1], Endless))
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())


def census(model: gs.LocalModel) -> Counter[str]:
    """How many tensors, bytes of tensors, and objects of each of the package's classes there are."""
    end = time.monotonic() + 20
    while model.cache_usage.kv_cache.entries or model.runtime().engine._worker is not None:
        assert time.monotonic() < end, "rows are still open"
        time.sleep(0.002)
    gc.collect()
    alive = gc.get_objects()
    counts = Counter(
        f"{type(each).__module__}.{type(each).__qualname__}"
        for each in alive
        if str(type(each).__module__).startswith("gemma_structured.")
    )
    tensors = [each for each in alive if type(each) is torch.Tensor]
    counts["tensors"] = len(tensors)
    counts["bytes of tensors"] = sum(tensor.nbytes for tensor in tensors)
    return counts


def parameters() -> int:
    """How many parameters of models are alive."""
    gc.collect()
    return sum(type(each) is torch.nn.Parameter for each in gc.get_objects())


def test_unloading_frees_the_weights(tiny_checkpoint: Callable[[str], Path]) -> None:
    """Though its generators are kept, and a stream that had come to its end asks for its result."""
    before = parameters()
    model = gs.LocalModel(tiny_checkpoint("mixtral"), device="cpu")
    read = model.compile(gs.Regex("[a-z]{5}"))
    read("doc")
    stream = model.stream("doc", gs.Regex("[a-z]{5}"))
    text = ""
    for event in stream:
        text += event.delta if isinstance(event, gs.Partial) else ""
        if len(text) == 5:
            break
    assert parameters() > before
    while model.runtime().engine._worker is not None:
        time.sleep(0.002)
    model.unload()
    assert stream.result().text == text
    assert model._runtime is None
    del stream, event
    assert parameters() == before
    assert len(read("doc").text) == 5


def test_nothing_is_left_of_what_has_ended(local: Callable[..., gs.LocalModel]) -> None:
    """Neither of answers nor of failures; what the caches keep is within their limits."""
    model = local("gemma4", max_batch_size=3, **LIMITS)
    for number in range(2):
        work(model, number)
    few = census(model)
    for number in range(2, 6):
        work(model, number)
    many = census(model)
    assert not many - few
    usage = model.cache_usage
    assert usage.kv_cache.nbytes == 0
    assert 0 < usage.prefix_cache.nbytes <= usage.prefix_cache.max_bytes
    assert usage.grammar_cache.size == usage.grammar_cache.max_size
    assert usage.grammar_cache.evictions > 10


needs_glibc = pytest.mark.skipif(_malloc_trim() is None, reason="only glibc can trim free memory")


def resident() -> int:
    """MiB of this process that are in memory."""
    return psutil.Process().memory_info().rss // 2**20


@pytest.fixture
def freed() -> Iterator[Callable[[], None]]:
    """Frees 160 MiB that the C library keeps, since one small block behind them is still in use."""
    last: list[torch.Tensor] = []
    while free_memory._is_due:  # of the tests before
        time.sleep(0.01)

    def free() -> None:
        tensors = [torch.ones(4096) for _ in range(10_000)]
        last.append(tensors[-1])

    yield free
    last.clear()


def fell_by(mebibytes: int, before: int, seconds: float) -> bool:
    """Whether resident memory falls so far in some time."""
    end = time.monotonic() + seconds
    while resident() > before - mebibytes:
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


@needs_glibc
def test_free_memory_goes_back_when_there_is_nothing_to_do(
    local: Callable[..., gs.LocalModel], freed: Callable[[], None]
) -> None:
    """Some time after the last answer, the process is as large as what it holds."""
    model = local("mixtral")
    freed()
    before = resident()
    model.generate("doc", gs.Regex("[a-z]{5}"))
    assert fell_by(100, before, 10)


@needs_glibc
def test_free_memory_is_kept_while_anyone_works(freed: Callable[[], None]) -> None:
    """What the next answer would ask for again; the last who works gives it back."""
    memory = FreeMemory(delay=0.05)
    freed()
    before = resident()
    with memory.in_use():
        with memory.in_use():
            """One of two."""
        assert not fell_by(100, before, 0.3)
    with memory.in_use():  # again before the delay is over
        assert not fell_by(100, before, 0.3)
    assert fell_by(100, before, 10)


@needs_glibc
def test_nothing_is_given_back_after_it_is_forgotten(freed: Callable[[], None]) -> None:
    """No thread of it is left then, so that none runs into the end of the interpreter."""
    memory = FreeMemory(delay=0.05)
    freed()
    with memory.in_use():
        """What sets the timer."""
    timer = memory._timer
    assert timer is not None
    memory.forget()
    assert not timer.is_alive()
    before = resident()
    with memory.in_use():
        """What would set another one."""
    assert memory._timer is timer
    assert not fell_by(100, before, 0.3)
