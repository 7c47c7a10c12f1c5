"""What a grammar has no word for: names, counts, contained and unique items, listed values."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "propertyNames": {"enum": ["a", "b"]}},
        {
            "type": "object",
            "propertyNames": {"pattern": "^a"},
            "additionalProperties": {"const": 1},
        },
        {"type": "object", "propertyNames": {"maxLength": 1}, "required": ["a"]},
        {"type": "object", "propertyNames": {"anyOf": [{"const": "a"}, {"pattern": "b$"}]}},
        {"type": "object", "propertyNames": False},
        {"type": "object", "propertyNames": {"type": "integer"}},
        {"properties": {"ab": {"type": "integer"}}, "propertyNames": {"maxLength": 1}},
        {
            "patternProperties": {"^a": {"type": "integer"}},
            "propertyNames": {"not": {"const": "a"}},
        },
    ],
)
def test_names_are_enforced_exactly(law, schema):
    """`propertyNames` becomes properties and patterns."""
    law(schema, {"a": 1}, {"a": 1, "b": 2}, {"ab": 1})


def test_a_format_of_names_is_residual(law):
    """A loose format of names is left to validation."""
    law({"type": "object", "propertyNames": {"format": "hostname"}}, {"a b": 1}, exact=False)


@pytest.mark.parametrize("least", [None, 1, 2, 3])
@pytest.mark.parametrize("most", [None, 0, 1, 2])
@pytest.mark.parametrize(
    "base",
    [
        {"properties": {"a": True, "b": {"type": "integer"}, "c": True}},
        {"properties": {"a": True, "b": True}, "additionalProperties": False},
        {"properties": {"a": True}, "required": ["a", "kind"]},
        {"additionalProperties": {"type": "integer"}},
        {"properties": {"a": True}, "patternProperties": {"^b": True}}
        | {"additionalProperties": False},
    ],
)
def test_counts_of_properties_are_enforced_exactly(law, base, least, most):
    """`minProperties` and `maxProperties` count optional properties, too."""
    schema = {"type": ["object", "null"], **base}
    if least is not None:
        schema["minProperties"] = least
    if most is not None:
        schema["maxProperties"] = most
    law(schema, {"a": 1}, {"b": 1}, {"a": 1, "b": 1}, {"a": 1, "kind": 2}, {"a": 1, "b": 1, "c": 2})


def test_counts_of_many_properties_are_residual(law):
    """Where too many sets of properties would be listed, validation counts."""
    properties = {f"p{n}": {"type": "integer"} for n in range(30)}
    schema = {"type": "object", "properties": properties, "minProperties": 3}
    normalized = law(schema, {"p1": 1}, {"p1": 1, "p2": 1, "p3": 1}, exact=False)
    assert normalized.residual == (("", "minProperties"),)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "contains": {"type": "string"}, "maxItems": 3},
        {"type": "array", "contains": {"type": "string"}, "minContains": 0},
        {"type": "array", "contains": {"type": "string"}, "maxContains": 0, "minContains": 0},
        {"type": "array", "contains": True},
        {"type": "array", "contains": True, "maxContains": 2},
        {"type": "array", "contains": False, "minContains": 0},
        {"prefixItems": [{"type": "integer"}], "items": False, "contains": {"const": 1}},
    ],
)
def test_contained_items_are_enforced_exactly(law, schema):
    """In short arrays it is said which item it is."""
    law(schema, [1], ["a"], [1, "a"], [1, 2, "a"], ["a", "b", "a"])


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "contains": {"type": "string"}},
        {"type": "array", "contains": {"type": "string"}, "minContains": 2},
        {"type": "array", "contains": {"type": "string"}, "maxContains": 1},
    ],
)
def test_contained_items_of_long_arrays_are_residual(law, schema):
    """In arrays of any length the mask asks for enough items, and validation for the right ones."""
    normalized = law(schema, [], [1], ["a"], [1, "a", "b"], exact=False)
    assert {keyword for _, keyword in normalized.residual} <= {
        "contains",
        "minContains",
        "maxContains",
    }


def test_an_item_that_cannot_be_contained(law):
    """An array without room for what it must contain is no option."""
    law({"type": ["array", "null"], "items": {"type": "integer"}, "contains": {"type": "string"}})


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "items": {"enum": [1, 2, "a"]}, "uniqueItems": True},
        {"type": "array", "items": {"type": ["boolean", "null"]}, "uniqueItems": True},
        {"type": "array", "uniqueItems": True, "maxItems": 1},
        {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}]}
        | {"items": False, "uniqueItems": True},
        {"type": "array", "uniqueItems": False},
    ],
)
def test_unique_items_are_enforced_exactly(law, schema):
    """Few values are listed in every order; places that cannot be equal need no check."""
    law(schema, [1, 1], [1, 2], [True, None], [True, True], ["a", 1])


def test_unique_items_of_many_values_are_residual(law):
    """The array is no longer than its values are many; whether they differ is validated."""
    values = [f"v{n}" for n in range(9)]
    schema = {"type": "array", "items": {"enum": values}, "uniqueItems": True}
    normalized = law(schema, ["v1", "v2"], ["v1", "v1"], values, exact=False)
    assert normalized.residual == (("", "uniqueItems"),)
    assert normalized.schema.value["maxItems"] == len(values)


@pytest.mark.parametrize(
    "schema",
    [
        {"enum": [1, 1.0, "a", None, {"a": 1}, [1]], "type": ["integer", "object"]},
        {"enum": ["a", "ab", "abc"], "pattern": "b", "maxLength": 2},
        {"enum": [1, 2, 3], "anyOf": [{"minimum": 3}, {"maximum": 1}]},
        {"enum": [1, 2, 3], "not": {"const": 2}},
        {"const": 1.0},
        {"const": {"b": 1, "a": [True, None]}},
        {"enum": ["2020-02-29", "2019-02-29"], "format": "date"},
        {"allOf": [{"enum": [1, 2]}, {"enum": [2.0, 3]}]},
        {"enum": [[1, "a"], [2]], "items": {"type": "integer"}},
    ],
)
def test_listed_values_are_held_to_what_stands_beside_them(law, schema):
    """Each listed value is tried, so that all keywords beside it are exact."""
    law(schema, {"b": 1, "a": [True, None]}, {"a": 1}, [2], 3, "2019-02-29")


@pytest.mark.parametrize(
    "patterns",
    [
        {"^a": {"type": "integer"}, "b$": {"minimum": 2}},
        {"^a": {"type": "integer"}, "^b": {"type": "string"}},
        {"^a": {"type": "integer"}, "^.b": {"minimum": 2}, "c": {"maximum": 5}},
        {"^(?!a)": {"type": "integer"}},
        {"": {"type": ["integer", "string"]}, "^a": {"type": "integer"}},
        {"^a": False},
    ],
)
@pytest.mark.parametrize("rest", [True, False, {"type": "string"}])
def test_overlapping_patterns_are_enforced_exactly(law, patterns, rest):
    """Names are divided by which patterns match them; declared ones are held to both."""
    schema = {"patternProperties": patterns, "additionalProperties": rest}
    values = [{"a": 1}, {"ab": 1}, {"ab": 3}, {"b": "x"}, {"a": 1, "b": "x"}, {"c": 1}, {"ab": "x"}]
    law(schema, *values)
    law(schema | {"properties": {"ab": {"maximum": 3}}}, *values)


def test_a_recursive_pattern_beside_a_declared_name(law):
    """A declared name that a recursive pattern matches is taken out of the pattern."""
    node = {
        "type": "object",
        "patternProperties": {"^a": {"$ref": "#/$defs/node"}},
        "properties": {"a": {"required": ["b"]}},
    }
    law({"$ref": "#/$defs/node", "$defs": {"node": node}}, {"a": {"b": 1}}, {"a": {}}, {"ab": {}})


def test_patterns_that_are_too_complex_are_residual(law):
    """Overlapping patterns without small automata are left to validation."""
    first, second = "^(a|b)*a(a|b){12}$", "^(a|b)*b(a|b){12}$"
    schema = {"patternProperties": {first: {"type": "integer"}, second: {"type": "string"}}}
    normalized = law(schema, {"a" * 13: 1}, {"a" * 13: "x"}, exact=False)
    assert ("", "patternProperties") in normalized.residual


@pytest.mark.parametrize("kind", ["Length", "Items", "Properties"])
@pytest.mark.parametrize("count", [2**31, 2**64, 10**40])
def test_counts_that_the_engine_does_not_read_are_residual(law, kind, count):
    """A count that no answer reaches is capped or left out, and the schema still compiles."""
    law({f"max{kind}": count, f"min{kind}": 1}, exact=False)
    types = {"Length": "string", "Items": "array", "Properties": "object"}
    law({"type": [types[kind], "null"], f"min{kind}": count}, exact=False)
