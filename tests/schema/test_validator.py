"""Where jsonschema is wrong or slow, the validator is not."""

from __future__ import annotations

import time

import pytest

from gemma_structured.schema import JsonSchema
from gemma_structured.schema.validator import compile_validator


def valid(schema, instance):
    """Whether the instance is valid."""
    return compile_validator(JsonSchema(schema)).is_valid(instance)


@pytest.mark.parametrize(
    ("schema", "instance", "expected"),
    [
        ({"uniqueItems": True}, [1, 1.0], False),
        ({"uniqueItems": True}, [1, True], True),
        ({"uniqueItems": True}, [0, False, None, "", [], {}], True),
        ({"uniqueItems": True}, [{"a": 1, "b": [1]}, {"b": [1.0], "a": 1}], False),
        ({"uniqueItems": True}, ["é", "e\u0301"], True),
        ({"uniqueItems": False}, [1, 1], True),
        ({"enum": [1]}, 1.0, True),
        ({"enum": [1]}, True, False),
        ({"enum": [[False]]}, [0], False),
        ({"enum": ["1"]}, 1, False),
        ({"const": {"a": 1.0}}, {"a": 1}, True),
        ({"const": 0}, False, False),
        ({"const": 1e20}, 10**20, True),
        ({"multipleOf": 0.01}, 1.13, True),
        ({"multipleOf": 0.01}, 1.131, False),
        ({"multipleOf": 1e-9}, 0.000000007, True),
        ({"multipleOf": 3}, 10**40 + 2, True),
        ({"multipleOf": 0.123456789}, 1e308, False),
        ({"multipleOf": 2}, True, True),
        ({"pattern": "^a$"}, "a\n", False),
        ({"pattern": r"^\d$"}, "\u0661", False),
        ({"pattern": r"^\p{Lu}$"}, "É", True),
        ({"pattern": "a"}, 5, True),
        ({"patternProperties": {r"^\p{Lu}": {"type": "integer"}}}, {"Éa": "x"}, False),
        (
            {"patternProperties": {r"^\p{Lu}": {}}, "additionalProperties": False},
            {"É": 1},
            True,
        ),
        (
            {"patternProperties": {r"^\p{Lu}": {}}, "additionalProperties": False},
            {"é": 1},
            False,
        ),
        ({"properties": {"a": {}}, "additionalProperties": {"type": "null"}}, {"b": 1}, False),
        (
            {"patternProperties": {r"^\p{Lu}": {}}, "unevaluatedProperties": False},
            {"É": 1, "é": 1},
            False,
        ),
        (
            {
                "anyOf": [{"patternProperties": {r"^\p{Lu}$": {}}}, {"required": ["z"]}],
                "unevaluatedProperties": {"type": "null"},
            },
            {"É": 1, "b": None},
            True,
        ),
        ({"minLength": 1, "maxLength": 1}, "\U0001f600", True),
        ({"x-gemma-lark": 'start: "a"+'}, "aa", True),
        ({"x-gemma-lark": 'start: "a"+'}, "b", False),
        ({"x-gemma-lark": 'start: "a"+'}, 3, True),
    ],
)
def test_keywords(schema, instance, expected):
    """Equality, multiples and patterns are those of JSON Schema, not of Python."""
    assert valid(schema, instance) is expected


@pytest.mark.parametrize(
    "schema",
    [
        {"pattern": r"^(.+)\1$"},
        {"patternProperties": {r"^(.+)\1$": False}},
        {"properties": {}, "patternProperties": {r"^(.+)\1$": {}}, "additionalProperties": False},
        {"patternProperties": {r"^(.+)\1$": {}}, "unevaluatedProperties": False},
    ],
)
def test_what_cannot_be_told_is_not_valid(schema):
    """A pattern that cannot be decided in bounded time makes an error, not a guess and not a hang."""
    text = "ab" * 5_000
    instance = text if "pattern" in schema else {text: 1}
    errors = list(compile_validator(JsonSchema(schema)).iter_errors(instance))
    assert any("bounded time" in error.message for error in errors)


def test_many_options_are_compared_at_once():
    """10,000 options for 2,000 items take no time to speak of."""
    validator = compile_validator(
        JsonSchema({"items": {"enum": [f"o{i}" for i in range(10_000)]}, "uniqueItems": True})
    )
    before = time.perf_counter()
    assert validator.is_valid([f"o{i}" for i in range(2_000)])
    assert not validator.is_valid(["o1", "none of them"])
    assert time.perf_counter() - before < 3


def test_drafts_keep_their_own_keywords():
    """A keyword of a later draft says nothing under an earlier one, and siblings of `$ref` hide."""
    draft = "http://json-schema.org/draft-04/schema#"
    assert valid({"$schema": draft, "const": 1}, 2)
    assert valid({"$schema": draft, "unevaluatedProperties": False}, {"a": 1})
    hidden = {"$schema": draft, "definitions": {"a": {}}, "$ref": "#/definitions/a", "type": "null"}
    assert valid(hidden, 3)
    assert not valid({"$defs": {"a": {}}, "$ref": "#/$defs/a", "type": "null"}, 3)
    divided = {"$schema": "http://json-schema.org/draft-03/schema#", "divisibleBy": 0.1}
    assert valid(divided, 0.3)
    assert not valid(divided, 0.35)


def test_recursive_references_of_2019():
    """`$recursiveRef` is followed where keys are counted."""
    schema = {
        "$schema": "https://json-schema.org/draft/2019-09/schema",
        "$recursiveAnchor": True,
        "properties": {"a": {}, "b": {"$recursiveRef": "#", "unevaluatedProperties": False}},
    }
    assert valid(schema, {"b": {"a": 1}})
    assert not valid(schema, {"b": {"c": 1}})


def test_a_reference_to_a_root_with_its_draft_keeps_the_corrections():
    """Below it, patterns are still ECMA-262 and matched in bounded time, by that draft's rules."""
    draft_7 = "http://json-schema.org/draft-07/schema#"
    properties = {"child": {"$ref": "#"}, "text": {"type": "string", "pattern": "^(a+)+$"}}
    schema = {"$schema": draft_7, "properties": properties}
    started = time.process_time()
    assert not valid(schema, {"child": {"child": {"text": "a" * 60 + "b"}}})
    assert not valid(schema, {"child": {"text": "a\n"}})
    assert valid(schema, {"child": {"text": "aa"}})
    assert time.process_time() - started < 2
    other = {"$schema": "http://json-schema.org/draft-04/schema#", "const": 1, "format": "date"}
    assert valid({"$schema": draft_7, "properties": {"a": other}}, {"a": 2})
    assert not valid({"$schema": draft_7, "properties": {"a": other}}, {"a": "soon"})


DRAFT_2019 = "https://json-schema.org/draft/2019-09/schema"


@pytest.mark.parametrize(
    ("schema", "valid", "invalid"),
    [
        ({"items": True}, [[1, 2]], []),
        ({"items": {"type": "integer", "minimum": 0}}, [[1, 2, 3]], [["a"]]),
        ({"items": [True]}, [[1]], [[1, 2]]),
        ({"items": [True], "additionalItems": {"type": "null"}}, [[1, None]], [[1, 2]]),
        ({"allOf": [{"items": [True, True]}]}, [[1, 2]], [[1, 2, 3]]),
        ({"anyOf": [{"items": [{"const": 1}]}, True]}, [[1]], [[2]]),
        ({"contains": {"const": 1}}, [], [[1]]),
    ],
)
def test_unevaluated_items_of_2019(schema, valid, invalid):
    """Of a list `items` are the first ones, of a schema all; `contains` evaluates none."""
    whole = {"$schema": DRAFT_2019, **schema, "unevaluatedItems": False}
    validator = compile_validator(JsonSchema(whole))
    assert all(map(validator.is_valid, valid))
    assert not any(map(validator.is_valid, invalid))


def test_what_additional_properties_looks_at_is_evaluated_in_2019():
    """Jsonschema forgets it."""
    schema = {"additionalProperties": True, "unevaluatedProperties": False}
    assert compile_validator(JsonSchema({"$schema": DRAFT_2019, **schema})).is_valid({"a": 1})
