"""`not`, pushed down to keywords."""

from __future__ import annotations

import pytest

EXACT = [
    {"type": "string"},
    {"type": ["string", "null"]},
    {"enum": [1, "a", None, True]},
    {"const": "ab"},
    {"const": ""},
    {"const": []},
    {"const": {}},
    {"minimum": 2},
    {"exclusiveMaximum": 2},
    {"minLength": 2},
    {"maxLength": 1},
    {"pattern": "^a"},
    {"pattern": "b"},
    {"minItems": 2},
    {"maxItems": 0},
    {"minProperties": 2},
    {"required": ["a"]},
    {"required": ["a", "b"]},
    {"properties": {"a": {"type": "string"}}},
    {"properties": {"a": False}},
    {"prefixItems": [{"type": "string"}]},
    {"contains": {"type": "string"}},
    {"items": False},
    {"dependentRequired": {"a": ["b"]}},
    {"not": {"type": "array"}},
    {"allOf": [{"type": "object"}, {"required": ["a"]}]},
    {"anyOf": [{"type": "object"}, {"type": "string", "maxLength": 1}]},
    {"oneOf": [{"required": ["a"]}, {"required": ["b"]}]},
    {"if": {"type": "string"}, "then": {"minLength": 1}, "else": {"type": "null"}},
    {"type": "object", "properties": {"a": {"enum": [1, 2]}}, "required": ["a"]},
]


@pytest.mark.parametrize("refused", EXACT)
def test_complements_are_exact(law, refused):
    """What fails a keyword is said by others."""
    law({"not": refused}, {"a": "x"}, {"a": 1}, ["a"], [1])


@pytest.mark.parametrize("refused", [one for one in EXACT if "contains" not in one])
def test_two_negations_cancel(law, refused):
    """`not not` S is S."""
    law({"not": {"not": refused}})


@pytest.mark.parametrize(
    "refused",
    [
        {"type": "integer"},
        {"multipleOf": 2},
        {"items": {"type": "string"}},
        {"uniqueItems": True},
        {"additionalProperties": {"type": "string"}},
        {"patternProperties": {"^a": {"type": "string"}}},
        {"propertyNames": {"maxLength": 1}},
        {"format": "date"},
        {"contains": {"type": "string"}, "minContains": 2},
        {"const": {"a": 1}},
    ],
)
def test_what_cannot_be_said_is_residual(law, refused):
    """The mask then admits more, and `not` is left to validation."""
    normalized = law({"not": refused}, {"aa": 1}, ["a", 1], exact=False)
    assert {keyword for _, keyword in normalized.residual} == {"not"}


def test_negated_recursion_ends(law):
    """The complement of a recursive schema is recursive itself."""
    tree = {"type": "object", "properties": {"a": {"$ref": "#/$defs/tree"}}, "required": ["b"]}
    law(
        {"not": {"$ref": "#/$defs/tree"}, "$defs": {"tree": tree}}, {"b": 1, "a": {"b": 1, "a": {}}}
    )


def test_many_excluded_texts_are_one_pattern(law):
    """Listed texts that are refused cost a pattern as long as they are."""
    words = [f"word{n}" for n in range(60)]
    law({"type": "string", "not": {"enum": words}}, "word3", "word60", "word", "word33x")
