"""`inspect`: what is known of a type before a model writes it."""

from __future__ import annotations

from typing import Literal

import pytest
from pydantic import BaseModel, Field

from gemma_structured.exceptions import SchemaError
from gemma_structured.schema.inspect import inspect
from gemma_structured.schema.json_schema import JsonSchema
from gemma_structured.schema.terms import Choice, Regex


class Verdict(BaseModel):
    """A judgement."""

    answer: Literal["yes", "no"]
    reasoning: str = Field(max_length=100)
    note: str | None = None


def test_a_model_is_exact_and_bounded():
    """A model of Python is enforced whole, with default bounds that are told."""
    found = inspect(Verdict)
    assert found.exact
    assert found.name == "Verdict"
    assert found.size.least == len('{"answer":"no","reasoning":""}')
    assert found.size.most is not None
    assert [keyword for _, keyword, _ in found.bounds] == ["maxLength"]
    assert inspect(Verdict, bounds=None).bounds == ()


def test_advice_is_given():
    """An answer before its reasons, a needless name, an optional null are pointed out."""
    words = "\n".join(message for _, message in inspect(Verdict).advice)
    assert "'answer' comes before 'reasoning'" in words
    assert "'note' may be null and may be left out" in words


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "string"}, "without a bound"),
        ({"type": "array", "items": {"const": 1}}, "without maxItems"),
        ({"type": "object", "properties": {"data1": True}}, "tells the model nothing"),
        ({"type": "object", "properties": {"city": True}}, "open object"),
        ({"type": "string", "maxlength": 3}, "did you mean 'maxLength'"),
        ({"type": "string", "format": "datetime"}, "did you mean 'date-time'"),
        ({"type": "object"}, "nothing is said"),
        (
            {"type": "object", "properties": {"city": {"type": "string"}}},
            "'city' may be left out: where a document may have none, require it and allow null",
        ),
        (
            {"type": "object", "properties": {f"city_{n}": {"const": n} for n in range(9)}},
            " and 6 more may be left out",
        ),
    ],
)
def test_each_piece_of_advice(schema, words):
    """What could be better is said in words that help."""
    assert any(words in message for _, message in inspect(JsonSchema(schema)).advice)


def test_good_schemas_get_no_advice():
    """There is nothing to say of a closed, bounded, well named schema."""
    schema = {
        "type": "object",
        "properties": {
            "reasoning": {"type": "string", "maxLength": 200},
            "verdict": {"enum": ["yes", "no"]},
            "x": {"type": "integer", "description": "The column."},
            "page": {"type": "integer", "default": 1},
        },
        "required": ["reasoning", "verdict", "x"],
        "additionalProperties": False,
    }
    assert inspect(JsonSchema(schema)).advice == ()


def test_the_table_tells_everything():
    """Printed, an inspection is a table of what is relaxed, dead, bounded and advised."""
    schema = {
        "type": "object",
        "properties": {
            "tags": {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
            "dead": {"type": "integer", "minimum": 2, "maximum": 1},
        },
    }
    text = str(inspect(JsonSchema(schema)))
    assert "relaxed" in text
    assert "uniqueItems" in text
    assert "never written" in text
    assert "/properties/dead" in text


def test_a_long_table_is_cut():
    """Of many rows of a kind, the first ones are shown and the others counted."""
    properties = {f"name_{n}": {"type": "string"} for n in range(30)}
    text = str(inspect(JsonSchema({"type": "object", "properties": properties})))
    assert "and 22 more" in text


def test_text_has_a_size():
    """A regex or a choice has no schema, but a size."""
    assert inspect(Regex("[ab]{2,4}")).size == (2, 4)
    assert inspect(Choice(["a", "bcd"])).size == (1, 3)
    assert inspect(Choice(["a"])).schema is None


def test_what_nothing_satisfies_is_an_error():
    """An unsatisfiable type cannot be inspected: the error says why."""
    with pytest.raises(SchemaError, match="Nothing satisfies"):
        inspect(JsonSchema({"type": "integer", "minimum": 2, "maximum": 1}))
