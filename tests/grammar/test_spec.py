"""Tests of grammars as values, and of how an output type becomes one."""

from __future__ import annotations

import json
from typing import Annotated

import pytest
from pydantic import BaseModel, Field

from gemma_structured.exceptions import GrammarError
from gemma_structured.grammar.spec import Grammar
from gemma_structured.schema.bounds import DEFAULT_BOUNDS
from gemma_structured.schema.json_schema import JsonSchema
from gemma_structured.schema.output_type import OutputType
from gemma_structured.schema.terms import Choice, Lark, Regex


class Ticket(BaseModel):
    zeta: str
    alpha: Annotated[str, Field(max_length=5)]


def test_equal_sources_are_equal_grammars() -> None:
    """Grammars are values: they compare and hash by what they say."""
    assert Grammar.regex("a+") == Grammar.regex("a+")
    assert (
        len(
            {
                Grammar.regex("a"),
                Grammar.choice(["a"]),
                Grammar.lark('start: "a"'),
                Grammar.regex("a"),
            }
        )
        == 3
    )
    assert Grammar.choice(["a", "b", "a"]).options == ["a", "b"]


@pytest.mark.parametrize(
    "make",
    [lambda: Grammar.regex(""), lambda: Grammar.choice([]), lambda: Grammar.lark(" \n")],
)
def test_empty_grammars_are_refused(make) -> None:
    """An empty pattern, choice or Lark grammar is a mistake, told at once."""
    with pytest.raises(GrammarError):
        make()


@pytest.mark.parametrize(
    ("grammar", "read"),
    [
        (Grammar(kind="json_schema", source="{"), "value"),
        (Grammar(kind="json_schema", source="[" * 100_000), "value"),
        (Grammar(kind="choice", source='"a"'), "options"),
        (Grammar(kind="choice", source="[1]"), "options"),
        (Grammar(kind="choice", source="[]"), "options"),
    ],
)
def test_sources_that_are_none_are_typed_errors(grammar: Grammar, read: str) -> None:
    """Whoever writes a source by hand and errs gets a GrammarError, never a JSON one."""
    with pytest.raises(GrammarError):
        getattr(grammar, read)


def test_properties_keep_their_order() -> None:
    """The source of a type's grammar lists properties as declared, since that is how they are written."""
    grammar, report = Grammar.for_output_type(OutputType.of(Ticket), DEFAULT_BOUNDS)
    assert list(json.loads(grammar.source)["properties"]) == ["zeta", "alpha"]
    assert ("/properties/zeta", "maxLength", 4096) in report.bounds
    assert not [bound for bound in report.bounds if bound[0] == "/properties/alpha"]
    assert report.exact


def test_bounds_can_be_switched_off() -> None:
    """With `bounds=None` nothing is added, and the report says nothing was."""
    grammar, report = Grammar.for_output_type(OutputType.of(Ticket), None)
    assert report.bounds == ()
    assert "4096" not in grammar.source


def test_what_a_mask_cannot_enforce_is_reported() -> None:
    """Keywords that are left to validation are named with their places."""
    schema = {"type": "object", "properties": {"a": {"type": "array", "uniqueItems": True}}}
    _, report = Grammar.for_output_type(OutputType.of(JsonSchema(schema)), DEFAULT_BOUNDS)
    assert ("/properties/a", "uniqueItems") in report.residual
    assert not report.exact


@pytest.mark.parametrize(
    ("term", "kind"),
    [(Regex("a+"), "regex"), (Choice(["a", "b"]), "choice"), (Lark('start: "a"'), "lark")],
)
def test_terms_of_text_have_grammars_of_their_own(term, kind: str) -> None:
    """A regular expression, a choice and a Lark grammar are taken as they are."""
    grammar, report = Grammar.for_output_type(OutputType.of(term), DEFAULT_BOUNDS)
    assert grammar.kind == kind
    assert report.exact


def test_a_lark_grammar_inside_a_type_is_left_to_validation() -> None:
    """JSON has no Lark: such a string is any string to the mask, and the report says so."""
    spec = dict[str, Annotated[str, Lark('start: "a"')]]
    _, report = Grammar.for_output_type(OutputType.of(spec), DEFAULT_BOUNDS)
    assert any("lark" in keyword for _, keyword in report.residual)
