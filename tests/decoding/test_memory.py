"""Memory is bounded: what many extractions leave behind is what few leave behind.

`benchmarks/memory.py` measures the same on 2,000 extractions, by the process's resident set size.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Literal

import pytest
import torch
from pydantic import BaseModel, Field, create_model

import gemma_structured as gs

if TYPE_CHECKING:
    from collections.abc import Callable
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
