"""How large the answers are that a schema allows."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemma_structured.schema.json_schema import JsonSchema
from gemma_structured.schema.normalize import normalize
from gemma_structured.schema.normalize.size import Size, size


def _size(schema):
    return size(normalize(JsonSchema(schema)).schema.value)


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (True, Size(1, None)),
        ({"type": "null"}, Size(4, 4)),
        ({"type": "boolean"}, Size(4, 5)),
        ({"enum": ["a", 123]}, Size(3, 3)),
        ({"type": "string", "minLength": 1, "maxLength": 3}, Size(3, 5)),
        ({"type": "string", "pattern": "^[ab]{2,4}$"}, Size(4, 6)),
        ({"type": "string"}, Size(2, None)),
        ({"type": "integer", "minimum": 10, "maximum": 999}, Size(2, 3)),
        ({"type": "integer", "minimum": -10, "maximum": 5}, Size(1, 3)),
        ({"type": "number", "minimum": 0, "maximum": 9, "multipleOf": 0.01}, Size(1, 4)),
        ({"type": "integer"}, Size(1, None)),
        ({"type": "array", "items": {"type": "null"}, "maxItems": 2}, Size(2, 11)),
        ({"type": "array", "prefixItems": [{"const": 1}], "items": False}, Size(2, 3)),
        ({"type": "array", "items": {"const": 1}, "minItems": 2}, Size(5, None)),
        (
            {"type": "object", "properties": {"a": {"const": 1}}, "additionalProperties": False},
            Size(2, 7),
        ),
        ({"type": "object", "required": ["a"]}, Size(7, None)),
        (
            {"type": "object", "additionalProperties": {"const": 1}, "minProperties": 2},
            Size(11, None),
        ),
        ({"anyOf": [{"const": "abc"}, {"type": "null"}]}, Size(4, 5)),
    ],
)
def test_sizes(schema, expected):
    """The shortest and the longest instance, in characters of compact JSON."""
    assert _size(schema) == expected


def test_recursion_has_a_shortest_and_no_longest():
    """A tree has a smallest one, and none largest."""
    node = {
        "type": "object",
        "properties": {"a": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/node"}]}},
        "required": ["a"],
        "additionalProperties": False,
    }
    assert _size({"$ref": "#/$defs/node", "$defs": {"node": node}}) == Size(len('{"a":null}'), None)


@given(
    st.recursive(
        st.sampled_from([None, True, 0, 12, "", "ab"]),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
        ),
        max_leaves=8,
    )
)
def test_a_constant_has_its_own_size(value):
    """The only instance of a constant is the constant."""
    length = len(json.dumps(value, separators=(",", ":")))
    assert _size({"const": value}) == Size(length, length)
