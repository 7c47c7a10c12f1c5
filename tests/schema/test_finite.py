"""Types and schemas without a finite value are refused before anything is generated."""

from __future__ import annotations

import random
import time
from typing import Annotated

import pytest
from pydantic import BaseModel, Field

from gemma_structured.exceptions import SchemaError
from gemma_structured.schema import JsonSchema, OutputType


class Endless(BaseModel):
    """Needs itself."""

    next: Endless


class Ping(BaseModel):
    """Needs Pong."""

    pong: Pong


class Pong(BaseModel):
    """Needs at least one Ping."""

    pings: Annotated[list[Ping], Field(min_length=1)]


class Chain(BaseModel):
    """May end."""

    next: Chain | None


class Tree(BaseModel):
    """Its leaves have no children."""

    children: list[Tree]


@pytest.mark.parametrize("spec", [Endless, Ping, list[Endless] | Endless, dict[str, Ping] | None])
def test_types_with_endless_parts(spec):
    """A type is refused only if it has no finite value at all."""
    finite = spec in (list[Endless] | Endless, dict[str, Ping] | None)
    if finite:
        OutputType.of(spec)
        return
    with pytest.raises(SchemaError, match="without end") as caught:
        OutputType.of(spec)
    assert caught.value.path.startswith("/$defs/")
    assert "optional" in caught.value.hint


@pytest.mark.parametrize("spec", [Chain, Tree, list[Tree]])
def test_recursion_that_may_end(spec):
    """Recursion through a list or an alternative is fine."""
    assert OutputType.of(spec).is_json


@pytest.mark.parametrize(
    "schema",
    [
        False,
        {"not": {}},
        {"enum": []},
        {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]},
        {"type": "object", "required": ["a"], "additionalProperties": {"$ref": "#"}},
        {"type": "object", "required": ["a"], "additionalProperties": False},
        {"type": "array", "items": {"$ref": "#"}, "minItems": 1},
        {"type": "array", "prefixItems": [True, {"$ref": "#"}], "minItems": 2},
        {"type": "array", "contains": {"$ref": "#"}},
        {"allOf": [{}, {"type": "array", "minItems": 1, "items": {"$ref": "#"}}]},
        {"anyOf": [False, {"type": "array", "minItems": 1, "items": {"$ref": "#"}}]},
    ],
)
def test_schemas_without_a_finite_instance(schema):
    """A schema that nothing finite satisfies is refused, whatever keyword makes it so."""
    with pytest.raises(SchemaError):
        OutputType.of(JsonSchema(schema))


@pytest.mark.parametrize(
    "schema",
    [
        True,
        {},
        {"properties": {"a": {"$ref": "#"}}, "required": ["a"]},
        {"type": ["object", "null"], "properties": {"a": {"$ref": "#"}}, "required": ["a"]},
        {"type": "object", "properties": {"a": {"$ref": "#"}}},
        {"type": "object", "required": ["a"], "patternProperties": {"a": True}},
        {"type": "array", "items": {"$ref": "#"}},
        {"type": "array", "prefixItems": [True, {"$ref": "#"}], "minItems": 1},
        {"type": "array", "contains": {"$ref": "#"}, "minContains": 0},
        {"anyOf": [{"type": "array", "items": {"$ref": "#"}, "minItems": 1}, {"type": "null"}]},
        {"not": {"type": "string"}},
        {"const": {"a": 1}, "type": "object", "properties": {"a": {"$ref": "#"}}},
        {
            "$schema": "http://json-schema.org/draft-07/schema#",
            "definitions": {"a": {"type": "null"}},
            "$ref": "#/definitions/a",
            "enum": [],
        },
    ],
)
def test_schemas_with_a_finite_instance(schema):
    """No schema is refused that something finite satisfies."""
    assert OutputType.of(JsonSchema(schema)).is_json


def test_the_innermost_fault_is_named():
    """The path is that of the part that cannot end, not of the whole."""
    with pytest.raises(SchemaError) as caught:
        OutputType.of(
            JsonSchema({"type": "array", "minItems": 1, "items": {"anyOf": [{"enum": []}]}})
        )
    assert caught.value.path == "/items/anyOf/0"


@pytest.mark.parametrize("seed", [None, 1])
def test_long_chains_settle_in_bounded_time(seed):
    """A chain of 2,000 definitions, in whatever order, is followed to its end."""
    defs = {
        f"d{i}": {
            "type": "object",
            "properties": {"x": {"$ref": f"#/$defs/d{i + 1}"}},
            "required": ["x"],
        }
        for i in range(2_000)
    }
    if seed is not None:
        defs = dict(random.Random(seed).sample(sorted(defs.items()), len(defs)))
    schema = JsonSchema({"$defs": defs | {"d2000": {"type": "null"}}, "$ref": "#/$defs/d0"})
    before = time.perf_counter()
    assert OutputType.of(schema).is_json
    assert time.perf_counter() - before < 5
