"""Tests of regular expressions in the dialect of JSON Schema, whatever library matches them."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gemma_structured.exceptions import GrammarError
from gemma_structured.grammar.ecma import whole_match
from gemma_structured.grammar.spec import Grammar
from gemma_structured.schema.ecma import EcmaRegex

ATOMS = st.sampled_from(
    [
        "a",
        "b",
        "/",
        r"\/",
        ".",
        r"\d",
        r"\w",
        r"\s",
        r"\S",
        "[^a]",
        "[a-c]",
        r"\u0041",
        r"\x41",
        r"\.",
        "é",
        r"[\d/]",
        '"',
        " ",
        r"\t",
    ]
)
PATTERNS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(lambda p: f"(?:{p[0]}|{p[1]})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{1,2}", "*?"])).map(
            lambda p: f"(?:{p[0]}){p[1]}"
        ),
    ),
    max_leaves=5,
)
TEXTS = st.text(st.sampled_from('abcA/.é" \t\n\r\u2028\ufeff\u0663\x85x1_'), max_size=5)


def accepts(backend, vocabulary, pattern: str, text: str) -> bool:
    matcher = backend.compile(Grammar.regex(pattern), vocabulary).matcher()
    ids = vocabulary.encode(text)
    valid = matcher.count_valid(ids)
    matcher.accept(ids[:valid])
    return valid == len(ids) and matcher.is_accepting


@given(pattern=PATTERNS, text=TEXTS)
@example(pattern=r"\d", text="\u0663")
@example(pattern=r"\s", text="\ufeff")
@example(pattern=r"\s", text="\x85")
@example(pattern=".", text="\u2028")
@example(pattern=".", text="\r")
def test_masks_and_validation_read_patterns_alike(
    llguidance, outlines_core, byte_vocabulary, pattern: str, text: str
) -> None:
    """For any pattern and text, both backends accept exactly what ECMA-262 matches."""
    expected = EcmaRegex.of(pattern).fullmatch(text)
    assert accepts(llguidance, byte_vocabulary, pattern, text) == expected
    assert accepts(outlines_core, byte_vocabulary, pattern, text) == expected


@pytest.mark.parametrize(
    ("pattern", "valid", "invalid"),
    [
        ("^abc$", "abc", "xabc"),
        ("^a|b$", "b", "ab"),
        ("a$|^b", "a", "ab"),
        (r"(?!red$)[a-z]+", "green", "red"),
        (r"(?=.*\d)[a-z\d]{3}", "a1b", "abc"),
        (r"\bfoo\b", "foo", "foobar"),
        (r"\p{Lu}\p{Ll}+", "Éa", "éa"),
        (r"\cJ", "\n", "J"),
        (r"(?<year>\d{4})", "2024", "24"),
        (r"[^\s\S]|a", "a", "b"),
    ],
)
def test_anchors_lookaround_and_properties(
    llguidance, byte_vocabulary, pattern, valid, invalid
) -> None:
    """Anchors at the edges and lookaround in small patterns are enforced, not refused."""
    assert accepts(llguidance, byte_vocabulary, pattern, valid)
    assert not accepts(llguidance, byte_vocabulary, pattern, invalid)


@pytest.mark.parametrize(
    "pattern", ["[", "(", "a)", "*", r"(a)\1", "a{2,1}", "(?i)a", "a**", r"\k<x>"]
)
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    """Malformed and irregular patterns raise with the pattern and a hint."""
    with pytest.raises(GrammarError, match="cannot be enforced"):
        whole_match(pattern)


@pytest.mark.parametrize("pattern", ["a^b", "[^\\s\\S]", "(?!a)a", "$a"])
def test_patterns_that_match_nothing_are_refused(llguidance, byte_vocabulary, pattern: str) -> None:
    """A pattern that no text matches is found when it is compiled, not while a model writes."""
    with pytest.raises(GrammarError):
        llguidance.compile(Grammar.regex(pattern), byte_vocabulary)
