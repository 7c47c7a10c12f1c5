"""transformers' own parser reads our calls to the same arguments, where it knows the family."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gemma_structured.messages import ToolCall
from gemma_structured.testing import tiny_models
from gemma_structured.tools import Tool, ToolOffer

# It cuts a call at its end mark even inside a string, and takes two control characters for its own.
TEXTS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\x01\x02<"), max_size=20
)
KEYS = st.from_regex(r"[a-zA-Z_][a-zA-Z_0-9]{0,8}", fullmatch=True)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**12), 10**12), TEXTS,
    st.floats(allow_nan=False, allow_infinity=False),
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=8,
)
ARGUMENTS = st.dictionaries(KEYS, VALUES, max_size=4)
TOOLS = [Tool.from_schema(name, {"type": "object"}, dict) for name in ("get_weather", "f2")]
OFFER = ToolOffer.of(TOOLS)


def template_of(model_type: str) -> dict[str, Any]:
    """What `transformers serve` reads a family's answers with."""
    from transformers.cli.serving.utils import get_response_template

    model: Any = SimpleNamespace(config=SimpleNamespace(model_type=model_type))
    template = get_response_template(SimpleNamespace(), model)
    assert template is not None
    return template


@pytest.fixture(scope="module")
def form_of(settings_by_name: Any) -> Any:
    """Gives the form of a family's calls."""
    return lambda family: settings_by_name[family].form


@pytest.fixture(scope="module")
def read() -> Any:
    """Gives the message that transformers reads in a text of a family."""
    tokenizer = tiny_models.build("gemma4")[1]
    return lambda text, model_type: tokenizer.parse_response(
        text, template_of(model_type), prefix=""
    )


@given(made=st.lists(ARGUMENTS, min_size=1, max_size=3))
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
)
@pytest.mark.parametrize(
    "names",
    [("gemma4", "gemma4"), ("afmoe", "qwen3"), ("gemma3", "qwen3")],
    ids=["Gemma 4", "Trinity's JSON in tags", "prompted JSON in tags"],
)
def test_calls_read_the_same(form_of, read, names, made):
    """Names, arguments of every kind and their order of calls, from what our renderer writes."""
    family, model_type = names
    form = form_of(family)
    asked = [(TOOLS[n % 2].name, arguments) for n, arguments in enumerate(made)]
    text = form.write([ToolCall(*call) for call in asked], TOOLS)
    ours = [(call.name, dict(call.written)) for call in form.parse(text, TOOLS).calls]
    calls = read(text, model_type)["tool_calls"]
    theirs = [(call["function"]["name"], call["function"]["arguments"]) for call in calls]
    assert ours == theirs == asked


def test_a_whole_turn_of_gemma4_reads_the_same(form_of, read):
    """The thought, the text before the calls and the calls."""
    from gemma_structured.families.gemma4 import Gemma4
    from gemma_structured.families.turn import split_thought

    form = form_of("gemma4")
    calls = form.write([ToolCall("f2", {"city": 'San {"x"}, "CA"', "days": 3})], TOOLS)
    text = f"<|channel>thought\nLet me see.<channel|>I look it up.{calls}<|tool_response>"
    theirs = read(text, "gemma4")
    thinking, answer = split_thought(text.removesuffix("<|tool_response>"), Gemma4.thought)
    turn = form.parse(answer, TOOLS)
    assert theirs["reasoning_content"] == thinking == "Let me see."
    assert theirs["content"] == turn.text == "I look it up."
    (call,) = theirs["tool_calls"]
    assert call["function"] == {"name": "f2", "arguments": dict(turn.calls[0].written)}
