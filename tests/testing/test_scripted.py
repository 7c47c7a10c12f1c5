"""The scripted model behaves as every model does."""

from __future__ import annotations

import asyncio

import pytest
from pydantic import BaseModel, field_validator

from gemma_structured.driver import ModelRequest
from gemma_structured.exceptions import (
    DeadlineExceededError,
    GenerationCancelledError,
    IncompleteOutputError,
    ModelError,
    OutputValidationError,
    RateLimitError,
    TransportError,
)
from gemma_structured.testing.scripted import ScriptedModel
from gemma_structured.types import Example, ModelResponse, Partial, Restarted, Usage


class Person(BaseModel):
    name: str
    age: int

    @field_validator("age")
    @classmethod
    def check_age(cls, age: int) -> int:
        if age > 150:
            raise ValueError("nobody is that old")
        return age


def test_values_and_texts_become_answers() -> None:
    """A value is written as the output type says, a text stands as it is."""
    model = ScriptedModel([Person(name="Ada", age=36), '{"name":"Bob","age":4}'])
    read = model.compile(Person)
    assert read("Ada, 36").output == Person(name="Ada", age=36)
    result = read("Bob, 4")
    assert result.output == Person(name="Bob", age=4)
    assert (result.text, result.model_name) == ('{"name":"Bob","age":4}', "scripted")
    assert result.usage.sampled_tokens == len(result.text)
    assert [request.input for request in model.requests] == ["Ada, 36", "Bob, 4"]


def test_a_wrong_answer_is_asked_for_again() -> None:
    """The second request holds what was wrong with the first answer."""
    model = ScriptedModel(['{"name":"Ada","age":999}', '{"name":"Ada","age":36}'])
    result = model.generate("Ada", Person)
    assert result.output.age == 36
    assert len(result.attempts) == 2
    assert "nobody is that old" in model.requests[1].issues[0].message


def test_the_same_wrong_answer_ends_in_an_error() -> None:
    """After `max_attempts` there is an error with every attempt on it."""
    model = ScriptedModel(lambda _: "no idea")
    with pytest.raises(OutputValidationError) as caught:
        model.generate("Ada", Person, max_attempts=2)
    assert len(caught.value.attempts) == 2


def test_errors_are_raised() -> None:
    """An error in the script is what the model raises, and so is the script's end."""
    model = ScriptedModel([TransportError("cut")])
    with pytest.raises(TransportError, match="cut"):
        model.generate("Ada", Person)
    with pytest.raises(ModelError, match="no answer to request 2"):
        model.generate("Ada", Person)


def test_a_whole_response_may_be_scripted() -> None:
    """A response that was cut ends as it does for any model."""
    cut = ModelResponse(
        text='{"name":"A',
        finish_reason="length",
        usage=Usage(),
        model_name="other",
        constrained=True,
    )
    with pytest.raises(IncompleteOutputError) as caught:
        ScriptedModel(lambda _: cut).generate("Ada", Person, max_tokens=5)
    assert caught.value.text == '{"name":"A'


def test_streams_come_in_pieces() -> None:
    """The pieces add up to the text, and a re-ask restarts them."""
    model = ScriptedModel(['{"name":"Ada","age":999}', '{"name":"Ada","age":36}'], piece_length=5)
    with model.stream("Ada", Person) as stream:
        events = list(stream)
        result = stream.result()
    restart = next(i for i, event in enumerate(events) if isinstance(event, Restarted))
    partials = [event for event in events[restart + 1 :] if isinstance(event, Partial)]
    assert "".join(partial.delta for partial in partials) == result.text
    assert len(partials) >= 5
    assert partials[-1].value == {"name": "Ada", "age": 36}


def test_async_methods_answer_alike() -> None:
    """`acall` and `astream` give what their twins give."""

    async def run() -> None:
        model = ScriptedModel(lambda _: Person(name="Ada", age=36))
        read = model.compile(Person)
        assert (await read.acall("Ada")).output.age == 36
        async with read.astream("Ada") as stream:
            pieces = [event.delta async for event in stream if isinstance(event, Partial)]
            assert "".join(pieces) == (await stream.result()).text

    asyncio.run(run())


def test_deadline_and_cancellation_are_honoured() -> None:
    """A request whose time is up, or that nobody wants any more, is not answered."""
    model = ScriptedModel(lambda _: Person(name="Ada", age=36))
    with pytest.raises(DeadlineExceededError):
        model.generate("Ada", Person, timeout=0)
    request = ModelRequest(input="Ada")
    request.cancellation.cancel()
    with pytest.raises(GenerationCancelledError):
        model.bind(model.compile(Person).task).respond(request)
    assert model.requests == []


def test_the_prompt_shows_what_a_model_would_be_told() -> None:
    """Instruction, type, example and document are in it; its length is counted in bytes."""
    read = ScriptedModel([RateLimitError]).compile(
        Person,
        instruction="Find the person.",
        examples=[Example("Zoé, 9", Person(name="Zoé", age=9))],
    )
    prompt = read.prompt("Ada")
    for part in ("Find the person.", "age: integer", "Zoé, 9", '{"name":"Zoé","age":9}'):
        assert part in prompt
    assert prompt.endswith("user: Ada")
    assert read.count_tokens("Ada") == len(prompt.encode())
