"""Terms: regular expressions, choices and Lark grammars, alone and inside types."""

from __future__ import annotations

import json
import sys
import time
from typing import Annotated

import pytest
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from gemma_structured.exceptions import LoadError, SchemaError
from gemma_structured.schema import Choice, JsonSchema, Lark, OutputType, Regex
from gemma_structured.schema.llguidance_limits import LLGuidanceLimits
from gemma_structured.schema.terms import LARK_KEYWORD


def test_regex_matches_the_whole_text():
    """No anchors are needed, and alternatives are taken whole."""
    assert Regex("a|bc").matches("bc")
    assert not Regex("a|bc").matches("abc")
    assert not Regex("a").matches("a\n")


@pytest.mark.parametrize("pattern", ["(", r"\Aa\Z", None, 3, "\ud800", "a" * 70_000])
def test_regex_refuses_what_is_no_pattern(pattern):
    """A pattern that cannot be used is refused at once."""
    with pytest.raises(SchemaError):
        Regex(pattern)


def test_choice_keeps_order_and_drops_doubles():
    """The options are offered once each, in the order given, from any iterable."""
    choice = Choice(option for option in ("b", "a", "b"))
    assert choice.options == ("b", "a")
    assert choice == Choice(["b", "a"])
    assert choice.matches("a")
    assert not choice.matches("A")


@pytest.mark.parametrize("options", [[], "ab", [1], ["a", None], ["\ud800"], [b"a"]])
def test_choice_refuses_what_is_no_text(options):
    """A choice needs options, and they are strings of Unicode."""
    with pytest.raises(SchemaError):
        Choice(options)


def test_lark_checks_text_byte_by_byte():
    """Whole texts are derived, those with many bytes a character too."""
    lark = Lark('start: "é"+ ("b" | NUMBER)?\nNUMBER: /[0-9]{2}/')
    assert lark.matches("éé")
    assert lark.matches("éb")
    assert lark.matches("é12")
    assert not lark.matches("é1")
    assert not lark.matches("")
    assert not lark.matches("ébb")


def test_lark_of_an_unending_language():
    """A text of 100,000 characters is checked in bounded time."""
    before = time.perf_counter()
    assert Lark("start: /(?s:.)*/").matches("a\0é" * 33_000)
    assert time.perf_counter() - before < 5


@pytest.mark.parametrize(
    "source", ["", "  ", "start: x", 'start: "a', "start: <[300]>", None, "\ud800"]
)
def test_lark_refuses_what_does_not_compile(source):
    """A grammar that llguidance refuses is refused at once."""
    with pytest.raises(SchemaError) as caught:
        Lark(source)
    assert len(str(caught.value)) < 500


def test_lark_is_read_in_linear_time():
    """Neither a long name nor one that is defined over and over keeps the check of its size busy."""
    for source in ("start: /a/\n" + "a" * 200_000, "start: /a/\n" + "A: /a/\n" * 100_000):
        with pytest.raises(SchemaError, match="does not compile"):
            Lark(source)


LETTERS = [chr(65 + i) for i in range(20)]
WITHOUT = [f"/[^{letter}]*/" for letter in LETTERS]
PATTERNS = json.dumps({"allOf": [{"type": "string", "pattern": f"^[^{x}]*$"} for x in LETTERS]})
KEYS = json.dumps({"type": "object", "patternProperties": {f"^{i}_": {} for i in range(400)}})
SMALL = json.dumps({"type": "string", "pattern": "^[^A]*$"})
HOSTILE = {
    "intersections": ("start: T\nT: " + " & ".join(WITHOUT), "max_intersections"),
    "intersections through names": (
        "start: T0\n"
        + "".join(f"T{i}: {x} & T{i + 1}\n" for i, x in enumerate(WITHOUT))
        + "T20: /.*/",
        "max_intersections",
    ),
    "patterns": (f"start: answer\nanswer: %json {PATTERNS}", "max_patterns"),
    "patterns in a nested grammar": (
        f"start: answer\nanswer: %lark {{\nstart: %json {PATTERNS}\n}}",
        "max_patterns",
    ),
    "the last of many schemas": (
        f"start: {' | '.join(f'r{i}' for i in range(200))} | last\n"
        + "".join(f"r{i}: %json {SMALL}\n" for i in range(200))
        + f"last: %json {KEYS}",
        "max_pattern_properties",
    ),
    "keys": (f"start: %json {KEYS}", "max_pattern_properties"),
    "a chain": (
        "start: T0\n" + "".join(f"T{i}: T{i + 1} & /.*/\n" for i in range(2000)) + "T2000: /.*/",
        "Too long a chain",
    ),
}
"""Grammars on which llguidance would spend minutes, and what the error of each says."""


class Untouchable:
    """The engine's matcher, where it must see nothing."""

    def __init__(self, *args, **options):
        pytest.fail("the engine was given a hostile grammar")

    validate_grammar = __init__


@pytest.fixture(params=["with llguidance", "without"])
def untouched_engine(request, monkeypatch):
    """An engine that fails the test if it is given a grammar, or none at all."""
    if request.param == "without":
        monkeypatch.setitem(sys.modules, "llguidance", None)
    else:
        monkeypatch.setattr("llguidance.LLMatcher", Untouchable)


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.usefixtures("untouched_engine")
def test_hostile_lark_is_refused_before_the_engine_sees_it(name):
    """When it is made, and where a text is checked against one that stands in a schema."""
    source, told = HOSTILE[name]
    with pytest.raises(SchemaError, match=told) as caught:
        Lark(source)
    assert caught.value.keyword == "lark"
    assert len(str(caught.value)) < 500
    validator = OutputType.of(JsonSchema({"type": "string", LARK_KEYWORD: source})).validator
    with pytest.raises(SchemaError, match=told) as again:
        validator.is_valid("abc")
    assert str(again.value) == str(caught.value)


def test_lark_may_have_other_limits():
    """Those that the error names, and those of the engine itself; they are part of the grammar."""
    source, _ = HOSTILE["intersections"]
    raised = Lark(source, limits=LLGuidanceLimits(max_intersections=19))
    assert raised.matches("abc")
    assert not raised.matches("aBc")
    assert raised != Lark('start: "a"')
    with pytest.raises(SchemaError, match="max_intersections of 18"):
        Lark(source, limits=LLGuidanceLimits(max_intersections=18))
    many = f"start: {' '.join(f'r{i}' for i in range(500))}\n" + "".join(
        f'r{i}: "a"? "b"\n' for i in range(500)
    )
    assert Lark(many).matches("b" * 500)
    with pytest.raises(SchemaError, match="does not compile"):
        Lark(many, limits=LLGuidanceLimits(max_grammar_size=500))


def test_lark_with_other_limits_stands_alone():
    """A schema has no place for them, so that a type with such a grammar is refused when it is read."""
    source, _ = HOSTILE["intersections"]
    raised = Lark(source, limits=LLGuidanceLimits(max_intersections=19))
    assert OutputType.of(raised).term == raised
    with pytest.raises(SchemaError, match="default limits"):
        OutputType.of(Annotated[str, raised])


@pytest.mark.parametrize("limits", [None, 5, {"max_intersections": 19}, LLGuidanceLimits])
def test_lark_refuses_limits_that_are_none(limits):
    """They are named, with where they are."""
    with pytest.raises(SchemaError, match="are LLGuidanceLimits, not"):
        Lark('start: "a"', limits=limits)


def test_lark_without_llguidance(monkeypatch):
    """Where llguidance is missing a grammar can be named, and checking with it says what to install."""
    monkeypatch.setitem(sys.modules, "llguidance", None)
    lark = Lark('start: "never seen before"')
    with pytest.raises(LoadError, match="gemma-structured\\[local\\]"):
        lark.matches("x")


class Shipment(BaseModel):
    """Has each term inside."""

    code: Annotated[str, Regex(r"[A-Z]{2}\d+")]
    kind: Annotated[str, Choice(["air", "sea"])]
    route: Annotated[str, Lark('start: PORT ("-" PORT)+\nPORT: /[A-Z]{3}/')]
    note: Annotated[str, Regex("a+"), Field(pattern="^.{2}$")] = "aa"


def test_terms_inside_types_become_keywords():
    """The schema says what each term demands, beside what the field demands itself."""
    properties = OutputType.of(Shipment).term.value["properties"]
    assert properties["code"]["pattern"] == r"^(?:[A-Z]{2}\d+)$"
    assert properties["kind"]["enum"] == ["air", "sea"]
    assert properties["route"][LARK_KEYWORD].startswith("start:")
    assert properties["note"]["pattern"] == "^(?:a+)$"
    assert properties["note"]["allOf"] == [{"pattern": "^.{2}$"}]


def test_terms_inside_types_are_checked_by_pydantic():
    """Pydantic refuses a text that a term does not allow."""
    good = {"code": "AB1", "kind": "air", "route": "HAM-ROT"}
    assert Shipment(**good).kind == "air"
    for field, value in (("code", "ab1"), ("kind", "rail"), ("route", "HAM"), ("note", "ab")):
        with pytest.raises(ValidationError) as caught:
            Shipment(**{**good, field: value})
        assert caught.value.errors()[0]["loc"] == (field,)


@pytest.mark.parametrize("spec", [int, list[str], str | None, bytes])
def test_terms_annotate_strings_only(spec):
    """A term beside another type than a string is refused with what to write."""
    with pytest.raises(SchemaError, match="Write Annotated\\[str, Regex"):
        TypeAdapter(Annotated[spec, Regex("a")])
