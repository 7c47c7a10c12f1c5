"""The order in which properties are written, and what Pydantic's types become."""

from __future__ import annotations

from enum import Enum
from pathlib import Path  # noqa: TC003 - Pydantic reads it when it runs
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from gemma_structured.schema.json_schema import JsonSchema
from gemma_structured.schema.normalize import normalize
from gemma_structured.schema.output_type import OutputType


def test_declared_order_is_kept():
    """Properties come as declared, required ones that are not declared after them."""
    schema = {
        "type": "object",
        "properties": {"z": True, "a": True, "m": {"type": "integer"}},
        "required": ["q", "a"],
        "allOf": [{"properties": {"b": True, "z": {"type": "string"}}}],
    }
    value = normalize(JsonSchema(schema)).schema.value
    assert list(value["properties"]) == ["z", "a", "m", "b", "q"]
    assert value["required"] == ["q", "a"]


def test_conditions_before_properties_come_first():
    """Keywords are read in the order in which they are written."""
    schema = {"allOf": [{"properties": {"b": True}}], "properties": {"a": True}}
    assert list(normalize(JsonSchema(schema)).schema.value["properties"]) == ["b", "a"]


class Colour(Enum):
    """A colour."""

    RED = "red"
    BLUE = "blue"


class Cat(BaseModel):
    """A cat."""

    kind: Literal["cat"]
    lives: int = Field(ge=0, le=9)


class Dog(BaseModel):
    """A dog."""

    kind: Literal["dog"]
    loud: bool


class Everything(BaseModel):
    """What Pydantic writes that grammars do not know."""

    pet: Annotated[Cat | Dog, Field(discriminator="kind")]
    tags: frozenset[str]
    counts: dict[Colour, int]
    where: Path
    raw: bytes
    children: list[Everything] = []


def test_pydantic_types_are_exact(law):
    """Discriminated unions, sets, maps of enums, formats and recursion need no validation."""
    term = OutputType.of(Everything).term
    assert isinstance(term, JsonSchema)
    normalized = normalize(term)
    assert normalized.exact
    assert "Everything" in normalized.schema.value["$defs"]
