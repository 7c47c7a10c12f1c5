"""Streams: what is left of one that failed, was closed early, or broke off."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel

import gemma_structured as gs
from gemma_structured.testing.scripted import ScriptedModel


class Point(BaseModel):
    x: int
    y: int


RIGHT = '{"x":1,"y":2}'
WRONG = '{"x":1}'


def test_an_error_is_raised_again_where_the_result_is_asked_for() -> None:
    """By the iteration first, and by every call of `result` after it."""
    stream = ScriptedModel([WRONG]).stream("doc", Point, max_attempts=1)
    with pytest.raises(gs.OutputValidationError):
        list(stream)
    for _ in range(2):
        with pytest.raises(gs.OutputValidationError) as caught:
            stream.result()
    assert len(caught.value.attempts) == 1


def test_an_error_of_an_async_stream_is_raised_again() -> None:
    """As of a stream."""

    async def scenario() -> None:
        stream = ScriptedModel([gs.RateLimitError("slow", status_code=429)]).astream("doc", Point)
        for _ in range(2):
            with pytest.raises(gs.RateLimitError):
                await stream.result()

    asyncio.run(scenario())


def test_nothing_is_asked_before_the_first_piece() -> None:
    """A stream that is made and closed has cost nothing."""
    model = ScriptedModel([RIGHT])
    with model.stream("doc", Point):
        pass
    assert model.requests == []


def test_the_result_needs_no_reader() -> None:
    """`result` generates what nobody looked at, and gives the same each time."""
    stream = ScriptedModel([WRONG, RIGHT]).stream("doc", Point)
    first = stream.result()
    assert first.output == Point(x=1, y=2)
    assert stream.result() is first
    stream.close()
    assert stream.result() is first


def test_closing_early_ends_the_work() -> None:
    """The request's cancellation is set, so that a model's next step is its last."""
    model = ScriptedModel([RIGHT], piece_length=1)
    with model.stream("doc", Point) as stream:
        next(iter(stream))
        assert not model.requests[0].cancellation.cancelled
    assert model.requests[0].cancellation.cancelled
    with pytest.raises(gs.GenerationCancelledError, match="closed before"):
        stream.result()


def test_closing_an_async_stream_early_ends_the_work() -> None:
    """As of a stream."""
    model = ScriptedModel([RIGHT], piece_length=1)

    async def scenario() -> None:
        async with model.astream("doc", Point) as stream:
            async for _ in stream:
                break
        with pytest.raises(gs.GenerationCancelledError):
            await stream.result()

    asyncio.run(scenario())
    assert model.requests[0].cancellation.cancelled


class BreaksOff(ScriptedModel):
    """A model whose stream ends without a response."""

    def bind(self, task: Any) -> Any:
        responder = super().bind(task)
        whole = responder.stream
        responder.stream = lambda request: (  # type: ignore[method-assign]
            piece for piece in whole(request) if isinstance(piece, gs.types.ModelDelta)
        )
        return responder


def test_a_stream_without_a_response_is_a_transport_error() -> None:
    """A half answer is never taken for a whole one."""
    with pytest.raises(gs.TransportError, match="without a response"):
        BreaksOff([RIGHT]).stream("doc", Point).result()


def test_an_error_in_the_reader_closes_the_stream() -> None:
    """What the caller raises in the block is the caller's, and ends the work."""
    model = ScriptedModel([RIGHT], piece_length=1)

    def read() -> None:
        with model.stream("doc", Point) as stream:
            for _ in stream:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        read()
    assert model.requests[0].cancellation.cancelled
