"""What no mask can hold, through the public API: valid at once, streamed as it stays, or an error."""

from __future__ import annotations

import asyncio
import time
from functools import cache
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

import gemma_structured as gs
from gemma_structured.grammar.llguidance import LLGuidanceBackend, LLGuidanceLimits
from gemma_structured.testing import tiny_models

FAMILIES = ["gemma4", "gemma3", "mixtral", "afmoe", "minimax_m2", "deepseek_v3"]
Digit = Annotated[int, Field(ge=0, le=9)]
Digits = Annotated[
    list[Digit], Field(min_length=5, max_length=6, json_schema_extra={"uniqueItems": True})
]
UNIQUE = {
    "type": "array",
    "items": {"type": "integer", "minimum": 0, "maximum": 9},
    "uniqueItems": True,
    "minItems": 5,
    "maxItems": 6,
}
NEVER = {"type": "string", "pattern": r"^a\(b?$", "format": "regex"}
"""Texts that are no regular expression, and must be one: nobody can prove it to the mask."""


class Draw(BaseModel):
    """A lottery draw, and perhaps another."""

    place: Annotated[str, Field(max_length=4)]
    numbers: Digits
    more: Digits | None


@cache
def model_of(family: str = "gemma4", **options: Any) -> gs.LocalModel:
    return gs.LocalModel.from_transformers(*tiny_models.build(family), name=family, **options)


@pytest.mark.parametrize("family", FAMILIES)
def test_sets_are_right_at_once(family):
    """Random weights at high temperature write sets without being asked again."""
    rewound = 0
    for seed in range(6):
        result = model_of(family).generate(
            "doc", Draw, temperature=1.5, seed=seed, max_tokens=400, max_attempts=1
        )
        assert len(set(result.output.numbers)) == len(result.output.numbers)
        assert not result.report.exact
        rewound += result.usage.rewound_tokens
    assert rewound > 0


@pytest.mark.parametrize("family", FAMILIES)
def test_arguments_of_calls_are_right_at_once(family):
    """In every family's notation, and after a call whose arguments need no check."""

    @gs.tool
    def draw(numbers: Digits, note: Annotated[str, Field(max_length=4)] = "") -> None:
        """Draw numbers."""

    @gs.tool
    def now() -> None:
        """Tell the time."""

    for seed in range(6):
        calls = model_of(family).call_tools(
            "How?", [draw, now], parallel=(2, 2), temperature=1.5, seed=seed, max_tokens=600,
            max_attempts=1,
        )  # fmt: skip
        assert len(calls) == 2
        for call in calls:
            numbers = call.arguments.get("numbers", [])
            assert len(set(numbers)) == len(numbers)


def test_an_answer_after_a_thought_is_right_at_once():
    """What is taken back is of the answer; the thought stays within its budget."""
    rewound = 0
    for seed in range(6):
        result = model_of("gemma4").generate(
            "doc", Draw, temperature=1.5, seed=seed, max_tokens=600, max_attempts=1, thinking=20
        )
        assert result.usage.reasoning_tokens <= 24
        rewound += result.usage.rewound_tokens
    assert rewound > 0


@pytest.mark.parametrize("drafts", ["off", "on"])
def test_batches_and_drafts_change_nothing(drafts):
    """What is tried again alone is tried again beside others, with the same result."""
    model = model_of("gemma4", drafts=drafts)
    options: Any = {"temperature": 1.2, "seed": 3, "max_tokens": 400}
    documents = ["a", "[1,2,3,4,5] " * 12, "b" * 90]
    alone = [model_of("gemma4", drafts="off").generate(d, Draw, **options) for d in documents]
    together = model.batch(documents, Draw, **options)
    assert [r.text for r in together] == [r.text for r in alone]
    assert [r.usage.rewound_tokens for r in together] == [r.usage.rewound_tokens for r in alone]
    assert sum(r.usage.rewound_tokens for r in alone) > 0


def test_streamed_text_is_never_taken_back():
    """The pieces add up to the answer; what is closed stays; nothing is restarted."""
    rewound = 0
    for seed in range(5):
        with model_of().stream("doc", Draw, temperature=1.5, seed=seed, max_tokens=400) as stream:
            text, closed = "", set()
            for event in stream:
                assert isinstance(event, gs.Partial)
                text += event.delta
                assert event.text == text
                assert closed <= set(event.closed)
                closed = set(event.closed)
            result = stream.result()
        assert text == result.text
        rewound += result.usage.rewound_tokens
    assert rewound > 0


def test_streaming_goes_on_around_what_is_judged():
    """Text that nothing is to be checked of comes while it is written, not at the end."""
    with model_of().stream("doc", Draw, temperature=1.5, seed=1, max_tokens=400) as stream:
        events = [event for event in stream if isinstance(event, gs.Partial) and event.delta]
    assert len(events) > 4
    assert len(events[0].text) < 30
    first_closed = next(event for event in events if ("place",) in event.closed)
    assert len(first_closed.text) < 30


def test_asynchronous_answers_are_the_same():
    """`agenerate` and `astream` try again as their twins do."""
    options: Any = {"temperature": 1.5, "seed": 2, "max_tokens": 400}
    expected = model_of().generate("doc", Draw, **options)

    async def both() -> tuple[str, str]:
        result = await model_of().agenerate("doc", Draw, **options)
        async with model_of().astream("doc", Draw, **options) as stream:
            text = "".join([e.delta async for e in stream if isinstance(e, gs.Partial)])
        return result.text, text

    assert asyncio.run(both()) == (expected.text, expected.text)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_what_nothing_satisfies_is_an_error_in_bounded_time(temperature):
    """Each attempt has its budget; then the error says what was wrong, and no object comes."""
    started = time.monotonic()
    with pytest.raises(gs.OutputValidationError) as caught:
        model_of().generate(
            "doc", gs.JsonSchema(NEVER), temperature=temperature, seed=1, max_attempts=2
        )
    assert time.monotonic() - started < 20
    assert [issue.keyword for issue in caught.value.issues] == ["format"]
    assert len(caught.value.attempts) == 2
    for attempt in caught.value.attempts:
        assert 0 < attempt.usage.rewound_tokens < 4096


def test_a_deadline_holds_while_values_are_tried_again():
    """Trying again is decoding like any other."""
    schema = {"type": "array", "items": NEVER | {"pattern": r"^\([a-z]{200}$"}, "minItems": 1}
    started = time.monotonic()
    with pytest.raises(gs.DeadlineExceededError):
        model_of().generate("doc", gs.JsonSchema(schema), temperature=1.0, timeout=0.5)
    assert time.monotonic() - started < 5


def test_the_limits_of_grammars_are_raised_as_the_error_says():
    """A schema past a limit is refused by name; a model with the limit raised writes it."""
    patterns = [f"^[^{letter}]*$" for letter in "ABCDEFGHIJKLMNOPQRST"]
    schema = gs.JsonSchema({"allOf": [{"type": "string", "pattern": p} for p in patterns]})
    with pytest.raises(gs.GrammarError, match=r"max_patterns of 12.*max_patterns=20"):
        model_of().generate("doc", schema)
    patient = LLGuidanceBackend(limits=LLGuidanceLimits(max_patterns=20))
    written = model_of(grammar_backend=patient).generate("doc", schema, seed=1).output
    assert isinstance(written, str)
    assert set(written).isdisjoint("ABCDEFGHIJKLMNOPQRST")


def test_types_that_the_mask_holds_have_no_checks():
    """Nothing is followed where nothing is residual."""
    from gemma_structured.driver import Task

    output_type = gs.OutputType.of(Literal["a", "b"])
    responder = model_of().bind(Task(output_type=output_type))
    assert responder._checks is None
    assert responder._checker(None) is None


def test_schemas_elsewhere_are_bundled_from_a_registry():
    """What a remote schema says is held by the mask, checked while decoding, and validated."""
    remote = Resource.from_contents({"$anchor": "set", **UNIQUE}, default_specification=DRAFT202012)
    registry = Registry().with_resource("http://elsewhere/sets", remote)
    schema = gs.JsonSchema(
        {
            "type": "object",
            "properties": {"x": {"$ref": "http://elsewhere/sets#set"}},
            "required": ["x"],
            "additionalProperties": False,
        },
        registry=registry,
    )
    for seed in range(4):
        result = model_of().generate(
            "doc", schema, temperature=1.5, seed=seed, max_tokens=200, max_attempts=1
        )
        values: Any = result.output
        assert len(set(values["x"])) == len(values["x"]) >= 5
