"""Calls and thoughts of local models: tiny ones of each family, at high temperature."""

from __future__ import annotations

from functools import cache
from typing import Annotated, Literal

import pytest
from pydantic import Field

import gemma_structured as gs
from gemma_structured.families.turn_splitter import TurnSplitter
from gemma_structured.testing import tiny_models
from gemma_structured.testing.tiny_tokenizers import build_tokenizer

FAMILIES = [
    "gemma4", "gemma3", "mixtral", "afmoe", "minimax_m2", "deepseek_v3", "functiongemma", "completion"
]  # fmt: skip


@cache
def model_of(family: str) -> gs.LocalModel:
    """A tiny model of a family; FunctionGemma and base models are Gemma 3 with another tokenizer."""
    is_gemma3 = family in {"functiongemma", "completion"}
    model, tokenizer = tiny_models.build("gemma3" if is_gemma3 else family)
    if family == "functiongemma":
        tokenizer = build_tokenizer(family)
    elif family == "completion":
        tokenizer.chat_template = None
    return gs.LocalModel.from_transformers(model, tokenizer, name=family)


@gs.tool
def weather(
    city: Literal["Rom", "São Paulo", "東京 🗼"],
    days: Annotated[int, Field(ge=1, le=7)] = 1,
    note: Annotated[str, Field(max_length=8)] | None = None,
) -> None:
    """Tell the weather."""


@gs.tool
def now() -> None:
    """Tell the time."""


@pytest.mark.parametrize("family", FAMILIES)
def test_random_models_only_make_valid_calls(family):
    """With required calls every run ends within its budget, parses and validates."""
    for seed in range(8):
        calls = model_of(family).call_tools(
            "How?", [weather, now], parallel=(1, 2), temperature=1.5, seed=seed, max_tokens=400,
            max_attempts=1,
        )  # fmt: skip
        assert 1 <= len(calls) <= 2
        for call in calls:
            assert call.name in {"weather", "now"}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_named_tool_and_none(family):
    """A name makes the model call that tool, and `none` any text."""
    model = model_of(family)
    (call,) = model.call_tools(
        "How?", [weather, now], tool_choice="now", parallel=(1, 1), temperature=1.0, max_tokens=200
    )
    assert (call.name, call.arguments) == ("now", {})
    offer = gs.ToolOffer.of([weather], choice="none")
    assert model.turns(Literal["a", "b"], offer, max_tokens=50)("Hi").output in {"a", "b"}


@pytest.mark.parametrize("family", ["gemma4", "afmoe", "minimax_m2"])
def test_a_thought_ends_at_its_budget(family):
    """The thought is apart from the answer, streamed and not, and no longer than it may be."""
    options = {"temperature": 1.0, "max_tokens": 400, "thinking": 16}
    thoughts = 0
    for seed in range(6):
        result = model_of(family).generate("Hi", Literal["yes", "no"], seed=seed, **options)
        assert result.output in {"yes", "no"}
        assert result.usage.reasoning_tokens <= 16 + 4  # the character that was begun is finished
        thoughts += result.thinking is not None
        with model_of(family).stream("Hi", Literal["yes", "no"], seed=seed, **options) as stream:
            pieces = [p for p in stream if isinstance(p, gs.Partial)]
        assert pieces[-1].text == result.text
        assert "".join(piece.thinking for piece in pieces).strip() == (result.thinking or "")
    assert thoughts or family == "gemma4"


def test_thinking_needs_a_model_that_can():
    """A model without tokens for a thought says what to do instead."""
    with pytest.raises(gs.InputError, match="draft=True"):
        model_of("mixtral").generate("Hi", bool, thinking=True)
    with pytest.raises(gs.InputError, match="not both"):
        model_of("gemma4").generate("Hi", bool, thinking=True, draft=True)
    with pytest.raises(gs.InputError, match="-1"):
        model_of("gemma4").generate("Hi", bool, thinking=-1)


def test_a_draft_comes_before_the_answer():
    """With draft=True any model writes text first, which is the result's thinking."""
    result = model_of("mixtral").generate(
        "Hi", Literal["yes", "no"], draft=True, temperature=1.0, seed=2, max_tokens=9000
    )
    assert result.output in {"yes", "no"}
    assert result.thinking


@pytest.mark.parametrize("size", [1, 2, 5, 1000])
def test_a_turn_is_taken_apart_however_it_is_cut(size):
    """Thought, text and calls are told apart in pieces of any size."""
    from gemma_structured.families.gemma4 import Gemma4

    text = "<|channel>thought\nhm < x<channel|>Let <|tool me.<|tool_call>call:f{}<tool_call|>"
    splitter = TurnSplitter(Gemma4.thought, "<|tool_call>")
    deltas = [splitter.feed(text[at : at + size]) for at in range(0, len(text), size)]
    deltas.append(splitter.flush())
    assert "".join(delta.thinking for delta in deltas) == "hm < x"
    assert "".join(delta.text for delta in deltas) == "Let <|tool me."
