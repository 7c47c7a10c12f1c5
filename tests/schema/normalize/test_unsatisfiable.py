"""Schemas that nothing satisfies, and limits that hostile ones run into."""

from __future__ import annotations

import json
import time

import pytest

from gemma_structured.exceptions import SchemaError
from gemma_structured.schema.json_schema import JsonSchema
from gemma_structured.schema.normalize import normalize
from gemma_structured.schema.normalize.limits import Limits
from gemma_structured.schema.validator import compile_validator


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
        (
            {"type": "array", "items": {"const": 1}, "uniqueItems": True, "minItems": 2},
            {"items", "uniqueItems", "minItems"},
        ),
        (
            {"type": "array", "contains": {"type": "string"}, "items": {"type": "integer"}},
            {"contains", "items"},
        ),
        (
            {"type": "array", "contains": True, "minContains": 3, "maxItems": 2},
            {"minContains", "maxItems"},
        ),
        (
            {"type": "object", "properties": {"a": True}, "additionalProperties": False}
            | {"minProperties": 2},
            {"minProperties", "properties", "additionalProperties"},
        ),
        (
            {"type": "object", "propertyNames": {"maxLength": 1}, "required": ["ab"]},
            {"propertyNames", "required"},
        ),
        (
            {"type": "object", "propertyNames": False, "minProperties": 1},
            {"propertyNames", "minProperties"},
        ),
        (
            {"type": "object", "required": ["a"], "dependentRequired": {"a": ["b"]}}
            | {"properties": {"b": False}},
            {"required", "dependentRequired", "properties"},
        ),
        (
            {"type": "object", "required": ["a"], "unevaluatedProperties": False},
            {"required", "unevaluatedProperties"},
        ),
        ({"oneOf": [True, True]}, {"oneOf"}),
        ({"not": {}}, {"not"}),
        ({"allOf": [{"type": "string"}, False]}, {"allOf"}),
        ({"if": {"type": "string"}, "then": False, "else": False}, {"if", "then", "else"}),
        ({"$ref": "#/$defs/none", "$defs": {"none": False}}, {"$ref"}),
        ({"enum": []}, {"enum"}),
    ],
)
def test_contradictions_are_refused_with_their_keywords(schema, keywords):
    """What nothing satisfies is an error that names what contradicts what."""
    with pytest.raises(SchemaError, match="Nothing satisfies") as caught:
        normalize(JsonSchema(schema))
    assert "without end" not in str(caught.value)
    assert all(f"`{keyword}`" in str(caught.value) for keyword in keywords)


def test_the_place_of_a_contradiction_is_told():
    """A contradiction deep inside is found where it stands."""
    inner = {"type": "integer", "minimum": 2, "maximum": 1}
    middle = {"type": "object", "required": ["b"], "properties": {"b": inner}}
    with pytest.raises(SchemaError) as caught:
        normalize(JsonSchema({"type": "object", "required": ["a"], "properties": {"a": middle}}))
    assert caught.value.path == "/properties/a/properties/b"


@pytest.mark.parametrize(
    "node",
    [
        {"type": "object", "required": ["a"], "properties": {"a": {"$ref": "#/$defs/node"}}},
        {"type": "object", "required": ["a"], "properties": {"a": {"$ref": "#"}, "b": False}},
        {"type": "object", "minProperties": 1, "additionalProperties": {"$ref": "#"}},
        {"type": "array", "minItems": 1, "items": {"$ref": "#"}},
        {"type": "array", "minItems": 1, "prefixItems": [{"$ref": "#"}]},
    ],
)
def test_recursion_without_end_is_refused(node):
    """A recursive type each of whose values holds another has no finite value."""
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
        {"type": "string", "pattern": "^" + "ab" * 30_000 + "$"},
        {"type": "string", "pattern": "^(" + "|".join(f"word{n}" for n in range(6000)) + ")$"},
        {
            "allOf": [
                {"if": {"required": [f"a{n}"]}, "then": {"required": [f"b{n}"]}} for n in range(40)
            ]
        },
    ],
)
def test_large_schemas_take_bounded_time(schema):
    """Nothing expands without bound: past a limit, keywords are relaxed."""
    start = time.process_time()
    normalize(JsonSchema.trusted(schema))
    assert time.process_time() - start < 10


@pytest.mark.parametrize("levels", [20, 60, 99])
def test_deep_schemas_become_definitions(law, levels):
    """What is nested deeply is written in shallow parts, which engines read whatever their stack."""
    written = law(_nested(levels)).schema.value
    for part in (written, *written["$defs"].values()):
        assert json.dumps(part | {"$defs": None}).count('"properties"') <= 20
    valid = compile_validator(JsonSchema(written))
    inner, wrong = 1, "x"
    for _ in range(min(levels, 60)):
        inner, wrong = {"a": inner}, {"a": wrong}
    assert valid.is_valid(inner) == (levels <= 60)
    assert not valid.is_valid(wrong)


def test_a_long_chain_of_definitions_is_written():
    """A value that must be nested thousands of levels deep is no value to recurse for."""
    chain = {
        f"d{n}": {
            "type": "object",
            "required": ["a"],
            "properties": {"a": {"$ref": f"#/$defs/d{n + 1}"}},
        }
        for n in range(3000)
    }
    schema = {"$ref": "#/$defs/d0", "$defs": {**chain, "d3000": {"type": "null"}}}
    assert normalize(JsonSchema.trusted(schema)).exact


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
