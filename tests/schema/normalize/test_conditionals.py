"""`if`, `then`, `else`."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    "schema",
    [
        {"if": {"type": "string"}, "then": {"minLength": 2}},
        {"if": {"type": "string"}, "else": {"type": "integer"}},
        {"if": {"minimum": 2}, "then": {"maximum": 5}, "else": {"type": "null"}},
        {"if": {"required": ["a"]}, "then": {"required": ["b"]}, "else": {"maxProperties": 1}},
        {"if": True, "then": {"type": "array"}, "else": False},
        {"if": False, "then": False, "else": {"type": ["array", "null"]}},
        {"if": {"properties": {"kind": {"const": "cat"}}}, "then": {"required": ["a"]}},
    ],
)
def test_conditions_are_enforced_exactly(law, schema):
    """A condition becomes a choice of two conjunctions that says the same."""
    law(schema, {"kind": "cat"}, {"kind": "cat", "a": 1}, {"kind": "dog"})


def test_a_chain_of_conditions_on_one_property_stays_small(law):
    """Conditions that exclude each other do not multiply."""
    names = [f"kind{n}" for n in range(30)]
    schema = {
        "type": "object",
        "properties": {"kind": {"enum": names}},
        "required": ["kind"],
        "allOf": [
            {
                "if": {"properties": {"kind": {"const": name}}},
                "then": {"required": [f"p{n}"], "properties": {f"p{n}": {"type": "integer"}}},
            }
            for n, name in enumerate(names)
        ],
    }
    normalized = law(schema, {"kind": "kind3", "p3": 1}, {"kind": "kind3", "p4": 1}, {"kind": "x"})
    assert len(normalized.schema.value["anyOf"]) == len(names)


@pytest.mark.parametrize("schema", [{"then": False}, {"else": False}, {"if": {"type": "null"}}])
def test_halves_of_a_condition_say_nothing(law, schema):
    """`then` without `if`, and `if` alone, are no constraint."""
    assert law(schema).schema.value in (True, {})


def test_a_condition_that_has_no_exact_complement_is_residual(law):
    """Where what fails the condition cannot be said, validation checks the condition."""
    schema = {"if": {"patternProperties": {"^a": {"type": "null"}}}, "then": {"required": ["b"]}}
    normalized = law(schema, exact=False)
    assert normalized.residual == (("", "if"),)
