"""`unevaluatedProperties` and `unevaluatedItems`."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"a": True}, "unevaluatedProperties": False},
        {"allOf": [{"properties": {"a": True}}, {"properties": {"b": {"type": "string"}}}]}
        | {"unevaluatedProperties": False},
        {"$ref": "#/$defs/base", "unevaluatedProperties": {"type": "integer"}}
        | {"$defs": {"base": {"properties": {"a": {"type": "string"}}}}},
        {"anyOf": [{"properties": {"a": {"type": "integer"}}, "required": ["a"]}]}
        | {"unevaluatedProperties": False},
        {"anyOf": [{"required": ["a"], "properties": {"a": True}}, {"properties": {"b": True}}]}
        | {"unevaluatedProperties": False},
        {"if": {"required": ["a"]}, "then": {"properties": {"a": True}}}
        | {"else": {"properties": {"b": True}}, "unevaluatedProperties": False},
        {"dependentSchemas": {"a": {"properties": {"a": True, "b": True}}}}
        | {"properties": {"c": True}, "unevaluatedProperties": False},
        {"patternProperties": {"^a": True}, "unevaluatedProperties": False},
        {"additionalProperties": {"type": "integer"}, "unevaluatedProperties": False},
        {"prefixItems": [{"type": "string"}], "unevaluatedItems": False},
        {"allOf": [{"prefixItems": [True, {"type": "string"}]}], "unevaluatedItems": False},
        {"items": {"type": "string"}, "unevaluatedItems": False},
    ],
)
def test_cases_are_enforced_exactly(law, schema):
    """What is evaluated is known case by case, so that the rest can be closed."""
    law(schema, {"a": "x"}, {"a": "x", "b": 1}, {"ab": 1}, ["a", "b"])


def test_contains_leaves_it_to_validation(law):
    """Which items `contains` evaluates depends on their values."""
    schema = {"contains": {"type": "string"}, "unevaluatedItems": {"type": "integer"}}
    normalized = law(schema, ["a", 1], ["a", None], exact=False)
    assert ("", "unevaluatedItems") in normalized.residual
