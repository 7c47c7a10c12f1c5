"""Schemas that nothing satisfies, and limits that hostile ones run into."""

from __future__ import annotations

import time

import pytest

from gemma_structured.exceptions import SchemaError
from gemma_structured.schema.json_schema import JsonSchema
from gemma_structured.schema.normalize import normalize
from gemma_structured.schema.normalize.limits import Limits


@pytest.mark.parametrize(
    ("schema", "keywords"),
    [
        (False, set()),
        ({"type": "string", "minLength": 3, "maxLength": 2}, {"minLength", "maxLength"}),
        ({"type": "integer", "minimum": 1, "maximum": 0}, {"minimum", "maximum"}),
        ({"type": "integer", "exclusiveMinimum": 1, "exclusiveMaximum": 2}, {"exclusiveMinimum"}),
        ({"type": "string", "enum": [1, 2]}, {"type", "enum"}),
        ({"const": 1, "not": {"const": 1}}, {"const", "not"}),
        ({"allOf": [{"type": "string"}, {"type": "null"}]}, {"type"}),
        ({"type": "array", "minItems": 2, "maxItems": 1}, {"minItems", "maxItems"}),
        ({"type": "array", "items": False, "minItems": 1}, {"minItems", "items"}),
        ({"type": "object", "required": ["a"], "additionalProperties": False}, {"required"}),
        ({"type": "object", "required": ["a"], "properties": {"a": False}}, {"required"}),
        ({"type": "object", "required": ["a", "b"], "maxProperties": 1}, {"maxProperties"}),
        ({"type": "string", "pattern": "^a$", "minLength": 2}, {"pattern", "minLength"}),
        ({"type": "string", "format": "date", "maxLength": 3}, {"format", "maxLength"}),
        ({"type": "string", "allOf": [{"pattern": "^a"}, {"pattern": "^b"}]}, {"pattern"}),
        ({"type": "array", "items": {"const": 1}, "uniqueItems": True, "minItems": 2}, set()),
        ({"oneOf": [True, True]}, set()),
    ],
)
def test_contradictions_are_refused_with_their_keywords(schema, keywords):
    """What nothing satisfies is an error that names what contradicts what."""
    with pytest.raises(SchemaError, match="Nothing satisfies") as caught:
        normalize(JsonSchema(schema))
    assert all(f"`{keyword}`" in str(caught.value) for keyword in keywords)


def test_the_place_of_a_contradiction_is_told():
    """A contradiction deep inside is found where it stands."""
    inner = {"type": "integer", "minimum": 2, "maximum": 1}
    middle = {"type": "object", "required": ["b"], "properties": {"b": inner}}
    with pytest.raises(SchemaError) as caught:
        normalize(JsonSchema({"type": "object", "required": ["a"], "properties": {"a": middle}}))
    assert caught.value.path == "/properties/a/properties/b"


def test_recursion_without_end_is_refused():
    """A recursive type each of whose values holds another has no finite value."""
    node = {"type": "object", "required": ["a"], "properties": {"a": {"$ref": "#/$defs/node"}}}
    with pytest.raises(SchemaError, match="without end"):
        normalize(JsonSchema({"$ref": "#/$defs/node", "$defs": {"node": node}}))


def test_dead_parts_are_reported_and_left_out():
    """An optional part that nothing satisfies is never written."""
    schema = {
        "type": "object",
        "properties": {"a": {"type": "string", "minLength": 2, "maxLength": 1}, "b": True},
        "anyOf": [{"required": ["b"]}, {"required": ["a"]}],
    }
    normalized = normalize(JsonSchema(schema))
    assert normalized.unsatisfiable == ("/properties/a",)
    assert normalized.schema.value["properties"]["a"] is False
    assert normalized.schema.value["required"] == ["b"]


def _nested(levels):
    schema = {"type": "integer"}
    for _ in range(levels):
        schema = {"type": "object", "properties": {"a": schema}, "required": ["a"]}
    return schema


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {f"p{n}": {"type": "integer"} for n in range(2000)}},
        {"enum": [f"v{n}" for n in range(10_000)]},
        _nested(60),
        {
            "allOf": [
                {"anyOf": [{"required": [f"a{n}"]}, {"required": [f"b{n}"]}]} for n in range(30)
            ]
        },
        {"oneOf": [{"required": [f"a{n}"]} for n in range(150)]},
        {"not": {"allOf": [{"not": {"required": [f"a{n}"]}} for n in range(40)]}},
        {"anyOf": [{"const": n} for n in range(3000)]},
        {"type": "object", "patternProperties": {f"^(a|b)*{n}": {"const": n} for n in range(20)}},
        {
            "allOf": [
                {"if": {"required": [f"a{n}"]}, "then": {"required": [f"b{n}"]}} for n in range(40)
            ]
        },
    ],
)
def test_large_schemas_take_bounded_time(schema):
    """Nothing expands without bound: past a limit, keywords are relaxed."""
    start = time.perf_counter()
    normalize(JsonSchema.trusted(schema))
    assert time.perf_counter() - start < 20


def test_the_limit_of_subschemas():
    """Past the limit of subschemas the rest is left to validation, and said to be."""
    schema = JsonSchema(_nested(30))
    normalized = normalize(schema, limits=Limits(vertices=10))
    assert not normalized.exact
    assert all(pointer.count("/a") >= 9 for pointer, _ in normalized.residual)


def test_the_limit_of_alternatives():
    """Choices that would multiply are left out one by one, and named."""
    choices = [{"anyOf": [{"required": [f"a{n}"]}, {"required": [f"b{n}"]}]} for n in range(4)]
    schema = JsonSchema({"type": "object", "allOf": choices})
    assert normalize(schema, limits=Limits(alternatives=16)).exact
    normalized = normalize(schema, limits=Limits(alternatives=4))
    assert normalized.residual == (("/allOf/2", "anyOf"), ("/allOf/3", "anyOf"))
