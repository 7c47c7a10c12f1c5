"""`JsonSchema`: a value that is walked, transformed, resolved, compared, and refused with a path."""

from __future__ import annotations

import inspect
import json
import re
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemma_structured.exceptions import InputError, OutputValidationError, SchemaError
from gemma_structured.parsing.validate import validate
from gemma_structured.schema import JsonSchema
from gemma_structured.schema.bounds import DEFAULT_BOUNDS, Bounds, bound
from gemma_structured.schema.normalize import normalize
from gemma_structured.schema.output_type import OutputType
from gemma_structured.schema.plain_json import MAX_DEPTH, MAX_VALUES

TREE = {
    "title": "Tree",
    "type": "object",
    "properties": {
        "value": {"type": "integer"},
        "children": {"type": "array", "items": {"$ref": "#"}},
    },
    "$defs": {"Leaf": {"anyOf": [{"type": "null"}, False]}},
}


def test_walk_yields_every_schema_with_its_path():
    """Parents come first, in the order written; booleans are schemas too; references stay."""
    assert [path for path, _ in JsonSchema(TREE).walk()] == [
        (),
        ("properties", "value"),
        ("properties", "children"),
        ("properties", "children", "items"),
        ("$defs", "Leaf"),
        ("$defs", "Leaf", "anyOf", 0),
        ("$defs", "Leaf", "anyOf", 1),
    ]


def test_walk_leaves_instance_data_alone():
    """What stands in const, enum, default and examples is no schema, nor is a property's name."""
    schema = JsonSchema(
        {"enum": [{"type": "string"}], "default": {"items": {}}, "properties": {"$ref": {}}}
    )
    assert [path for path, _ in schema.walk()] == [(), ("properties", "$ref")]


def test_transform_rebuilds_from_the_leaves():
    """The function sees each schema with its new children; the original stays as it was."""
    schema = JsonSchema(TREE)
    before = schema.canonical
    seen = []

    def widen(path, node):
        seen.append(path)
        if isinstance(node, dict) and node.get("type") == "integer":
            return {"type": "number"}
        return node

    changed = schema.transform(widen)
    assert changed.value["properties"]["value"] == {"type": "number"}
    assert changed.value["properties"]["children"] == TREE["properties"]["children"]
    assert seen.index(("properties", "value")) < seen.index(())
    assert schema.canonical == before


def test_transform_by_identity_is_equal():
    """Changing nothing gives an equal schema."""
    schema = JsonSchema(TREE)
    assert schema.transform(lambda _, node: node) == schema


@pytest.mark.parametrize(
    ("ref", "found"),
    [
        ("#", "root"),
        ("#/$defs/a~1b", "slash"),
        ("#/$defs/c%25d", "percent"),
        ("#here", "anchor"),
        ("other", "embedded"),
        ("http://x.y/other#/$defs/inner", "inner"),
    ],
)
def test_resolve_follows_local_references(ref, found):
    """Pointers, escapes, anchors and embedded identifiers lead to their schema."""
    schema = JsonSchema(
        {
            "$id": "http://x.y/root",
            "title": "root",
            "$defs": {
                "a/b": {"title": "slash"},
                "c%d": {"title": "percent"},
                "e": {"$anchor": "here", "title": "anchor"},
                "f": {
                    "$id": "other",
                    "title": "embedded",
                    "$defs": {"inner": {"title": "inner"}},
                },
            },
        }
    )
    assert schema.resolve(ref)["title"] == found


@pytest.mark.parametrize("keyword", ["$ref", "$dynamicRef"])
def test_a_reference_that_leads_nowhere_is_named(keyword):
    """The error has the keyword that the reference is the value of."""
    with pytest.raises(SchemaError) as caught:
        JsonSchema({"items": {keyword: "#nowhere"}})
    assert (caught.value.path, caught.value.keyword) == (f"/items/{keyword}", keyword)


def test_resolve_is_relative_to_the_place():
    """Below an `$id`, `#` is that schema and not the root."""
    schema = JsonSchema({"$defs": {"x": {"$id": "http://a/x", "title": "x", "not": {}}}})
    assert schema.resolve("#", base=("$defs", "x", "not"))["title"] == "x"


def test_metaschemas_resolve_without_a_network():
    """A schema may refer to the metaschema of its draft."""
    schema = JsonSchema({"$ref": "https://json-schema.org/draft/2020-12/schema"})
    assert schema.resolve(schema.value["$ref"])["$dynamicAnchor"] == "meta"


def test_equality_is_by_meaning_of_order():
    """Keywords may come in any order; properties may not, for models write them in it."""
    one = JsonSchema({"type": "object", "properties": {"a": {}, "b": {}}})
    same = JsonSchema({"properties": {"a": {}, "b": {}}, "type": "object"})
    other = JsonSchema({"type": "object", "properties": {"b": {}, "a": {}}})
    assert one == same
    assert hash(one) == hash(same)
    assert one != other
    assert one != "a schema"


def test_drafts_are_not_equal():
    """The same keywords under two drafts are two schemas."""
    old = {"$schema": "http://json-schema.org/draft-07/schema#"}
    assert JsonSchema.trusted({}, JsonSchema(old).dialect) != JsonSchema({})


def test_it_is_a_copy():
    """What becomes of the value that was passed in does not matter."""
    given = {"enum": [1]}
    schema = JsonSchema(given)
    given["enum"].append(2)
    assert schema.value == {"enum": [1]}


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        (None, "2020-12"),
        ("http://json-schema.org/draft-04/schema", "draft-04"),
        ("https://json-schema.org/draft-07/schema#", "draft-07"),
        ("https://json-schema.org/draft/2019-09/schema", "2019-09"),
        ("http://json-schema.org/schema#", "2020-12"),
    ],
)
def test_draft_is_named_by_schema(uri, name):
    """`$schema` names the draft, whatever its scheme and trailing `#`."""
    assert JsonSchema({} if uri is None else {"$schema": uri}).dialect.name == name


@pytest.mark.parametrize(
    ("value", "path", "keyword"),
    [
        ({"type": "strin"}, "/type", "type"),
        ({"properties": {"a/b": {"type": "strin"}}}, "/properties/a~1b/type", "type"),
        ({"items": {"minLength": "3"}}, "/items/minLength", "minLength"),
        ({"required": "a"}, "/required", "required"),
        ({"properties": {"a": 3}}, "/properties/a", "a"),
        ({"anyOf": []}, "/anyOf", "anyOf"),
        ({"pattern": "("}, "/pattern", "pattern"),
        ({"items": {"pattern": r"a\Z"}}, "/items/pattern", "pattern"),
        ({"patternProperties": {"[": {}}}, "/patternProperties/[", "patternProperties"),
        ({"items": {"$ref": "#/$defs/x"}}, "/items/$ref", "$ref"),
        ({"$ref": "#nowhere"}, "/$ref", "$ref"),
        ({"$ref": "https://example.org/schema.json"}, "/$ref", "$ref"),
        ({"$ref": "#/title", "title": "x"}, "/$ref", "$ref"),
        ({"$ref": "a b%"}, "/$ref", "$ref"),
        ({"$ref": "#"}, "", None),
        ({"items": {"anyOf": [{"type": "null"}, {"$ref": "#/items"}]}}, "/items", None),
        ({"$defs": {"a": {"not": {"$ref": "#/$defs/a"}}}}, "/$defs/a", None),
        ({"$schema": "https://example.org/mine"}, "/$schema", "$schema"),
        ({"$schema": 3}, "/$schema", "$schema"),
    ],
)
def test_refuses_bad_schemas_with_the_place(value, path, keyword):
    """A schema that means nothing is refused when it is made, and the error says where."""
    with pytest.raises(SchemaError) as caught:
        JsonSchema(value)
    assert (caught.value.path, caught.value.keyword) == (path, keyword)


def test_a_slip_in_a_type_gets_a_hint():
    """The nearest type is suggested."""
    with pytest.raises(SchemaError, match="Did you mean 'string'"):
        JsonSchema({"type": "strin"})


def _endless_dict():
    loop = {"type": "object"}
    loop["properties"] = {"again": loop}
    return loop


def _endless_list():
    loop = []
    loop.append(loop)
    return {"allOf": loop}


def _laughing():
    value = {}
    for _ in range(60):
        value = {"a": value, "b": value}
    return {"properties": value}


def _deep(levels):
    schema = {"type": "integer"}
    for _ in range(levels):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


@pytest.mark.parametrize(
    "value",
    [
        None,
        3,
        "{}",
        [],
        {1: {}},
        {"minimum": float("nan")},
        {"minimum": float("inf")},
        {"const": {1, 2}},
        {"const": b"x"},
        {"title": "\ud800"},
        {"\udfff": 1},
        {"const": 1 << 10_000},
        _endless_dict(),
        _endless_list(),
        _laughing(),
        _deep(5_000),
    ],
    ids=lambda value: str(type(value).__name__),
)
def test_refuses_what_is_not_json(value):
    """What json.dumps could not write, or never would have done with, is refused in bounded time."""
    before = time.perf_counter()
    with pytest.raises(SchemaError) as caught:
        JsonSchema(value)
    assert time.perf_counter() - before < 5
    assert len(str(caught.value)) < 2_000


def test_the_limit_of_values_is_told_and_raised():
    """A schema may hold so many values; the error says how many, and its hint lets it hold more."""
    schema = {"enum": [f"v{i}" for i in range(MAX_VALUES)]}
    with pytest.raises(SchemaError, match="more than 250,000 values") as caught:
        JsonSchema(schema)
    raised = re.search(r"JsonSchema\(\.\.\., max_values=(\d+)\)", str(caught.value.hint))
    assert raised is not None
    assert JsonSchema(schema, max_values=int(raised[1])).value == schema
    with pytest.raises(SchemaError, match="more than 9 values"):
        JsonSchema({"enum": list(range(9))}, max_values=9)
    for value in (0, "9", float("nan"), None):
        with pytest.raises(InputError, match="max_values"):
            JsonSchema({}, max_values=value)


@pytest.mark.parametrize(
    "value",
    [
        _deep(MAX_DEPTH),
        {"const": 1 << 5_000},
        {"pattern": "a" * 70_000},
        {"pattern": "(" * 61 + "a" + ")" * 61 + "(?=b)"},
    ],
    ids=["depth", "digits", "length of a pattern", "nesting of a pattern"],
)
def test_fixed_limits_say_what_to_do(value):
    """Where a limit cannot be raised, the error says so and names the way round it."""
    with pytest.raises(SchemaError) as caught:
        JsonSchema(value)
    assert "This limit is fixed: " in str(caught.value.hint)


HUGE = {
    "2,000 properties": {
        "type": "object",
        "properties": {f"p{i}": {"type": "string", "minLength": 1} for i in range(2_000)},
    },
    "10,000 enum members": {"enum": [f"option {i}" for i in range(10_000)]},
    "10,000 mixed members of draft 4": {
        "$schema": "http://json-schema.org/draft-04/schema#",
        "enum": [{"a": [i, None]} for i in range(10_000)],
    },
    "60 levels": _deep(60),
    "2,000 definitions": {
        "$defs": {
            f"d{i}": {"properties": {"next": {"$ref": f"#/$defs/d{(i + 1) % 2_000}"}}}
            for i in range(2_000)
        }
    },
}


@pytest.mark.parametrize("name", HUGE)
def test_huge_schemas_are_read_in_bounded_time(name):
    """Schemas of the size that people generate are read in seconds."""
    before = time.perf_counter()
    schema = JsonSchema(HUGE[name])
    assert sum(1 for _ in schema.walk()) >= 1
    assert json.loads(schema.canonical) == HUGE[name]
    assert time.perf_counter() - before < 5


@pytest.mark.parametrize("levels", [60, 99])
def test_deep_schemas_are_read_in_any_caller(levels):
    """As deep as schemas may be, they are checked, and faults are found, on whatever stack."""

    def dive(frames, schema):
        return dive(frames - 1, schema) if frames else JsonSchema(schema)

    assert dive(400, _deep(levels)).value == _deep(levels)
    faulty = json.loads(json.dumps(_deep(levels)).replace("integer", "int"))
    with pytest.raises(SchemaError) as caught:
        dive(400, faulty)
    assert caught.value.path == "/properties/a" * levels + "/type"
    assert caught.value.keyword == "type"
    schema, _ = bound(JsonSchema(_deep(levels)), DEFAULT_BOUNDS)
    assert normalize(schema).exact


def test_the_end_of_the_stack_is_told():
    """On a stack that is nearly used up, a deep schema is refused in words that help."""
    schema = JsonSchema(_deep(99))

    def dive(frames, use):
        return dive(frames - 1, use) if frames else use()

    for use in (
        lambda: JsonSchema(_deep(99)),
        lambda: bound(schema, Bounds()),
        lambda: normalize(schema),
    ):
        with pytest.raises(SchemaError, match=r"stack that is left.*setrecursionlimit"):
            dive(sys.getrecursionlimit() - len(inspect.stack()) - 60, use)


def test_repr_is_short():
    """A repr shows the beginning of a long schema."""
    assert len(repr(JsonSchema(HUGE["10,000 enum members"]))) < 100


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "items", "anyOf", "$ref", "properties", "$id", "enum", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_any_value_is_a_schema_or_a_schema_error(value):
    """Whatever is given: a schema, or SchemaError."""
    try:
        schema = JsonSchema(value)
    except SchemaError:
        return
    assert JsonSchema(json.loads(schema.canonical)) == schema


def test_formats_are_asserted_or_annotations():
    """What a schema says of its formats holds in the mask, in the bounds and in validation."""
    schema = {"type": "string", "format": "date"}
    asserted, annotated = JsonSchema(schema), JsonSchema(schema, formats="annotation")
    assert (asserted.formats, annotated.formats) == ("assertion", "annotation")
    assert asserted != annotated
    assert annotated.transform(lambda _, node: node) == annotated
    with pytest.raises(OutputValidationError, match="format"):
        validate(OutputType.of(asserted), '"soon"')
    assert validate(OutputType.of(annotated), '"soon"') == "soon"
    assert bound(asserted, Bounds())[1] == ()
    assert bound(annotated, Bounds())[1] == (("", "maxLength", 4096),)
    with pytest.raises(InputError, match="annotation"):
        JsonSchema(schema, formats="maybe")
