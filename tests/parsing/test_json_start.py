"""The JSON's beginning in a stream, however it is cut."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemma_structured.parsing.json_start import JsonStart

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)


def fed(pieces):
    start = JsonStart()
    return "".join(start.feed(piece) for piece in pieces)


@given(value=values, before=st.sampled_from(["", "  \n", "\ufeff"]), size=st.integers(1, 9))
def test_json_passes_through(value, before, size):
    """Text that begins with the JSON loses nothing but the space before it."""
    text = json.dumps(value)
    whole = before + text
    found = fed(whole[i : i + size] for i in range(0, len(whole), size))
    assert found == text or text in {"true", "false", "null"}
    assert fed([whole, "\n"]).strip() == text


@given(
    value=st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=3), values, max_size=3),
    before=st.sampled_from(["```json\n", "Sure, here it is:\n", "no, ", "true? ", "x", "nul"]),
    size=st.integers(1, 9),
)
def test_fences_and_prose_are_dropped(value, before, size):
    """An array or object behind them is found."""
    text = before + json.dumps(value)
    if not before.startswith("true"):
        assert fed(text[i : i + size] for i in range(0, len(text), size)) == json.dumps(value)


@pytest.mark.parametrize("text", ["", "   ", "no JSON at all", "`" * 10_000])
def test_text_without_json_gives_nothing(text):
    """And holds nothing that grows."""
    assert fed([text]) == fed(text) == ""
