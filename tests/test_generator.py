"""Generators and streams over a scripted model: re-asks, batches, deadlines, partial values."""

from __future__ import annotations

import asyncio
import time
from decimal import Decimal

import pytest
from pydantic import BaseModel, field_validator

import gemma_structured as gs
from gemma_structured.testing.scripted import ScriptedModel
from gemma_structured.types import ModelResponse, Usage


class Invoice(BaseModel):
    number: str
    total: int

    @field_validator("total")
    @classmethod
    def even(cls, value: int) -> int:
        if value % 2:
            raise ValueError("totals are even")
        return value


RIGHT = '{"number":"A1","total":2}'
ODD = '{"number":"A1","total":3}'


def test_a_right_answer_is_one_attempt():
    """The first answer validates, so it is the result and the only attempt."""
    result = ScriptedModel([RIGHT]).generate("doc", Invoice)
    assert result.output == Invoice(number="A1", total=2)
    assert result.text == RIGHT
    assert [attempt.issues for attempt in result.attempts] == [()]
    assert result.model_name == "scripted"


def test_a_validator_s_error_is_told_and_asked_again():
    """What only Pydantic sees is sent back as an issue, without the failed answer."""
    model = ScriptedModel([ODD, RIGHT])
    result = model.generate("doc", Invoice)
    assert result.output.total == 2
    assert [len(attempt.issues) for attempt in result.attempts] == [1, 0]
    first, second = model.requests
    assert first.issues == ()
    assert second.attempt == 2
    assert second.input == "doc"
    assert [issue.path for issue in second.issues] == [("total",)]
    assert "even" in second.issues[0].message
    assert result.usage.prompt_tokens == sum(a.usage.prompt_tokens for a in result.attempts)


def test_the_prompt_does_not_grow_with_attempts():
    """A third attempt is told the second's errors alone."""
    model = ScriptedModel([ODD, '{"number":"A1"}', RIGHT])
    model.generate("doc", Invoice)
    assert [len(request.issues) for request in model.requests] == [0, 1, 1]


def test_after_the_last_attempt_every_attempt_is_on_the_error():
    """`max_attempts` answers are asked for, and kept."""
    with pytest.raises(gs.OutputValidationError) as caught:
        ScriptedModel([ODD, ODD, RIGHT]).generate("doc", Invoice, max_attempts=2)
    assert [attempt.text for attempt in caught.value.attempts] == [ODD, ODD]
    assert caught.value.text == ODD
    assert "/total" in str(caught.value)
    assert "2 attempts" in str(caught.value)


def test_a_model_s_error_carries_the_attempts_before_it():
    """A transport failure in the second attempt does not lose the first."""
    model = ScriptedModel([ODD, gs.TransportError("gone")])
    with pytest.raises(gs.TransportError) as caught:
        model.generate("doc", Invoice)
    assert [attempt.text for attempt in caught.value.attempts] == [ODD]


def _cut(*, constrained: bool) -> ModelResponse:
    return ModelResponse(
        text='{"number":"A',
        finish_reason="length",
        usage=Usage(sampled_tokens=7, cost=Decimal("0.5")),
        model_name="scripted",
        constrained=constrained,
    )


def test_a_cut_answer_is_asked_again_with_twice_the_room():
    """An unconstrained answer that was cut gets a larger budget, not the same again."""
    model = ScriptedModel([_cut(constrained=False), RIGHT])
    result = model.generate("doc", Invoice)
    assert model.requests[1].max_tokens == 14
    assert result.usage.cost == Decimal("0.5")


@pytest.mark.parametrize(("constrained", "max_tokens"), [(True, None), (False, 7)])
def test_a_cut_answer_is_an_error_where_more_room_would_not_help(constrained, max_tokens):
    """Under a grammar, or within a budget that the user set, a cut answer ends the call."""
    model = ScriptedModel([_cut(constrained=constrained), RIGHT])
    with pytest.raises(gs.IncompleteOutputError) as caught:
        model.generate("doc", Invoice, max_tokens=max_tokens)
    assert caught.value.text == '{"number":"A'
    assert caught.value.usage.sampled_tokens == 7
    assert len(caught.value.attempts) == 1


def test_constrained_text_is_never_repaired():
    """A fence around a constrained answer is a bug, and is reported as one."""
    with pytest.raises(gs.OutputValidationError):
        ScriptedModel([f"```json\n{RIGHT}\n```"], constrained=True).generate(
            "doc", Invoice, max_attempts=1
        )
    assert ScriptedModel([f"```json\n{RIGHT}\n```"]).generate("doc", Invoice).output.total == 2


def test_sync_and_async_give_equal_results():
    """`acall` goes the same way as a call."""
    results = [
        ScriptedModel([ODD, RIGHT]).generate("doc", Invoice),
        asyncio.run(ScriptedModel([ODD, RIGHT]).agenerate("doc", Invoice)),
    ]
    assert results[0] == results[1]


def test_streamed_pieces_add_up_and_a_restart_is_told():
    """The deltas since the last restart are the text, and the last partial is all closed."""
    with ScriptedModel([ODD, RIGHT], piece_length=3).stream("doc", Invoice) as stream:
        events = list(stream)
        result = stream.result()
    restarts = [i for i, event in enumerate(events) if isinstance(event, gs.Restarted)]
    assert len(restarts) == 1
    restarted = events[restarts[0]]
    assert restarted.attempt == 2
    assert restarted.issues[0].path == ("total",)
    pieces = [event for event in events[restarts[0] + 1 :] if isinstance(event, gs.Partial)]
    assert "".join(piece.delta for piece in pieces) == result.text == RIGHT
    assert pieces[-1].value == {"number": "A1", "total": 2}
    assert pieces[-1].closed == {("number",), ("total",), ()}
    assert all(RIGHT.startswith(piece.text) for piece in pieces)
    assert result == ScriptedModel([ODD, RIGHT]).generate("doc", Invoice)


def test_closed_values_of_a_stream_do_not_change():
    """A path that is closed once stays closed, with the same value."""
    with ScriptedModel([RIGHT], piece_length=1).stream("doc", Invoice) as stream:
        closed: dict[tuple[str | int, ...], object] = {}
        for event in stream:
            assert isinstance(event, gs.Partial)
            assert closed.keys() <= event.closed
            for path in event.closed - {()}:
                (key,) = path
                assert isinstance(event.value, dict)
                assert closed.setdefault(path, event.value[key]) == event.value[key]


def test_a_stream_that_is_left_early_has_no_result():
    """Closing a stream ends it, and its result says so."""
    model = ScriptedModel([RIGHT], piece_length=1)
    stream = model.stream("doc", Invoice)
    with stream:
        next(iter(stream))
    with pytest.raises(gs.GenerationCancelledError):
        stream.result()


def test_async_streams_give_the_same_events():
    """`astream` yields what `stream` yields."""

    async def collect() -> tuple[list[object], object]:
        async with ScriptedModel([ODD, RIGHT]).astream("doc", Invoice) as stream:
            events = [event async for event in stream]
            return events, await stream.result()

    with ScriptedModel([ODD, RIGHT]).stream("doc", Invoice) as stream:
        events = list(stream)
        assert asyncio.run(collect()) == (events, stream.result())


def test_text_outputs_stream_as_text():
    """The partial value of a choice is the text so far."""
    with ScriptedModel(["spam"], piece_length=2).stream(
        "doc", gs.Choice(["spam", "ham"])
    ) as stream:
        values = [event.value for event in stream if isinstance(event, gs.Partial)]
        assert values == ["sp", "spam", "spam"]
        assert stream.result().output == "spam"


def _answer(request: object) -> str:
    document = request.input  # type: ignore[attr-defined]
    if document == "slow":
        time.sleep(0.2)
    return ODD if document == "bad" else RIGHT


def test_a_batch_keeps_the_order_and_returns_errors_in_their_places():
    """Each document has its own place; one failure touches no other."""
    model = ScriptedModel(_answer, concurrency=3)
    outcomes = model.batch(["slow", "bad", "a", "b"], Invoice, errors="return", max_attempts=1)
    assert [type(outcome).__name__ for outcome in outcomes] == [
        "Result",
        "OutputValidationError",
        "Result",
        "Result",
    ]


def test_a_batch_that_raises_raises_the_error_that_came_first():
    """The cause is raised, not the cancellations that it led to."""
    model = ScriptedModel(_answer, concurrency=2)
    with pytest.raises(gs.OutputValidationError):
        model.batch(["slow", "bad", *["a"] * 20], Invoice, max_attempts=1)
    assert len(model.requests) < 22
    with pytest.raises(gs.OutputValidationError):
        asyncio.run(
            ScriptedModel(_answer, concurrency=2).abatch(["slow", "bad"], Invoice, max_attempts=1)
        )


def test_an_async_batch_is_a_batch():
    """`abatch` gives what `batch` gives."""
    documents = ["a", "bad", "c"]
    outcomes = asyncio.run(
        ScriptedModel(_answer).abatch(documents, Invoice, errors="return", max_attempts=1)
    )
    assert [type(outcome).__name__ for outcome in outcomes] == [
        "Result",
        "OutputValidationError",
        "Result",
    ]


def test_an_empty_batch_is_empty():
    """No documents, no results, no request."""
    model = ScriptedModel([])
    assert model.batch([], Invoice) == []
    assert model.requests == []


def test_unknown_options_are_refused_by_name():
    """A misspelled option is an error, not ignored."""
    with pytest.raises(TypeError, match="instruktion"):
        ScriptedModel([]).compile(Invoice, instruktion="x")  # type: ignore[call-arg]


@pytest.mark.parametrize(
    "options",
    [
        {"max_tokens": 0},
        {"max_attempts": 0},
        {"timeout": -1},
        {"timeout": float("nan")},
        {"temperature": -1},
        {"temperature": float("inf")},
        {"top_k": 0},
        {"top_p": 0},
        {"top_p": 1.5},
        {"min_p": 2},
    ],
)
def test_options_out_of_range_are_refused(options):
    """Each option that could not mean anything is refused when the task is compiled."""
    with pytest.raises(gs.InputError):
        ScriptedModel([]).compile(Invoice, **options)


@pytest.mark.parametrize("concurrency", [0, -3])
def test_a_batch_needs_at_least_one_at_a_time(concurrency):
    """Sync and async refuse the same numbers in the same words."""
    read = ScriptedModel([RIGHT]).compile(Invoice)
    with pytest.raises(gs.InputError, match=f"at least 1, not {concurrency}"):
        read.batch(["a"], concurrency=concurrency)
    with pytest.raises(gs.InputError, match=f"at least 1, not {concurrency}"):
        asyncio.run(read.abatch(["a"], concurrency=concurrency))


def test_an_interrupted_batch_ends_what_is_under_way():
    """Requests that run are cancelled at once; the batch does not wait for them to finish."""

    def work(request):
        if request.input == "broken":
            raise KeyboardInterrupt
        assert request.cancellation.wait(20), "nobody cancelled it"
        request.cancellation.check()
        return RIGHT

    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        ScriptedModel(work, concurrency=3).batch(["broken", "a", "b", "c"], Invoice)
    assert time.monotonic() - started < 10


def test_cancelling_an_async_call_cancels_its_request():
    """The model is told to stop, though it answers in a thread of its own."""
    model = ScriptedModel(lambda request: (request.cancellation.wait(20), RIGHT)[1])

    async def scenario():
        task = asyncio.create_task(model.agenerate("doc", Invoice))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scenario())
    assert model.requests[0].cancellation.cancelled
