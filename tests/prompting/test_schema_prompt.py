"""Output types in the compact notation: short, whole, and readable."""

from __future__ import annotations

import enum
from datetime import date  # noqa: TC003 - Pydantic reads it
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from gemma_structured.prompting.schema_prompt import describe_output, describe_schema
from gemma_structured.schema.json_schema import JsonSchema
from gemma_structured.schema.output_type import OutputType
from gemma_structured.schema.terms import Choice, Lark, Regex


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Line(BaseModel):
    """One line of an invoice."""

    text: str = Field(description="as\n  printed", max_length=80)
    amount: Annotated[float, Field(ge=0)] | None = None
    tags: list[Annotated[str, Field(min_length=2, max_length=5)]] = []


class Buyer(BaseModel):
    """Who pays."""

    name: str


class Invoice(BaseModel):
    """An invoice."""

    number: str = Field(pattern="^[A-Z]")
    day: date
    colour: Colour
    lines: list[Line] = Field(min_length=1, max_length=50)
    first: Line | None
    buyer: Buyer


class Tree(BaseModel):
    """A tree."""

    value: int
    children: list[Tree] = []


def told(output_type: Any) -> str:
    lead = "Answer with JSON only, in this form:\n"
    text = describe_output(OutputType.of(output_type))
    assert text.startswith(lead)
    return text.removeprefix(lead)


def test_nested_models_read_as_types_with_comments() -> None:
    """What is used twice is named; descriptions and constraints are comments on one line."""
    assert told(Invoice) == (
        "// One line of an invoice.\n"
        "type Line = {\n"
        "  text: string, // as printed; at most 80 characters\n"
        "  amount?: number | null, // at least 0\n"
        "  tags?: string[], // each at least 2 characters; each at most 5 characters\n"
        "}\n"
        "// An invoice.\n"
        "{\n"
        "  number: string, // matches /^[A-Z]/\n"
        "  day: string, // YYYY-MM-DD\n"
        '  colour: "red" | "blue",\n'
        "  lines: Line[], // at least 1 item; at most 50 items\n"
        "  first: Line | null,\n"
        "  buyer: {\n"
        "    name: string,\n"
        "  }, // Who pays.\n"
        "}"
    )


def test_a_recursive_type_is_named() -> None:
    """It refers to itself by name, and ends."""
    named = "// A tree.\ntype Tree = {\n  value: integer,\n  children?: Tree[],\n}\n"
    assert told(list[Tree]) == f"{named}Tree[]"
    assert told(Tree).startswith(named)
    loop = JsonSchema({"type": "array", "items": {"$ref": "#"}})
    assert describe_schema(loop) == "type Root = Root[]\nRoot[]"


@pytest.mark.parametrize(
    ("output_type", "expected"),
    [
        (int, "integer"),
        (str | None, "string | null"),
        (list[str | None], "(string | null)[]"),
        (list[Literal["x", "y"]], '("x" | "y")[]'),
        (list[Literal["a | b"]], '"a | b"[]'),
        (list[list[int]] | None, "integer[][] | null"),
        (tuple[int, str], "[integer, string]"),
        (tuple[int, ...], "integer[]"),
        (dict[str, float], "{\n  [key: string]: number,\n}"),
        (Annotated[int, Field(gt=0, lt=10)], "// more than 0; less than 10\ninteger"),
        (Annotated[int, Field(multiple_of=5)], "// a multiple of 5\ninteger"),
        (
            Annotated[str, Field(min_length=3, max_length=3)],
            "// exactly 3 characters\nstring",
        ),
        (
            Annotated[list[int], Field(min_length=1, max_length=1)],
            "// exactly 1 item\ninteger[]",
        ),
        (
            Annotated[str, Field(max_length=3)] | Annotated[int, Field(ge=0)],
            "// string: at most 3 characters; integer: at least 0\nstring | integer",
        ),
    ],
)
def test_types_are_written_as_they_are_read(output_type: Any, expected: str) -> None:
    """Brackets only where they are needed; constraints of parts are told too."""
    assert told(output_type) == expected


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (True, "any"),
        (False, "never"),
        ({}, "any"),
        ({"type": "object"}, "{\n  [key: string]: any,\n}"),
        ({"type": "object", "additionalProperties": False}, "{}"),
        ({"type": ["string", "null"]}, "string | null"),
        ({"type": "array"}, "any[]"),
        ({"const": {"a": [1]}}, '{"a":[1]}'),
        ({"allOf": [{"type": "string"}, {"enum": ["a", "b"]}]}, 'string & ("a" | "b")'),
        ({"type": "string", "anyOf": [{"const": "a"}, {"const": "b"}]}, 'string & ("a" | "b")'),
        ({"items": {"anyOf": [{"type": "null"}]}}, "null[]"),
        ({"properties": {"a b": {"type": "null"}}}, '{\n  "a b"?: null,\n}'),
        ({"enum": ["é", 1, None]}, '"é" | 1 | null'),
        ({"type": "number", "exclusiveMinimum": 0.5}, "// more than 0.5\nnumber"),
    ],
)
def test_raw_schemas_are_written_too(schema: Any, expected: str) -> None:
    """Also where they say little, or say it in odd ways."""
    assert describe_schema(JsonSchema(schema)) == expected


def test_definitions_of_the_same_name_are_told_apart() -> None:
    """Two places may define a name each; the notation gives the second a number."""
    inner = {
        "$defs": {"X": {"type": "integer"}},
        "type": "array",
        "items": {"$ref": "#/$defs/Y/$defs/X"},
    }
    schema = {
        "$defs": {"X": {"type": "string"}, "Y": inner},
        "type": "object",
        "properties": {
            "a": {"$ref": "#/$defs/X"},
            "b": {"$ref": "#/$defs/X"},
            "c": {"$ref": "#/$defs/Y/$defs/X"},
            "d": {"$ref": "#/$defs/Y"},
        },
    }
    text = describe_schema(JsonSchema(schema))
    assert text.startswith("type X = string\ntype X2 = integer\n")
    assert "c?: X2" in text
    assert "d?: X2[]" in text


def test_a_deep_schema_ends_in_any() -> None:
    """However deep it is nested, its description is bounded."""
    schema: Any = {"type": "string"}
    for _ in range(60):
        schema = {"type": "object", "properties": {"a": schema}, "required": ["a"]}
    text = describe_schema(JsonSchema(schema))
    assert "a: any" in text
    assert len(text) < 4000


def test_terms_are_told_in_words() -> None:
    """A choice by its options, a regular expression and a grammar by their source."""
    assert describe_output(OutputType.of(Choice(["a", "b c"]))) == (
        "Answer with one of these only:\na\nb c"
    )
    assert "regular expression [ab]+" in describe_output(OutputType.of(Regex("[ab]+")))
    assert "start: /a/" in describe_output(OutputType.of(Lark("start: /a/")))


SCHEMAS = st.recursive(
    st.sampled_from(
        [True, {"type": "string", "maxLength": 3}, {"enum": ['"|', "}"]}, {"const": 1}]
    ),
    lambda inner: st.one_of(
        st.fixed_dictionaries({"type": st.just("array"), "items": inner}),
        st.fixed_dictionaries({"anyOf": st.lists(inner, min_size=1, max_size=3)}),
        st.fixed_dictionaries(
            {"type": st.just("object"), "properties": st.dictionaries(st.sampled_from("ab"), inner)}
        ),
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(SCHEMAS)
def test_any_schema_has_a_description(schema: Any) -> None:
    """Never empty, its brackets balanced, and the same each time."""
    text = describe_schema(JsonSchema(schema))
    assert text
    assert text == describe_schema(JsonSchema(schema))
    bare = text.replace('"\\"|"', "").replace('"}"', "")
    assert all(bare.count(left) == bare.count(right) for left, right in ("{}", "[]", "()"))
