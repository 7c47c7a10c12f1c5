"""The decode laws through the public API, on tiny models of each architecture."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field

import gemma_structured as gs

ARCHITECTURES = ("gemma4", "gemma3", "mixtral", "afmoe", "minimax_m2", "deepseek_v3")
DOCUMENT = "The quick brown fox jumps over the lazy dog. "


class Item(BaseModel):
    """An item."""

    name: str = Field(max_length=12)
    kind: Literal["alpha", "beta", "gamma"]
    count: int = Field(ge=0, le=99)


class Order(BaseModel):
    """An order."""

    items: list[Item] = Field(min_length=1, max_length=3)
    note: str = Field(max_length=20)


class Endless(BaseModel):
    """What a random model does not come to the end of."""

    text: str = Field(min_length=3000, max_length=4000)


def documents(count: int) -> list[str]:
    """Documents of different lengths, some past the sliding window."""
    return [DOCUMENT * (1 + i % 4) + str(i) for i in range(count)]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_batched_greedy_output_is_single_greedy_output(local, architecture, until_idle):
    """What is decoded beside others is what is decoded alone."""
    model = local(architecture, max_batch_size=4)
    generator = model.compile(Order, max_tokens=400)
    alone = [generator(document) for document in documents(6)]
    together = generator.batch(documents(6))
    assert [r.text for r in together] == [r.text for r in alone]
    assert [r.usage.sampled_tokens for r in together] == [r.usage.sampled_tokens for r in alone]
    until_idle(model)
    assert model.runtime().session.nbytes == 0


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_drafts_and_kept_prefixes_change_no_output(local, architecture):
    """Neither a draft nor a reused prefix is seen in what is written, greedy or sampled."""
    texts = {}
    for temperature in (0.0, 1.0):
        for drafts, prefix in (("off", 0), ("on", 0), ("on", 2**30)):
            generator = local(architecture, drafts=drafts, prefix_cache_bytes=prefix).compile(
                Order, temperature=temperature, seed=5, max_tokens=400
            )
            texts[temperature, drafts, prefix] = [generator(d).text for d in documents(3)]
        assert len({tuple(v) for k, v in texts.items() if k[0] == temperature}) == 1


def test_a_prefix_is_reused_and_reported(local):
    """The second document finds the fixed part of its prompt computed."""
    generator = local().compile(Order, instruction="Extract the order.", max_tokens=400)
    first, second = generator("one"), generator("two, which is longer")
    assert first.usage.cached_tokens == 0
    assert 0 < second.usage.cached_tokens < second.usage.prompt_tokens
    assert second.usage.cached_tokens > 100


def test_usage_adds_up(local):
    """Every token of the answer is sampled or forced, and forced ones take no forward."""
    result = local(drafts="off").generate("doc", Order, max_tokens=400)
    usage = result.usage
    assert usage.forced_tokens > 20
    assert usage.forward_passes <= usage.sampled_tokens + 2
    assert usage.seconds_to_first_token is not None
    assert 0 < usage.seconds_to_first_token <= usage.seconds


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_prompt_of_8192_tokens(local, architecture):
    """A long prompt is read in chunks, far past the sliding window, and answered."""
    generator = local(architecture).compile(Item, max_tokens=100)
    document = "x" * 8192
    assert generator.count_tokens(document) > 8192
    result = generator(document)
    assert result.usage.prompt_tokens > 8192
    assert result.usage.forward_passes > 8192 // 512


def test_a_prompt_past_the_context_is_refused_with_both_numbers(local):
    """The error has the prompt's length and the model's."""
    model = local()
    with pytest.raises(gs.ContextLengthError) as caught:
        model.generate("x" * 40_000, Item)
    assert caught.value.prompt_tokens > 40_000
    assert caught.value.context_length == model.runtime().session.context_length
    assert str(caught.value.prompt_tokens) in str(caught.value)
    assert str(caught.value.context_length) in str(caught.value)


def test_a_budget_that_ends_inside_a_value_gives_what_there_is(local):
    """The error holds the text so far, which is the beginning of an answer."""
    with pytest.raises(gs.IncompleteOutputError) as caught:
        local().generate("doc", Endless, max_tokens=50)
    assert caught.value.text.startswith('{"text":"')
    assert caught.value.usage.completion_tokens == 50


def test_a_deadline_ends_an_answer_between_steps(local, until_idle):
    """The time is looked at while the answer is written, and while it waits."""
    model = local(max_batch_size=1)
    generator = model.compile(Endless, max_tokens=4000, timeout=0.3)
    started = time.monotonic()
    outcomes = generator.batch(["a", "b", "c"], errors="return", concurrency=3)
    assert time.monotonic() - started < 5
    assert [type(o) for o in outcomes] == [gs.DeadlineExceededError] * 3
    until_idle(model)


def test_leaving_a_stream_frees_its_row(local, until_idle):
    """Closing a stream early ends the work at its next step."""
    model = local()
    with model.stream("doc", Endless, max_tokens=4000) as stream:
        events = iter(stream)
        for _ in range(3):
            next(events)
        assert model.runtime().session.open_rows == 1
    until_idle(model)
    assert model.runtime().session.nbytes == 0


def test_cancelling_a_task_frees_its_row(local, cancel_when, until_idle):
    """An asyncio task that is cancelled ends the work at its next step."""
    model = local().load()
    session = model.runtime().session
    cancel_when(lambda: session.open_rows > 0, model.agenerate("doc", Endless, max_tokens=4000))
    until_idle(model)


def test_a_failing_row_does_not_touch_its_neighbours(local):
    """One answer is cut, the others are what they are alone."""
    model = local(max_batch_size=4)
    right = model.compile(Order, max_tokens=400)
    expected = [right(document).text for document in documents(3)]
    wrong = model.compile(Endless, max_tokens=60)
    failures: list[Exception] = []

    def fail() -> None:
        try:
            wrong("doc")
        except gs.IncompleteOutputError as error:
            failures.append(error)

    threads = [threading.Thread(target=fail) for _ in range(3)]
    for thread in threads:
        thread.start()
    results = right.batch(documents(3))
    for thread in threads:
        thread.join()
    assert [result.text for result in results] == expected
    assert len(failures) == 3


def test_a_short_request_does_not_wait_for_a_long_one(local):
    """A row joins while another is being decoded."""
    model = local(max_batch_size=2).load()
    done: list[str] = []

    def run(name: str, output_type: Any, max_tokens: int) -> None:
        model.compile(output_type, max_tokens=max_tokens).batch(["doc"], errors="return")
        done.append(name)

    long = threading.Thread(target=run, args=("long", Endless, 1500))
    long.start()
    while not model.runtime().session.open_rows:
        time.sleep(0.001)
    run("short", Item, 100)
    long.join()
    assert done == ["short", "long"]


def test_a_full_queue_is_busy(local):
    """With no room to wait, a request is refused at once, and the running one goes on."""
    model = local(max_batch_size=1, max_waiting=0).load()
    with model.stream("doc", Endless, max_tokens=200) as stream:
        next(iter(stream))
        with pytest.raises(gs.ModelBusyError):
            model.generate("doc", Item)
        with pytest.raises(gs.IncompleteOutputError):
            stream.result()


def test_sync_threads_and_async_tasks_share_a_batch(local, until_idle):
    """`abatch` gives what `batch` gives, from a second event loop too."""
    model = local(max_batch_size=4)
    generator = model.compile(Order, max_tokens=400)
    expected = [result.text for result in generator.batch(documents(4))]
    for _ in range(2):
        results = asyncio.run(generator.abatch(documents(4)))
        assert [result.text for result in results] == expected
    until_idle(model)


def test_a_stream_s_pieces_add_up(local):
    """The pieces of a stream are the text of the call."""
    generator = local().compile(Order, max_tokens=400)
    with generator.stream(DOCUMENT) as stream:
        text = "".join(event.delta for event in stream if isinstance(event, gs.Partial))
        assert text == stream.result().text == generator(DOCUMENT).text


def test_a_forward_that_fails_is_the_caller_s_error(local, monkeypatch, until_idle):
    """What a forward raises reaches the caller as a `ModelError`, and the engine goes on."""
    model = local(drafts="off").load()
    session = model.runtime().session
    with monkeypatch.context() as patch:
        patch.setattr(session._head, "run", lambda *_, **__: 1 / 0)
        with pytest.raises(gs.ModelError, match="ZeroDivisionError"):
            model.generate("doc", Item)
    until_idle(model)
    assert model.generate("doc", Item, max_tokens=100).output.count >= 0


@pytest.mark.parametrize("fitting", [1, 3])
def test_the_kv_caches_stay_within_their_memory(local, watch_kv_cache, fitting, until_idle):
    """As many rows run as their longest answers have room for, room to grow included."""
    document = "x" * 1000
    probe = local("mixtral")
    probe.generate("doc", Item, max_tokens=100)
    longest = probe.compile(Item).count_tokens(document) + 100
    budget = probe.runtime().session.most_bytes(fitting, longest)
    model = local("mixtral", kv_cache_bytes=budget, prefix_cache_bytes=0).load()
    seen = watch_kv_cache(model)
    results = model.compile(Item, max_tokens=100).batch([document] * 6)
    assert len({result.text for result in results}) == 1
    assert max(usage.entries for usage in seen) == fitting
    assert max(usage.nbytes for usage in seen) <= budget == seen[0].max_bytes
    until_idle(model)
    assert model.cache_usage.kv_cache.nbytes == 0


def test_short_rows_do_not_take_the_memory_of_a_long_one_that_has_left(
    local, watch_kv_cache, until_idle
):
    """Each takes its own length, also beside one that saw the long one go."""
    long_document = "x" * 6000
    probe = local("mixtral")
    probe.generate("doc", Item, max_tokens=100)
    longest = probe.compile(Endless).count_tokens(long_document) + 4000
    budget = probe.runtime().session.most_bytes(2, longest)
    model = local("mixtral", kv_cache_bytes=budget, max_batch_size=8).load()
    witness = model.stream("doc", Endless, max_tokens=900)
    with model.stream(long_document, Endless, max_tokens=4000) as long:
        next(iter(long))
        next(iter(witness))
    seen = watch_kv_cache(model)
    model.compile(Item, max_tokens=60).batch(["doc"] * 24, errors="return")
    witness.close()
    assert max(usage.entries for usage in seen) == 8
    assert max(usage.nbytes for usage in seen) <= budget
    until_idle(model)
