"""Regular expressions: the dialect, and that none of them runs away."""

from __future__ import annotations

import time

import pytest
import regress
from hypothesis import given, settings
from hypothesis import strategies as st

from gemma_structured.exceptions import SchemaError
from gemma_structured.schema.ecma import EcmaRegex, MatchBudgetError
from gemma_structured.schema.ecma.cost import backtracking_cost
from gemma_structured.schema.ecma.matcher import PositionMatcher


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("^a$", "a\n", False),
        (r"^\d$", "\u0661", False),
        (r"^\w$", "é", False),
        (r"^\s$", "\u00a0", True),
        (r"^\s$", "\ufeff", True),
        ("^.$", "\r", False),
        ("^.$", "\U0001f600", True),
        (r"^\u{1F600}$", "\U0001f600", True),
        (r"^\uD83D\uDE00$", "\U0001f600", True),
        (r"^\p{Script=Greek}+$", "αβγ", True),
        (r"^\p{L}$", "1", False),
        ("(?i:É)", "é", True),
        ("(?s:^.$)", "\n", True),
        ("(?m:^b$)", "a\nb\nc", True),
        ("^(?!x)", "x", False),
        ("(?<=a)b", "ab", True),
        ("(?<!a)b", "ab", False),
        (r"\bfoo\b", "a foo b", True),
        (r"\bfoo\B", "a foo b", False),
        (r"^\-\%\p{L}$", "-%é", True),
        ("^a{,3}$", "a{,3}", True),
        (r"^(a)\1$", "aa", True),
        (r"^(?<x>a)\k<x>$", "ab", False),
        ("", "anything", True),
    ],
)
def test_dialect(pattern, text, found):
    """A pattern means what ECMA-262 says, not what Python's `re` says."""
    assert EcmaRegex.of(pattern).search(text) is found


def test_fullmatch_takes_the_whole_text():
    """A full match holds for alternatives as a whole and leaves no line end out."""
    assert EcmaRegex.of("a|bc").fullmatch("bc")
    assert not EcmaRegex.of("a|bc").fullmatch("abc")
    assert not EcmaRegex.of("a").fullmatch("a\n")


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [
        ("(", None),
        ("a**", None),
        ("a{2,1}", None),
        ("[z-a]", None),
        (r"\Aab\Z", "The start and the end are written ^ and $."),
        ("(?P<year>\\d)", "A named group is written (?<name>...)."),
        ("(?i)a", "Flags are set inside a group: (?i:...)."),
        ("(?#note)a", None),
        (
            "(" * 70 + "a" + ")" * 70,
            "This limit is fixed: leave out groups that change nothing.",
        ),
        ("(" * 100_000, "This limit is fixed: divide the pattern, or list texts in an `enum`."),
        ("a" * 70_000, "This limit is fixed: divide the pattern, or list texts in an `enum`."),
    ],
)
def test_refuses_what_is_no_pattern(pattern, hint):
    """What is not ECMA-262 is refused when it is compiled, with what to write instead."""
    with pytest.raises(SchemaError) as caught:
        EcmaRegex.of(pattern)
    assert caught.value.hint == hint
    assert len(str(caught.value)) < 500


CATASTROPHIC = [
    "^(a+)+$",
    "^(a|a)*$",
    "^(a|aa)+$",
    "(a*)*b",
    "^((a*)*)*((a*)*)*$",
    "^(?:(?:(?:ab)*c?)*d?)*$",
    "(x+x+)+y",
    "(?:a?){30}a{30}",
    "^(.*a){12}$",
    "(.*)(.*)(.*)(.*)(.*)[^a]$",
    "^(([a-z])+.)+[A-Z]([a-z])+$",
    r"^(?=.*[A-Z])(?=.*\d)(?=(a+)+$).{8,}$",
]


@pytest.mark.parametrize("pattern", CATASTROPHIC)
@pytest.mark.parametrize("length", [30, 5_000, 200_000])
def test_no_pattern_runs_away(pattern, length):
    """Patterns on which backtracking takes years are matched in well under a second."""
    regex = EcmaRegex.of(pattern)
    before = time.perf_counter()
    regex.search("a" * length + "!")
    regex.fullmatch("a" * length + "!")
    assert time.perf_counter() - before < 2


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("(?:(?:a{1000}){1000}){1000}", "a" * 200_000),
        (r"^([a-z]+)\1$", "a" * 5_000),
        ("(?:/(?:[^~/]|~[01])*)*x", "/a" * 400_000 + "x"),
    ],
    ids=["nested repetitions", "backreference", "many rounds"],
)
def test_what_takes_too_long_is_said(pattern, text):
    """Where even that is not enough, an error says so in bounded time; nothing is guessed."""
    before = time.perf_counter()
    with pytest.raises(MatchBudgetError, match="bounded time"):
        EcmaRegex.of(pattern).search(text)
    assert time.perf_counter() - before < 3


def test_cheap_patterns_are_estimated_cheap():
    """The patterns of everyday schemas go to the fast engine."""
    for pattern in (r"^[A-Z]{2}\d+$", r"^\d{4}-\d{2}-\d{2}$", "^(foo|bar|baz)$", "^[^@]+@x$"):
        assert backtracking_cost(EcmaRegex(pattern)._node, 64, anchored=False) <= 200_000


ATOMS = st.sampled_from(["a", "b", ".", r"\d", r"\w", "[ab]", "[^a]", r"\b", "^", "$", "é", r"\."])


def _grow(children: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    group = children.map(lambda inner: f"(?:{inner})")
    return st.one_of(
        st.tuples(children, children).map("".join),
        st.tuples(children, children).map(lambda pair: f"(?:{pair[0]}|{pair[1]})"),
        st.tuples(group, st.sampled_from(["*", "+", "?", "{2}", "{1,3}", "{0,2}?", "*?"])).map(
            "".join
        ),
        children.map(lambda inner: f"(?={inner})"),
        children.map(lambda inner: f"(?!{inner})"),
        children.map(lambda inner: f"(?<={inner})"),
        children.map(lambda inner: f"(?<!{inner})"),
        children.map(lambda inner: f"({inner})"),
        children.map(lambda inner: f"(?i:{inner})"),
    )


PATTERNS = st.recursive(ATOMS, _grow, max_leaves=8)


@settings(max_examples=400, deadline=None)
@given(PATTERNS, st.text("abAB1.é\n ", max_size=6))
def test_both_engines_agree(pattern, text):
    """Matching by sets of positions gives the same answer as backtracking."""
    regex = EcmaRegex(pattern)
    matcher = PositionMatcher(text, regex._holds)
    assert matcher.search(regex._node) is (regress.Regex(pattern, "u").find(text) is not None)
    whole = regress.Regex(f"^(?:{pattern})$", "u").find(text) is not None
    assert PositionMatcher(text, regex._holds).fullmatch(regex._node) is whole


@settings(max_examples=300, deadline=None)
@given(st.text("ab()[]{}|*+?^$\\.-,1dwsbBkpuxPL<>=!:", max_size=12), st.text("ab1-", max_size=4))
def test_any_text_is_a_pattern_or_a_schema_error(pattern, text):
    """Whatever is given as a pattern compiles and matches, or raises SchemaError."""
    try:
        regex = EcmaRegex(pattern)
    except SchemaError:
        return
    assert regex.search(text) in {True, False}
    if r"\k" not in pattern and not any(f"\\{digit}" in pattern for digit in "123456789"):
        matched = PositionMatcher(text, regex._holds).search(regex._node)
        assert matched is (regex._search.find(text) is not None)
