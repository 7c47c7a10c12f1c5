"""What the caches hold: seen at any time, within its limits, and given back when a row ends."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Literal

import pytest
from pydantic import BaseModel, Field

import gemma_structured as gs

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from gemma_structured.decoding.cache_usage import MemoryUsage

    Make = Callable[..., gs.LocalModel]
    Watch = Callable[[gs.LocalModel], list[MemoryUsage]]
    CancelWhen = Callable[[Callable[[], bool], Coroutine[Any, Any, object]], None]

LIMITS: Any = {"kv_cache_bytes": 2**20, "prefix_cache_bytes": 2**18, "grammar_cache_size": 2}
LONG = "x" * 5000


class Endless(BaseModel):
    """What a random model does not come to the end of."""

    text: str = Field(min_length=3000, max_length=4000)


def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so; fail if it does not come to be."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "it did not come to be"
        time.sleep(0.002)


def test_limits_are_seen_before_anything_is_loaded() -> None:
    """Nothing is held, and looking loads nothing."""
    model = gs.LocalModel("/nowhere/at/all", **LIMITS)
    usage = model.cache_usage
    assert (usage.kv_cache.entries, usage.kv_cache.nbytes) == (0, 0)
    assert (usage.prefix_cache.entries, usage.prefix_cache.nbytes) == (0, 0)
    assert (usage.grammar_cache.size, usage.grammar_cache.hits) == (0, 0)
    assert usage.kv_cache.max_bytes == LIMITS["kv_cache_bytes"]
    assert usage.prefix_cache.max_bytes == LIMITS["prefix_cache_bytes"]
    assert usage.grammar_cache.max_size == LIMITS["grammar_cache_size"]
    assert model._runtime is None


def test_looking_does_not_wait_for_a_model_to_load(local: Make) -> None:
    """It says what is held so far, which is nothing."""
    model = local()
    load, may_load = model._load, threading.Event()

    def wait_and_load() -> Any:
        assert may_load.wait(20)
        return load()

    model._load = wait_and_load
    loading = threading.Thread(target=model.load)
    loading.start()
    until(model._lock.locked)
    assert model.cache_usage.kv_cache.nbytes == 0
    may_load.set()
    loading.join()


def test_each_cache_is_counted_and_kept_within_its_limit(local: Make) -> None:
    """The caches of a model hold what was used, and no more than was allowed."""
    model = local("mixtral", **LIMITS)
    readers = [model.compile(Literal["a", "b", name], max_tokens=50) for name in ("c", "d", "e")]
    for reader in readers:
        reader("doc")
        reader("another doc")
    usage = model.cache_usage
    assert usage.prefix_cache.entries > 0
    assert 0 < usage.prefix_cache.nbytes <= usage.prefix_cache.max_bytes
    grammars = usage.grammar_cache
    assert (grammars.hits, grammars.misses, grammars.evictions, grammars.size) == (3, 3, 1, 2)
    with model.stream("doc", Endless, max_tokens=4000) as stream:
        next(iter(stream))
        running = model.cache_usage.kv_cache
        assert running.entries == 1
        assert running.nbytes > 0
    until(lambda: model.cache_usage.kv_cache.entries == 0)
    assert model.cache_usage.kv_cache.nbytes == 0
    model.unload()
    assert model.cache_usage == gs.LocalModel("/nowhere/at/all", **LIMITS).cache_usage


def test_it_may_be_read_while_requests_run(local: Make) -> None:
    """From other threads, at any moment: rows open and close, caches grow and shrink meanwhile."""
    model = local("mixtral", max_batch_size=3, **LIMITS).load()
    done = threading.Event()
    errors: list[Exception] = []
    seen: list[gs.CacheUsage] = []

    def read() -> None:
        try:
            while not done.is_set():
                seen.append(model.cache_usage)
        except Exception as error:  # noqa: BLE001 - it is what this test is about
            errors.append(error)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    model.compile(Endless, max_tokens=30).batch([f"{i}" for i in range(20)], errors="return")
    done.set()
    for thread in threads:
        thread.join()
    assert not errors
    assert max(usage.kv_cache.entries for usage in seen) <= 3
    assert all(usage.prefix_cache.nbytes <= usage.prefix_cache.max_bytes for usage in seen)


def close_a_stream(model: gs.LocalModel, _: CancelWhen) -> None:
    """Leave an answer that has begun."""
    with model.stream(LONG, Endless, max_tokens=4000) as stream:
        next(iter(stream))


def cancel_a_task(model: gs.LocalModel, cancel_when: CancelWhen) -> None:
    """Cancel an asyncio task in the middle of its prompt."""
    cancel_when(
        lambda: model.cache_usage.kv_cache.entries >= 2,
        model.agenerate(LONG, Endless, max_tokens=4000),
    )


def pass_a_deadline(model: gs.LocalModel, _: CancelWhen) -> None:
    """Take longer than there is time."""
    with pytest.raises(gs.DeadlineExceededError):
        model.generate(LONG, Endless, max_tokens=4000, timeout=0.3)


@pytest.mark.parametrize("leave", [close_a_stream, cancel_a_task, pass_a_deadline])
def test_leaving_frees_the_row_s_memory_at_the_next_step(
    local: Make,
    watch_kv_cache: Watch,
    cancel_when: CancelWhen,
    leave: Callable[[gs.LocalModel, CancelWhen], None],
) -> None:
    """Only what the other row needs is left, without waiting for that one to end."""
    model = local("mixtral", prefill_chunk=64)
    with model.stream("doc", Endless, max_tokens=4000) as other:
        next(iter(other))
        seen = watch_kv_cache(model)
        leave(model, cancel_when)
        left = len(seen)
        until(lambda: len(seen) > left + 20)
        session = model.runtime().session
        (row,) = session._slots
        most = session.most_bytes(1, session.length(row))
    assert max(usage.entries for usage in seen) == 2
    after = seen[left + 5 :]  # the step that was under way, of two forwards, and one's shrinking
    assert {usage.entries for usage in after} == {1}
    assert max(usage.nbytes for usage in after) <= most
    until(lambda: model.cache_usage.kv_cache.entries == 0)
    assert model.cache_usage.kv_cache.nbytes == 0
