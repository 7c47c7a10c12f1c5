"""Terms: regular expressions, choices and Lark grammars, alone and inside types."""

from __future__ import annotations

import sys
import time
from typing import Annotated

import pytest
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from gemma_structured.exceptions import LoadError, SchemaError
from gemma_structured.schema import Choice, Lark, OutputType, Regex
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
