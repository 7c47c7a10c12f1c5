"""Batches through the public API: mixed ones, hostile ones, and what a batch costs."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

import gemma_structured as gs

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from gemma_structured.decoding.cache_usage import MemoryUsage

    Make = Callable[..., gs.LocalModel]
    Watch = Callable[[gs.LocalModel], list[MemoryUsage]]
    UntilIdle = Callable[[gs.LocalModel], None]
    CancelWhen = Callable[[Callable[[], bool], Coroutine[Any, Any, object]], None]


class Item(BaseModel):
    """An item."""

    name: str = Field(max_length=12)
    kind: Literal["alpha", "beta", "gamma"]
    count: int = Field(ge=0, le=99)


class Endless(BaseModel):
    """What a random model does not come to the end of."""

    text: str = Field(min_length=3000, max_length=4000)


Flags = Annotated[list[bool], Field(min_length=25, max_length=25)]
DOCUMENTS = ["a", "Invoice 12: " * 20, "", "x" * 150, "b\n\nc"]
TOO_LONG = "x" * 20_000


def count_tokens(model: gs.LocalModel) -> list[int]:
    """The tokens that each forward appends to all rows from now on."""
    counts: list[int] = []
    session = model.runtime().session
    forward = session.forward

    def note(chunks: Any, **options: Any) -> Any:
        counts.append(sum(map(len, chunks.values())))
        return forward(chunks, **options)

    session.forward = note  # type: ignore[method-assign]
    return counts


def wait_for_requests(model: gs.LocalModel, count: int) -> None:
    """Have the next forward wait until so many requests are there."""
    session, engine = model.runtime().session, model.runtime().engine
    forward = session.forward

    def wait(*args: Any, **options: Any) -> Any:
        session.forward = forward  # type: ignore[method-assign]
        end = time.monotonic() + 20
        while len(engine._active) + len(engine._waiting) < count:
            assert time.monotonic() < end, "they did not come"
            time.sleep(0.002)
        return forward(*args, **options)

    session.forward = wait  # type: ignore[method-assign]


@pytest.mark.parametrize("architecture", ["gemma4", "deepseek_v3"])
def test_rows_differ_in_everything(
    local: Make, until_idle: UntilIdle, watch_kv_cache: Watch, architecture: str
) -> None:
    """Grammar, sampling, prompt, forced tokens and end: together as each alone, in one batch."""
    model = local(architecture, max_batch_size=6).load()
    tasks = [
        (model.compile(Endless, max_tokens=90), "one"),
        (model.compile(gs.Regex("[a-z]{60}"), temperature=1.0, seed=1), "two " * 30),
        (model.compile(gs.Regex("[0-9]{50}"), temperature=0.7, top_k=3, seed=2), ""),
        (model.compile(gs.Choice(["a " * 20 + "b", "a " * 20 + "c"])), "four"),
        (model.compile(Flags, temperature=2.0, min_p=0.1, seed=3), "five" * 9),
        (model.compile(gs.Lark('start: ("x" | "yy" | "z")~30')), "six"),
    ]

    def run(number: int) -> str:
        generator, document = tasks[number]
        (outcome,) = generator.batch([document], errors="return")
        return str(outcome.text)

    alone = [run(number) for number in range(len(tasks))]
    seen = watch_kv_cache(model)
    wait_for_requests(model, len(tasks))
    with ThreadPoolExecutor(len(tasks)) as pool:
        assert list(pool.map(run, range(len(tasks)))) == alone
    assert max(usage.entries for usage in seen) >= 5  # the choice may have ended
    until_idle(model)


@pytest.mark.embedded
def test_the_embedded_model_answers_in_a_batch_as_alone(local_model: gs.LocalModel) -> None:
    """Greedy, with documents of different lengths."""
    read = local_model.compile(
        Item,
        examples=[gs.Example("Two alpha bolts.", Item(name="bolts", kind="alpha", count=2))],
        max_tokens=60,
    )
    documents = ["Seven gamma lamps.", "We have beta cables here, twelve of them, in a box.", "3"]
    alone = [read(document).text for document in documents]
    assert [result.text for result in read.batch(documents)] == alone


@pytest.mark.parametrize("architecture", ["gemma4", "mixtral"])
def test_the_cost_is_that_of_the_documents(local: Make, architecture: str) -> None:
    """Linear in documents, and the same however long the part that they share is."""
    costs: dict[tuple[int, int], tuple[int, int]] = {}
    for repeats in (1, 60):
        model = local(architecture, drafts="off")
        read = model.compile(gs.Regex("[a-z]{5}"), instruction="Name the thing. " * repeats)
        read("the first document")
        counts = count_tokens(model)
        for documents in (6, 12):
            counts.clear()
            for number in range(documents):
                result = read(f"document {number:02}, which is new")
                assert result.usage.cached_tokens > 16 * repeats
            costs[repeats, documents] = len(counts), sum(counts)
    assert costs[1, 6] == costs[60, 6]
    assert costs[1, 12] == costs[60, 12]
    assert costs[1, 12] == tuple(2 * cost for cost in costs[1, 6])


def test_a_cold_batch_reads_the_shared_part_once(local: Make) -> None:
    """Also where all documents come at once, before anything is kept."""
    model = local("gemma4", drafts="off", max_batch_size=4).load()
    counts = count_tokens(model)
    read = model.compile(gs.Regex("[a-z]{5}"), instruction="Name the thing. " * 60)
    usages = [result.usage for result in read.batch([f"document {i}" for i in range(8)])]
    shared = max(usage.cached_tokens for usage in usages)
    assert shared > 900
    assert sorted(usage.cached_tokens for usage in usages) == [0] + [shared] * 7
    own = sum(usage.prompt_tokens - shared for usage in usages)
    answers = sum(usage.completion_tokens for usage in usages)
    assert own + shared <= sum(counts) <= own + shared + answers


def test_no_texts(local: Make) -> None:
    """Nothing is loaded and nothing runs."""
    model = local()
    assert model.batch([], Item) == []
    assert asyncio.run(model.abatch([], Item)) == []
    assert model._runtime is None


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_text_past_the_context_among_good_ones(
    local: Make, until_idle: UntilIdle, *, asynchronous: bool
) -> None:
    """It is an error in its place; where errors are raised it is the one."""
    model = local("mixtral", max_batch_size=3)
    read = model.compile(Item, max_tokens=100)
    expected = [read(document).text for document in DOCUMENTS]
    documents = [*DOCUMENTS[:2], TOO_LONG, *DOCUMENTS[2:]]
    if asynchronous:
        outcomes = asyncio.run(read.abatch(documents, errors="return"))
    else:
        outcomes = read.batch(documents, errors="return")
    error = outcomes.pop(2)
    assert isinstance(error, gs.ContextLengthError)
    assert [outcome.text for outcome in outcomes] == expected
    with pytest.raises(gs.ContextLengthError):
        asyncio.run(read.abatch(documents)) if asynchronous else read.batch(documents)
    until_idle(model)
    assert [result.text for result in read.batch(DOCUMENTS)] == expected


@pytest.mark.parametrize(
    ("options", "most_rows"),
    [
        ({"max_batch_size": 1}, 1),
        ({"kv_cache_bytes": 1}, 1),
        ({"prefill_chunk": 1}, 5),
        ({"prefix_cache_bytes": 1}, 5),
        ({"max_batch_size": 1000}, 5),
    ],
)
def test_extreme_limits_change_no_answer(
    local: Make,
    until_idle: UntilIdle,
    watch_kv_cache: Watch,
    options: dict[str, int],
    most_rows: int,
) -> None:
    """The least of each, and more rows than there are texts."""
    expected = [r.text for r in local("mixtral").batch(DOCUMENTS, Item, max_tokens=100)]
    model = local("mixtral", **options).load()
    seen = watch_kv_cache(model)
    results = model.batch(DOCUMENTS, Item, max_tokens=100, concurrency=5)
    assert [result.text for result in results] == expected
    assert max(usage.entries for usage in seen) <= most_rows
    until_idle(model)


def test_cancelled_in_the_middle_of_a_prompt(
    local: Make, until_idle: UntilIdle, cancel_when: CancelWhen
) -> None:
    """The rest of it is not read, nothing is kept of it, and it can be asked again."""
    model = local("gemma4", prefill_chunk=32).load()
    document = "x" * 3000
    counts = count_tokens(model)
    kept = model.cache_usage.prefix_cache.entries
    cancel_when(lambda: len(counts) >= 3, model.agenerate(document, list[bool], max_tokens=50))
    until_idle(model)
    assert len(counts) >= 3
    assert sum(counts) < 2000
    assert model.cache_usage.prefix_cache.entries <= kept + 1  # the fixed part, where it was read
    again = model.compile(gs.Regex("[a-z]{9}"))
    assert again(document).text == local("gemma4").compile(gs.Regex("[a-z]{9}"))(document).text


def test_ending_twice_is_ending_once(local: Make, until_idle: UntilIdle) -> None:
    """Of streams, read or not, of models and of engines."""
    model = local("mixtral")
    model.unload()
    unread = model.stream("doc", Endless)
    unread.close()
    unread.close()
    stream = model.stream("doc", Endless, max_tokens=3000)
    next(iter(stream))
    stream.close()
    stream.close()
    with pytest.raises(gs.GenerationCancelledError):
        stream.result()

    async def twice() -> None:
        later = model.astream("doc", Endless, max_tokens=3000)
        await anext(aiter(later))
        await later.close()
        await later.close()

    asyncio.run(twice())
    until_idle(model)
    engine = model.runtime().engine
    engine.shutdown()
    engine.shutdown()
    model.unload()
    model.unload()
    assert model.generate("doc", Literal["a", "b"]).output in {"a", "b"}
