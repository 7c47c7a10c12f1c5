"""Prompts of every family: tools declared, calls and returns written, untrusted text kept text."""

from __future__ import annotations

import pytest

from gemma_structured.exceptions import InputError
from gemma_structured.families.base import Family
from gemma_structured.families.gemma3 import Gemma3
from gemma_structured.families.mixtral import Mixtral
from gemma_structured.messages import (
    AssistantMessage,
    SystemMessage,
    ToolCall,
    ToolMessage,
    ToolReturn,
    UserMessage,
)
from gemma_structured.testing.tiny_tokenizers import family_tokens
from gemma_structured.tools import Tool, ToolOffer, tool


@tool
def weather(city: str, days: int | None = None) -> dict:
    """Tell the weather.

    Args:
        city: Where, as in "Rome".
        days: How many.
    """
    return {"city": city, "days": days}


OFFER = ToolOffer.of([weather])
CALL = ToolCall("weather", {"city": "Rom", "days": None}, id="abc123XYZ")
TURN = [
    SystemMessage("Be brief."),
    UserMessage("How is the weather?"),
    AssistantMessage("", tool_calls=(CALL,)),
    ToolMessage(ToolReturn("weather", {"sky": "blue", "wind": [1, None]}, "abc123XYZ")),
]


def test_tools_calls_and_returns_are_in_the_prompt(setting):
    """The prompt tells of the tool and its parameters, what was called and what came back."""
    text = setting.family.render(TURN, setting.tokenizer, offer=OFFER).text
    for part in (
        "weather",
        "Tell the weather.",
        "city",
        "Be brief.",
        "How is the",
        "Rom",
        "sky",
        "blue",
    ):
        assert part in text
    assert text.index("Rom") < text.index("blue")


def test_past_calls_are_written_as_the_model_writes_them(setting):
    """What the template writes of a past call is the family's own form."""
    text = setting.family.render(TURN, setting.tokenizer, offer=OFFER).text
    written = setting.form.write([CALL], OFFER.tools)
    assert written in text


def test_no_tools_are_told_of_under_none(setting):
    """With tool_choice none, the model is told of no tool."""
    offer = ToolOffer.of([weather], choice="none")
    text = setting.family.render([UserMessage("Hi")], setting.tokenizer, offer=offer).text
    assert "weather" not in text


HOSTILE = " ".join(
    name for tokens in family_tokens().values() for name in (*tokens.special, *tokens.plain)
)


def test_untrusted_text_never_becomes_a_control_token(setting):
    """Documents, descriptions, names of parameters and returns full of control tokens add none."""

    def prompt(evil: str) -> list[int]:
        schema = {
            "type": "object",
            "description": evil,
            "properties": {
                f"k{evil}": {"type": "string", "description": evil, "enum": [f"e{evil}"]},
                "b": {"anyOf": [{"type": "string", "default": evil}, {"type": "null"}]},
            },
        }
        offer = ToolOffer.of([Tool.from_schema("f", schema, dict, description=f"d{evil}")])
        call = ToolCall("f", {f"k{evil}": f"e{evil}", "b": [{f"x{evil}": evil}]}, id="abc123XYZ")
        messages = [
            SystemMessage(f"s{evil}"),
            UserMessage(f"u{evil}"),
            AssistantMessage(f"a{evil}", tool_calls=(call,)),
            ToolMessage(ToolReturn("f", {f"k{evil}": [evil]}, "abc123XYZ")),
        ]
        ids = setting.family.render(messages, setting.tokenizer, offer=offer).token_ids
        return [i for i in ids if i in setting.vocabulary.control_ids]

    expressible = HOSTILE.replace('<|"|>', "").replace("<escape>", "").replace("</parameter>", "")
    assert prompt(expressible) == prompt("harmless")
    assert prompt(expressible)


@pytest.mark.parametrize("writer", sorted(family_tokens()))
def test_calls_that_a_document_or_a_return_fakes_are_text(setting, settings_by_name, writer):
    """Calls in any family's own form, in what was read, are text, and stay as they were."""
    fake = settings_by_name[writer].form.write([ToolCall("weather", {"days": 1})], OFFER.tools)
    harmless, hostile = (
        setting.family.render(
            [UserMessage(text), *TURN[2:3], ToolMessage(ToolReturn("weather", text, CALL.id))],
            setting.tokenizer,
            offer=OFFER,
        )
        for text in ("It rains.", fake)
    )
    control = setting.vocabulary.control_ids
    assert [i for i in hostile.token_ids if i in control] == [
        i for i in harmless.token_ids if i in control
    ]
    assert fake in hostile.text


def test_a_return_reads_the_same_whatever_is_in_it(setting):
    """Quotes, backslashes, newlines and other scripts in a return reach the model as they are."""
    value = 'a "b" \\ c\n日本 😀'
    messages = [*TURN[:3], ToolMessage(ToolReturn("weather", value, "abc123XYZ"))]
    rendered = setting.family.render(messages, setting.tokenizer, offer=OFFER)
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    assert value in rendered.text or escaped in rendered.text
    decoded = setting.vocabulary.decode(rendered.token_ids, show_control=True)
    assert decoded == rendered.text


def test_the_fixed_part_ends_before_the_document(setting):
    """What does not depend on the last message is the same prefix for two documents."""
    one, two = (
        setting.family.render(
            [SystemMessage("S"), UserMessage(text)], setting.tokenizer, offer=OFFER
        )
        for text in ("First", "Another")
    )
    assert one.fixed_length == two.fixed_length > 0
    assert one.token_ids[: one.fixed_length] == two.token_ids[: two.fixed_length]


def test_optional_and_references_are_flattened_for_templates(gemma4):
    """`$ref` is inlined and Optional becomes nullable, which templates understand."""
    schema = {
        "$defs": {"Point": {"type": "object", "properties": {"x": {"type": "integer"}}}},
        "type": "object",
        "properties": {
            "at": {"$ref": "#/$defs/Point", "description": "Where"},
            "to": {"anyOf": [{"$ref": "#/$defs/Point"}, {"type": "null"}]},
        },
    }
    offer = ToolOffer.of([Tool.from_schema("go", schema, dict)])
    text = gemma4.family.render([UserMessage("Hi")], gemma4.tokenizer, offer=offer).text
    assert "$ref" not in text
    assert "nullable:true" in text
    assert text.count("x:{type:") == 2


def test_a_recursive_tool_is_declared_to_a_depth(gemma4):
    """A schema that refers to itself ends as a plain object."""
    schema = {
        "$defs": {"T": {"type": "object", "properties": {"t": {"$ref": "#/$defs/T"}}}},
        "$ref": "#/$defs/T",
    }
    offer = ToolOffer.of([Tool.from_schema("go", schema, dict)])
    text = gemma4.family.render([UserMessage("Hi")], gemma4.tokenizer, offer=offer).text
    assert 5 < text.count("t:{") < 20


@pytest.mark.parametrize("family", [Gemma3, Mixtral, Family])
def test_without_tokens_for_calls_tools_are_told_of_in_the_prompt(settings_by_name, family):
    """Gemma 3, Mixtral 8x7B and unknown models get them described, and past calls as text."""
    gemma3 = settings_by_name["gemma3"]
    rendered = family().render(TURN, gemma3.tokenizer, offer=OFFER)
    assert "You can call these tools:" in rendered.text
    assert '<tool_call>\n{"name":"weather"' in rendered.text
    assert "<tool_response>" in rendered.text


@pytest.mark.parametrize("messages", [[], [UserMessage("a"), AssistantMessage("b")]])
def test_a_prompt_must_end_with_what_is_answered(gemma4, messages):
    """Conversations that end with the assistant are refused."""
    with pytest.raises(InputError, match="must end"):
        gemma4.family.render(messages, gemma4.tokenizer)


def test_thinking_is_switched_by_the_template(settings_by_name):
    """With thinking the prompt leaves room for a thought; without, an empty one is closed."""
    ask = [UserMessage("Hi")]
    for name, off in (
        ("gemma4", "<|channel>thought\n<channel|>"),
        ("minimax_m2", "<think>\n\n</think>\n\n"),
    ):
        setting = settings_by_name[name]
        assert setting.family.render(ask, setting.tokenizer).text.endswith(off)
        on = setting.family.render(ask, setting.tokenizer, thinking=True).text
        assert not on.endswith(off)
