"""`oneOf`: exactly one option."""

from __future__ import annotations

import pytest

CAT = {"properties": {"kind": {"const": "cat"}}, "required": ["kind"]}
DOG = {"properties": {"kind": {"const": "dog"}}, "required": ["kind"]}


@pytest.mark.parametrize(
    "options",
    [
        [{"type": "string"}, {"type": "integer"}],
        [{"type": "string", "maxLength": 1}, {"type": "string", "minLength": 2}],
        [{"required": ["a"]}, {"required": ["b"]}],
        [{"required": ["a"]}, {"required": ["b"]}, {"required": ["c"]}],
        [CAT, DOG],
        [{"enum": [1, "a"]}, {"enum": ["a", 2]}],
        [{"pattern": "^a"}, {"pattern": "b$"}],
        [True, {"type": "null"}],
        [False, {"type": "null"}],
        [{"multipleOf": 2}, {"type": "string"}, {"type": "null"}],
        [{"type": "object", "properties": {"a": {"type": "string"}}}, {"type": "array"}],
    ],
)
def test_exactly_one_option_holds(law, options):
    """Options that overlap exclude each other; disjoint ones are a plain choice."""
    schema = {"oneOf": options}
    law(schema, {"kind": "cat"}, {"kind": "dog"}, {"kind": "cow"}, {"a": 1, "b": 1})


def test_a_fraction_apart_from_integers_is_residual(law):
    """No grammar tells 1.5 from 2.0, so that such a complement is left to validation."""
    normalized = law({"oneOf": [{"type": "integer"}, {"minimum": 2}]}, exact=False)
    assert {keyword for _, keyword in normalized.residual} <= {"oneOf", "type"}


def test_disjoint_references_stay_references(law):
    """A discriminated union of definitions is a choice of them, not a copy."""
    schema = {
        "oneOf": [{"$ref": "#/$defs/Cat"}, {"$ref": "#/$defs/Dog"}],
        "$defs": {"Cat": {"type": "object", **CAT}, "Dog": {"type": "object", **DOG}},
    }
    normalized = law(schema, {"kind": "cat"}, {"kind": "cow"})
    assert len(normalized.schema.value["anyOf"]) == 2


def test_disjointness_is_seen_beside_the_base(law):
    """Options that only the schema around them keeps apart are recognised."""
    schema = {
        "type": "object",
        "required": ["kind"],
        "oneOf": [
            {"properties": {"kind": {"const": "cat"}, "a": {"type": "integer"}}},
            {"properties": {"kind": {"const": "dog"}, "a": {"type": "string"}}},
        ],
    }
    normalized = law(schema, {"kind": "cat", "a": 1}, {"kind": "dog", "a": 1})
    assert len(normalized.schema.value["anyOf"]) == 2


def test_options_that_overlap_too_much_are_residual(law):
    """Many overlapping options are tried by validation only."""
    options = [{"required": [f"p{n}"], "properties": {f"p{n}": {}}} for n in range(12)]
    normalized = law(
        {"type": "object", "oneOf": options}, {"p1": 1}, {"p1": 1, "p2": 1}, exact=False
    )
    assert normalized.residual == (("", "oneOf"),)
