"""Default bounds: what gets one, what does not, and that they only narrow."""

from __future__ import annotations

import datetime as dt  # noqa: TC003 - Pydantic reads the annotation
import json
import time
from decimal import Decimal
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from gemma_structured.exceptions import InputError
from gemma_structured.schema import DEFAULT_BOUNDS, Bounds, JsonSchema, OutputType, bound
from gemma_structured.schema.validator import compile_validator

SMALL = Bounds(
    integer_digits=3, fraction_digits=2, string_length=5, items=2, properties=2, key_length=3
)
BIG = 10**18


class Line(BaseModel):
    """A line."""

    count: Annotated[int, Field(ge=0)]
    price: float
    note: str | None = None


class Bill(BaseModel):
    """A bill."""

    lines: list[Line]
    totals: dict[str, int]
    code: Annotated[str, Field(pattern="^a+$")]
    kind: Literal["a", "b"]
    day: dt.date
    long: Annotated[str, Field(min_length=9_000)]


def test_a_type_and_its_report():
    """Each value that could run away is bounded, once, and the report says where and how."""
    schema, report = bound(OutputType.of(Bill).term, DEFAULT_BOUNDS)
    assert report == (
        ("/$defs/Line/properties/count", "maximum", BIG),
        ("/$defs/Line/properties/price", "minimum", -(10**15)),
        ("/$defs/Line/properties/price", "maximum", 10**15),
        ("/$defs/Line/properties/price", "multipleOf", 1e-9),
        ("/$defs/Line/properties/note/anyOf/0", "maxLength", 4096),
        ("/properties/lines", "maxItems", 256),
        ("/properties/totals", "maxProperties", 256),
        ("/properties/totals", "propertyNames", {"maxLength": 128}),
        ("/properties/totals/additionalProperties", "minimum", -BIG),
        ("/properties/totals/additionalProperties", "maximum", BIG),
        ("/properties/long", "maxLength", 9_000),
    )
    assert schema.value["$defs"]["Line"]["properties"]["count"]["minimum"] == 0
    totals = schema.value["properties"]["totals"]
    assert totals["patternProperties"] == {
        r"^[\s\S]{0,128}$": {"type": "integer", "minimum": -BIG, "maximum": BIG}
    }


def test_none_bounds_nothing():
    """`bounds=None` leaves the schema as it is, and so does a bound of `None`."""
    schema = OutputType.of(Bill).term
    assert bound(schema, None) == (schema, ())
    off = Bounds(
        integer_digits=None,
        fraction_digits=None,
        string_length=None,
        items=None,
        properties=None,
        key_length=None,
    )
    assert bound(schema, off) == (schema, ())
    assert bound(JsonSchema(True), DEFAULT_BOUNDS) == (JsonSchema(True), ())


@pytest.mark.parametrize(
    ("schema", "added"),
    [
        ({"type": "string"}, {"maxLength": 5}),
        ({"type": ["string", "null"]}, {"maxLength": 5}),
        ({"type": "string", "minLength": 9}, {"maxLength": 9}),
        ({"type": "string", "format": "email"}, {"maxLength": 5}),
        ({"type": "string", "format": "int32"}, {"maxLength": 5}),
        ({"type": "integer"}, {"minimum": -1000, "maximum": 1000}),
        ({"type": "integer", "exclusiveMinimum": 5}, {"maximum": 1000}),
        ({"type": "integer", "minimum": 1, "maximum": 5_000}, {}),
        ({"type": "number"}, {"minimum": -1000, "maximum": 1000, "multipleOf": 0.01}),
        ({"type": "number", "multipleOf": 0.5}, {"minimum": -1000, "maximum": 1000}),
        ({"type": ["integer", "number"], "minimum": 0}, {"maximum": 1000, "multipleOf": 0.01}),
        ({"type": "array"}, {"maxItems": 2}),
        ({"type": "array", "minItems": 7}, {"maxItems": 7}),
        ({"type": "array", "prefixItems": [{}, {}, {}]}, {"maxItems": 3}),
        ({"type": "object"}, {"maxProperties": 2, "propertyNames": {"maxLength": 3}}),
        (
            {"type": "object", "required": ["a", "b", "c"], "properties": {"a": {}}},
            {"maxProperties": 3},
        ),
        (
            {"type": "object", "minProperties": 9, "patternProperties": {"a": {}}},
            {"maxProperties": 9},
        ),
    ],
)
def test_what_gets_a_bound(schema, added):
    """A schema that names a type is bounded, by no less than it demands itself."""
    report = bound(JsonSchema(schema), SMALL)[1]
    assert {keyword: value for _, keyword, value in report} == added


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"minLength": 3},
        {"type": "null"},
        {"type": "boolean"},
        {"type": "string", "maxLength": 9_999},
        {"type": "string", "enum": ["a" * 9_999]},
        {"type": "string", "const": "a" * 9_999},
        {"type": "string", "pattern": "a{9999}"},
        {"type": "string", "format": "date"},
        {"type": "string", "format": "uuid"},
        {"type": "integer", "minimum": 5_000},
        {"type": "integer", "maximum": -5_000},
        {"type": "number", "minimum": 0.001, "maximum": 0.002},
        {"type": "array", "maxItems": 9_999},
        {"type": "array", "prefixItems": [{}, {}, {}], "items": False},
        {"type": "object", "additionalProperties": False},
        {"type": "object", "properties": {"a": {}}},
        {"type": "object", "maxProperties": 9, "properties": {"a": {}}},
        {"allOf": [{"type": "string"}, {"minLength": 9_999}]},
        {"type": "string", "allOf": [{"maxLength": 9_999}]},
        {"type": "string", "not": {"maxLength": 9_999}},
        {"type": "string", "if": {"minLength": 9_999}, "then": {}},
        {"not": {"type": "string"}},
        {"$defs": {"S": {"type": "string"}}, "$ref": "#/$defs/S", "minLength": 9_999},
        {"$defs": {"S": {"type": "string"}}, "properties": {"a": {"not": {"$ref": "#/$defs/S"}}}},
        {"$defs": {"S": {"type": "string"}}},
        {"properties": {"a": {"type": "string"}}, "patternProperties": {"a": {"minLength": 9_999}}},
        {"items": {"type": "string"}, "contains": {"minLength": 9_999}},
        {"type": "object", "anyOf": [{"properties": {"a": {}}}, {"required": ["b"]}]},
        {
            "allOf": [
                {"properties": {"a": {"type": "string"}}},
                {"properties": {"a": {"minLength": 9_999}}},
            ]
        },
        {
            "$schema": "http://json-schema.org/draft-07/schema#",
            "type": "string",
            "$ref": "#/definitions/S",
            "definitions": {"S": {"minLength": 9_999}},
        },
    ],
)
def test_what_gets_none(schema):
    """What bounds itself, names no type, or shares its value with what bounds it is left alone."""
    assert bound(JsonSchema(schema), SMALL) == (JsonSchema(schema), ())


def test_shared_schemas_without_bounds_of_their_own_get_one():
    """Several schemas of one value are bounded where none of them bounds it."""
    schema = {"allOf": [{"type": "string"}, {"title": "x"}], "description": "y"}
    assert bound(JsonSchema(schema), SMALL)[1] == (("/allOf/0", "maxLength", 5),)


def test_a_definition_used_in_two_ways_is_left_alone_in_both():
    """One definition cannot be bounded for one user and free for the other."""
    schema = {
        "$defs": {"S": {"type": "string"}},
        "properties": {
            "free": {"$ref": "#/$defs/S"},
            "long": {"$ref": "#/$defs/S", "minLength": 9_999},
        },
    }
    assert bound(JsonSchema(schema), SMALL)[1] == ()


@pytest.mark.parametrize(
    "kwargs",
    [
        {"integer_digits": 0},
        {"integer_digits": 19},
        {"fraction_digits": -1},
        {"fraction_digits": 10},
        {"string_length": 0},
        {"items": 0},
        {"properties": 0},
        {"key_length": -5},
        {"items": "3"},
        {"string_length": 2.5},
        {"fraction_digits": True},
    ],
)
def test_bounds_have_a_range(kwargs):
    """Bounds that allow nothing, that no grammar holds, or that are no counts, are refused."""
    with pytest.raises(InputError, match=next(iter(kwargs))):
        Bounds(**kwargs)


@pytest.mark.parametrize("bounds", [5, [], {"items": 3}, "none", Bounds, False], ids=repr)
def test_what_is_no_bounds_is_refused(bounds):
    """Whatever the schema is, and whether it would be bounded or not."""
    for schema in (JsonSchema({"type": "string"}), JsonSchema({"type": "null"}), JsonSchema(True)):
        with pytest.raises(InputError, match=r"bounds must be gs\.Bounds or None"):
            bound(schema, bounds)


def test_bounds_are_a_value():
    """Equal bounds are equal, so that tasks and caches can be keyed by them."""
    assert Bounds() == DEFAULT_BOUNDS
    assert hash(Bounds(items=3)) == hash(Bounds(items=3))


LEAVES = st.sampled_from(
    [
        {"type": "string"},
        {"type": "string", "minLength": 3},
        {"type": "integer"},
        {"type": "number", "minimum": 0},
        {"type": ["string", "null"]},
        {"type": "boolean"},
        {"enum": [1, "abcdefgh", None]},
        {},
        {"type": "array", "items": {"$ref": "#"}},
    ]
)


def _grow(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    names = st.sampled_from(["a", "b", "c"])
    return st.one_of(
        st.builds(lambda items: {"type": "array", "items": items}, inner),
        st.builds(
            lambda properties, more: {"type": "object", "properties": properties, **more},
            st.dictionaries(names, inner, max_size=3),
            st.sampled_from([{}, {"additionalProperties": False}, {"required": ["a"]}]),
        ),
        st.builds(lambda values: {"type": "object", "additionalProperties": values}, inner),
        st.builds(lambda one, two: {"anyOf": [one, two]}, inner, inner),
        st.builds(lambda one, two: {"allOf": [one, two]}, inner, inner),
        st.builds(lambda one, two: {"not": one, **two}, inner, inner),
        st.builds(lambda one: {**one, "minLength": 2, "title": "t"}, inner),
    )


SCHEMAS = st.recursive(LEAVES, _grow, max_leaves=6)
INSTANCES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2_000, 2_000)
    | st.sampled_from([0.5, 0.125, 1e20, 3.0])
    | st.text("ab", max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["a", "b", "c", "dddd"]), inner, max_size=4)
    ),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(SCHEMAS, INSTANCES)
def test_bounds_only_narrow(schema, instance):
    """What a bounded schema allows, the schema allows; and bounding twice adds nothing."""
    original = JsonSchema(schema)
    bounded, report = bound(original, SMALL)
    assert bounded.dialect is original.dialect
    if compile_validator(bounded).is_valid(instance):
        assert compile_validator(original).is_valid(instance)
    assert (not report) == (bounded == original)
    assert bound(bounded, SMALL)[1] == ()


@settings(max_examples=200, deadline=None)
@given(SCHEMAS)
def test_the_report_names_places(schema):
    """Every pointer of the report leads to a schema, which bears the keyword from then on."""
    bounded, report = bound(JsonSchema(schema), SMALL)
    for where, keyword, value in report:
        node: Any = bounded.value
        for part in where.split("/")[1:]:
            if isinstance(node, dict) and part == "additionalProperties" and part in node:
                node = node[part] or next(iter(node["patternProperties"].values()))
            else:
                node = node[int(part) if isinstance(node, list) else part]
        if keyword != "propertyNames":
            assert node[keyword] == value
        else:
            assert list(node["patternProperties"]) == [rf"^[\s\S]{{0,{value['maxLength']}}}$"]


def test_bounds_compile():
    """Llguidance takes every bound, holds it exactly, and writes no exponent."""
    llguidance = pytest.importorskip("llguidance")
    tokenizer = llguidance.LLTokenizer("byte")

    def allows(spec, text):
        schema = json.dumps(bound(OutputType.of(spec).term, DEFAULT_BOUNDS)[0].value)
        grammar = llguidance.grammar_from("json_schema", schema)
        matcher = llguidance.LLMatcher(tokenizer, grammar, log_level=0)
        data = list(text.encode())
        return matcher.try_consume_tokens(data) == len(data) and matcher.is_accepting()

    assert allows(int, "-1" + "0" * 18)
    assert not allows(int, "1" + "0" * 17 + "01")
    assert allows(float, "999999999999999.999999999")
    assert not allows(float, "1.0000000001")
    assert not allows(float, "1e5")
    assert allows(str, '"' + "é" * 4096 + '"')
    assert not allows(str, '"' + "a" * 4097 + '"')
    assert not allows(list[int], f"[{','.join('1' * 257)}]")
    assert allows(dict[str, int], '{"' + "k" * 128 + '":1}')
    assert not allows(dict[str, int], '{"' + "k" * 129 + '":1}')
    assert allows(Decimal, '"1.50"')


def test_many_shared_definitions_take_bounded_time():
    """2,000 places that combine one definition with constraints are looked through in seconds."""
    schema = JsonSchema(
        {
            "$defs": {
                "D": {
                    "type": "object",
                    "properties": {f"x{i}": {"type": "string"} for i in range(50)},
                }
            },
            "properties": {
                f"p{i}": {"allOf": [{"$ref": "#/$defs/D"}, {"minProperties": i % 7}]}
                for i in range(2_000)
            },
        }
    )
    before = time.perf_counter()
    bound(schema, SMALL)
    assert time.perf_counter() - before < 5
