"""Regular expressions as automata: read, determinised, combined, written again."""

from __future__ import annotations

import contextlib
import random
import time

import pytest
import regress
from hypothesis import given
from hypothesis import strategies as st

from gemma_structured.schema.normalize.regex.charset import (
    ANY,
    category,
    charset,
    complement,
    contains,
    intersect,
    partition,
    union,
)
from gemma_structured.schema.normalize.regex.determinize import language
from gemma_structured.schema.normalize.regex.eliminate import pattern_of
from gemma_structured.schema.normalize.regex.measure import lengths, weight
from gemma_structured.schema.normalize.regex.parse import parse
from gemma_structured.schema.normalize.regex.syntax import RegexError
from gemma_structured.schema.normalize.regex.write import is_plain, write

PATTERNS = [
    "",
    "a",
    "^a|b$",
    "^(a|b)*abb$",
    r"^\d{2,4}$",
    r"^[^\W_]+$",
    r"(?:^|,)a",
    r"^(a|b$)c?",
    "$^",
    "a^b",
    r"\bfoo\b",
    r"\Bo",
    r"^(?=.*\d)(?=.*[a-z]).{2,5}$",
    r"^(?!a).*b",
    r"^((?!ab).)*$",
    r"(?<=a)b",
    r"(?<!a)b$",
    r"^a(?=b)bc$",
    r"^(?:(?!--)[a-z-])+$",
    "^a{,3}$",
    "^{$",
    "[]",
    "[^]",
    r"\0\x41\u0042\cA",
    r"[\b\-\d-x]",
    r"\ud83d\ude00|[😀-😂]",
    "x*?y+?z??",
    "(?<name>a)(?:b)",
]
CHARACTERS = "abcofx1-_ ,.\n\u2028é😀AB"


def _reference(pattern: str) -> regress.Regex:
    try:
        return regress.Regex(pattern, "u")
    except regress.RegressError:
        return regress.Regex(pattern)


def _texts(count: int) -> list[str]:
    source = random.Random(5)
    return ["".join(source.choices(CHARACTERS, k=source.randrange(8))) for _ in range(count)]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_an_automaton_matches_what_the_engine_matches(pattern):
    """Classes, anchors, lookaround and escapes mean what ECMA-262 says."""
    found, reference = language(pattern), _reference(pattern)
    for text in _texts(400):
        assert found.matches(text) == (reference.find(text) is not None), text


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_are_written_so_that_they_mean_the_same(pattern):
    """What is written from an automaton, or from a plain tree, is the same language."""
    found = language(pattern)
    if not found.is_empty:
        again = language(pattern_of(found))
        assert found <= again
        assert again <= found
    tree = parse(pattern)
    if is_plain(tree) and pattern != "[]":
        text = write(tree)
        assert language(text) <= found
        assert found <= language(text)


@given(st.sampled_from(PATTERNS), st.sampled_from(PATTERNS), st.text(CHARACTERS, max_size=7))
def test_boolean_operations(one, two, text):
    """Automata combine as their languages do."""
    left, right = language(one), language(two)
    in_left, in_right = left.matches(text), right.matches(text)
    assert (left & right).matches(text) == (in_left and in_right)
    assert (left | right).matches(text) == (in_left or in_right)
    assert (~left).matches(text) == (not in_left)
    if left <= right:
        assert in_right or not in_left


@pytest.mark.parametrize(
    ("pattern", "shortest", "longest"),
    [("^a{2,3}$", 2, 3), ("ab", 2, None), ("^(a|bcd)?$", 0, 3), ("^a+$", 1, None), ("^$", 0, 0)],
)
def test_lengths(pattern, shortest, longest):
    """The tree and the automaton agree on how long matching texts are."""
    assert lengths(parse(pattern)) == (shortest, longest)
    assert language(pattern).lengths() == (shortest, longest)


def test_an_empty_language_has_no_lengths():
    """Nothing matches a class without members."""
    assert lengths(parse("a[]")) is None
    assert language("a[]").lengths() is None
    assert language("").is_everything


def test_weight_counts_repetitions():
    """A repetition weighs as much as it is written out."""
    assert weight(parse("^(ab){3}c?$")) == 7


@pytest.mark.parametrize(
    "pattern",
    [
        r"(a)\1",
        r"\k<x>",
        "(?i:a)",
        "(",
        "a)",
        "*",
        "a{3,2}",
        "[b-a]",
        "(" * 150 + ")" * 150,
        r"\01",
        "a{2000001}b",
        "[",
        "(?<!(?=a)b)",
    ],
)
def test_what_cannot_be_handled_is_refused(pattern):
    """Backreferences, flags and malformed patterns raise one typed error."""
    with pytest.raises(RegexError):
        write(parse(pattern)) if is_plain(parse(pattern)) else language(pattern)


@pytest.mark.parametrize(
    "pattern", ["^(a|b)*a(a|b){14}$", "(a?){900}b", "^(([a-z]{1,60} ){1,60}){1,60}$", "(x+x+)+y"]
)
def test_large_automata_are_given_up_in_bounded_time(pattern):
    """An automaton is small, or an error after a bounded amount of work."""
    start = time.perf_counter()
    with contextlib.suppress(RegexError):
        pattern_of(~language(pattern))
    assert time.perf_counter() - start < 20


SETS = st.lists(
    st.tuples(st.integers(0, 300), st.integers(0, 40)).map(lambda pair: (pair[0], sum(pair))),
    max_size=5,
).map(charset)


@given(SETS, SETS, st.integers(0, 400))
def test_sets_of_characters(one, two, point):
    """Union, intersection and complement are those of sets."""
    assert contains(union(one, two), point) == (contains(one, point) or contains(two, point))
    assert contains(intersect(one, two), point) == (contains(one, point) and contains(two, point))
    assert contains(complement(one), point) != contains(one, point)


@given(st.lists(SETS, max_size=4))
def test_a_partition_covers_everything_once(sets):
    """The parts are disjoint, cover all code points, and each set is a union of parts."""
    parts = partition(sets)
    assert union(*parts) == ANY
    for index, part in enumerate(parts):
        assert all(not intersect(part, other) for other in parts[:index])
        assert all(intersect(part, one) in ((), part) for one in sets)


def test_general_categories():
    """Categories are known by their short names."""
    letters = category("Lu")
    assert letters is not None
    assert contains(letters, ord("É"))
    assert not contains(letters, ord("é"))
    assert category("Greek") is None


@given(st.lists(st.text("abc", max_size=4), min_size=1, max_size=6), st.text("abcd", max_size=5))
def test_other_texts(listed, text):
    """A pattern of all texts but some is just that."""
    from gemma_structured.schema.normalize.strings import other_than

    assert language(other_than(listed)).matches(text) == (text not in listed)
