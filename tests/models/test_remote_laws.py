"""Laws of the remote path as a whole: bytes of a server in, typed objects or errors out."""

from __future__ import annotations

import datetime as dt
import enum
import uuid
from dataclasses import dataclass, replace
from decimal import Decimal  # noqa: TC003 - Pydantic reads the annotations
from typing import Literal, TypedDict

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

import gemma_structured as gs
from gemma_structured.driver import Task
from gemma_structured.reask import ask
from gemma_structured.remote.decode import chat_decoder
from gemma_structured.remote.errors import ErrorContext
from gemma_structured.schema.output_type import OutputType
from gemma_structured.testing.openrouter_replies import Answer
from gemma_structured.types import Cancellation, Deadline, ModelResponse

HERE = ErrorContext(model_name="m")


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int = Field(ge=0, le=9)


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"
    says: str


class Tree(BaseModel):
    label: str
    below: list[Tree] = []


class Point(TypedDict):
    x: float
    y: float


@dataclass(frozen=True)
class Stay:
    begins: dt.date
    at: dt.time | None
    colour: Colour
    price: Decimal


texts = st.text(st.characters(codec="utf-8"), max_size=12)
numbers = st.floats(allow_nan=False, allow_infinity=False)
cats = st.builds(Cat, lives=st.integers(0, 9))
dogs = st.builds(Dog, says=texts)
trees = st.recursive(
    st.builds(Tree, label=texts),
    lambda below: st.builds(Tree, label=texts, below=st.lists(below, max_size=2)),
    max_leaves=5,
)
stays = st.builds(
    Stay,
    begins=st.dates(),
    at=st.none() | st.times(),
    colour=st.sampled_from(Colour),
    price=st.decimals(0, 10**6, places=2),
)
CONTAINERS = [
    (Cat | Dog, cats | dogs),
    (Tree, trees),
    (Point, st.fixed_dictionaries({"x": numbers, "y": numbers})),
    (Stay, stays),
    (list[Cat | Dog], st.lists(cats | dogs, max_size=3)),
    (dict[str, int], st.dictionaries(texts, st.integers(-(2**60), 2**60), max_size=3)),
    (tuple[int, str], st.tuples(st.integers(-9, 9), texts)),
]
SCALARS = [
    (int, st.integers(-(2**60), 2**60)),
    (float, numbers),
    (bool, st.booleans()),
    (str | None, texts | st.none()),
    (Colour, st.sampled_from(Colour)),
    (uuid.UUID, st.uuids()),
    (dt.datetime, st.datetimes(timezones=st.just(dt.UTC))),
]

words = st.sampled_from(["", "Sure, here it is:\n", "It says 3 of 5 (see below).\n", "As asked: "])
after = st.sampled_from(["", "\nAnything else?", " That is all.", "<turn|>", "\n\n</s>"])
thoughts = st.sampled_from(
    ["", '<think>maybe {"a":1}</think>', "<|channel>thought\n[1, 2<channel|>", "<think></think>\n"]
)


@st.composite
def written(draw, pairs):
    """An output type, a value of it, and that value as a talkative model writes it."""
    spec, values = draw(st.sampled_from(pairs))
    value = draw(values)
    output_type = OutputType.of(spec)
    text = output_type.dump(value)
    if draw(st.booleans()):
        text = f"```json\n{text}\n```"
        text = f"\n{text}\n" if pairs is CONTAINERS else text
    if pairs is CONTAINERS:
        text = draw(words) + text + draw(after)
    mark = draw(st.sampled_from(["", "\ufeff"]))
    return output_type, value, mark + draw(thoughts) + text


streams = st.fixed_dictionaries(
    {
        "piece": st.integers(1, 9),
        "usage_choices": st.sampled_from([0, 1]),
        "late_finish": st.booleans(),
        "reasoning": st.none() | texts,
    }
)


def body_of(answer, *, stream):
    wire = answer.wire({"stream": stream, "model": "m"})
    return b"".join(step for step in wire.steps if isinstance(step, bytes))


def receive(body, cuts, *, stream):
    """What the decoder makes of a body that comes in pieces."""
    decoder = chat_decoder("text/event-stream" if stream else "application/json", HERE)
    marks = sorted({min(mark, len(body)) for mark in cuts})
    for start, end in zip([0, *marks], [*marks, len(body)], strict=True):
        decoder.feed(body[start:end])
    return decoder.finish()[1]


def result_of(output_type, completion):
    """What the re-ask flow makes of the one answer that there is."""
    task = Task(output_type=output_type, max_attempts=1)
    flow = ask(task, "x", deadline=Deadline(), cancellation=Cancellation())
    next(flow)
    response = ModelResponse(
        text=completion.text,
        finish_reason=completion.finish_reason,
        usage=completion.usage,
        model_name="m",
    )
    try:
        flow.send(response)
    except StopIteration as stop:
        return stop.value
    raise AssertionError


@given(
    said=written(CONTAINERS) | written(SCALARS),
    shape=streams,
    cuts=st.lists(st.integers(0, 4000), max_size=20),
)
@settings(max_examples=400, deadline=None)
def test_any_value_of_any_type_comes_back_equal(said, shape, cuts):
    """In any wrapping, cut into pieces at any byte, streamed and whole; nothing is repaired."""
    output_type, value, text = said
    answer = Answer(text=text, **shape)
    for stream in (True, False):
        result = result_of(
            output_type, receive(body_of(answer, stream=stream), cuts, stream=stream)
        )
        assert result.output == value
        assert not result.attempts[0].repaired


@given(
    said=written(CONTAINERS) | written(SCALARS),
    shape=streams,
    stream=st.booleans(),
    reason=st.sampled_from(["stop", "length"]),
    data=st.data(),
)
@settings(max_examples=400, deadline=None)
def test_no_truncation_comes_back_as_success(said, shape, stream, reason, data):
    """Whether the connection is cut or the model's own text, with any reason given for its end.

    One thing cannot be seen by anybody: half of a bare number of which the server says `stop`.
    """
    output_type, value, text = said
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    may_be_halved = reason == "length" or not is_number
    answer = Answer(text=text, finish_reason=reason, **shape)
    body = body_of(answer, stream=stream)
    if not may_be_halved or data.draw(st.booleans(), label="cut the connection"):
        # What follows the end mark's own bytes is an empty line.
        cut = data.draw(st.integers(0, len(body) - (2 if stream else 1)))
        parts = (body[:cut], None)
    else:
        cut = data.draw(st.integers(0, len(text)))
        parts = (body_of(replace(answer, text=text[:cut]), stream=stream), text[cut:])
    try:
        found = result_of(output_type, receive(parts[0], [], stream=stream))
    except (gs.ModelError, gs.OutputValidationError):
        return
    # Only a text that lost nothing but its wrapping's end is an answer, and only on `stop`.
    assert reason == "stop"
    assert parts[1] is not None
    assert found.output == value
