"""Arguments of calls, followed while they are written, in each family's notation."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemma_structured.families.bare_partial import BareValueParser
from gemma_structured.families.bare_values import write_bare
from gemma_structured.families.gemma3 import FunctionGemmaCalls
from gemma_structured.families.gemma4 import Gemma4Calls
from gemma_structured.families.invoke_partial import InvokeValueParser
from gemma_structured.families.minimax_m2 import MiniMaxM2Calls
from gemma_structured.messages import ToolCall
from gemma_structured.parsing.partial import JsonValueParser
from gemma_structured.tools import Tool

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gemma_structured.families.call_format import CallFormat
    from gemma_structured.parsing.partial import ValueParser

QUOTE = '<|"|>'
SCALARS = st.none() | st.booleans() | st.integers(-99, 99) | st.sampled_from([1.5, -0.25, 1e20])
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.sampled_from(
    ["<", '<|"', "null", '"', "</param", "a\nb", "é😀"]
)
VALUES = st.recursive(
    SCALARS | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "b c", "K", "é"]), inner, max_size=3)
    ),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.sampled_from(["text", "maybe", "n", "b c"]), VALUES, max_size=4)


def cut(text: str, places: Sequence[int]) -> list[str]:
    ends = sorted({0, len(text), *(place % (len(text) + 1) for place in places)})
    return [text[a:b] for a, b in pairwise(ends)]


def events_of(value: Any) -> list[str]:
    """What closes while a value is written as JSON."""
    parser = JsonValueParser()
    parser.feed(json.dumps(value))
    return closed(parser)


def closed(parser: ValueParser) -> list[str]:
    """What has closed, in an order that does not depend on that of keys."""
    return sorted(json.dumps(event, sort_keys=True) for event in parser.closed_events)


@given(OBJECTS.filter(lambda o: QUOTE not in str(o)), st.lists(st.integers(0, 200), max_size=20))
def test_bare_values_are_followed(value, places):
    """However the text is cut, the same parts close as in JSON, and nothing after the value is read."""
    parser = BareValueParser(QUOTE)
    pieces = cut(write_bare(value, QUOTE), places)
    for piece in pieces[:-1]:
        assert parser.feed_value(piece) == len(piece)
        assert parser.open_paths
    assert parser.feed_value(pieces[-1] + "<tool_call|>") == len(pieces[-1])
    assert not parser.is_broken
    assert parser.value == value
    assert closed(parser) == events_of(value)
    assert parser.open_paths == []


@given(st.text('{}[],:<|">ab1.-etrufalsn ', max_size=30), st.lists(st.integers(0, 30), max_size=5))
def test_any_text_is_followed_or_not(text, places):
    """Hostile text never raises; what is read does not depend on how it is cut."""
    for make in (lambda: BareValueParser(QUOTE), lambda: InvokeValueParser({"a": "text or null"})):
        whole, pieces = make(), make()
        whole.feed_value(text)
        for piece in cut(text, places):
            pieces.feed_value(piece)
        assert (pieces.value, pieces.is_broken) == (whole.value, whole.is_broken)
        assert list(pieces.closed_events) == list(whole.closed_events)


def invoke_tool() -> Tool[..., Any]:
    schema = {
        "type": "object",
        "properties": {
            "text": {"type": "string"},
            "maybe": {"type": ["string", "null"]},
            "n": True,
        },
    }
    return Tool.from_schema("use", schema, lambda arguments: arguments)


PARAMETERS = st.fixed_dictionaries(
    {},
    optional={
        "text": TEXTS.filter(lambda text: "</parameter>" not in text),
        "maybe": st.none() | TEXTS.filter(lambda text: "</parameter>" not in text),
        "n": VALUES,
    },
)


@given(PARAMETERS, st.lists(st.integers(0, 300), max_size=25))
def test_tags_are_followed(value, places):
    """Texts as they are and all else as JSON, each part as it closes."""
    form, tool = MiniMaxM2Calls(), invoke_tool()
    written = form.write([ToolCall("use", value)], [tool])
    start = written.index('">') + len('">')
    body = written[start : written.index("\n</invoke>") + len("\n</invoke>")]
    parser = form.argument_parser(tool)
    pieces = cut(body, places)
    for piece in pieces[:-1]:
        assert parser.feed_value(piece) == len(piece)
        assert parser.open_paths[0] == ()
    assert parser.feed_value(f"{pieces[-1]}\n<more>") == len(pieces[-1])
    assert not parser.is_broken
    assert parser.value == value
    assert closed(parser) == events_of(value)
    assert parser.open_paths == []


def test_a_call_s_text_grows():
    """What may be the beginning of the closing tag or quote is not shown yet."""
    tags = InvokeValueParser({"text": "text"})
    tags.feed('\n<parameter name="text">ab</par')
    assert tags.value == {"text": "ab"}
    assert tags.open_paths == [(), ("text",)]
    bare = BareValueParser(QUOTE)
    bare.feed(f"{{k:{QUOTE}ab<|")
    assert bare.value == {"k": "ab"}
    assert bare.open_paths == [(), ("k",)]


@pytest.mark.parametrize("form", [Gemma4Calls(), FunctionGemmaCalls(), MiniMaxM2Calls()])
def test_text_after_the_value_is_refused_by_feed(form: CallFormat):
    """A parser that is told of no text around its value takes any for a fault."""
    parser = form.argument_parser(invoke_tool())
    parser.feed("{}" if form.begins == r"\{" else "\n</invoke>")
    assert not parser.is_broken
    parser.feed("x")
    assert parser.is_broken
