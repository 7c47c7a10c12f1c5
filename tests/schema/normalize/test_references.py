"""References: pointers, anchors, identifiers, dynamic scopes, a registry, recursion."""

from __future__ import annotations

import socket

import pytest
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from gemma_structured.exceptions import SchemaError
from gemma_structured.schema.json_schema import JsonSchema
from gemma_structured.schema.normalize import normalize

DRAFT_7 = "http://json-schema.org/draft-07/schema#"


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/$defs/a~1b%25", "$defs": {"a/b%": {"type": "string"}}},
        {"$ref": "#/$defs/é x", "$defs": {"é x": {"type": "string"}}},
        {"$ref": "#name", "$defs": {"x": {"$anchor": "name", "type": "string"}}},
        {"$id": "http://a/b", "$ref": "c", "$defs": {"x": {"$id": "c", "type": "string"}}},
        {"$ref": "#/properties/a", "properties": {"a": {"type": ["string", "object"]}}},
        {"$ref": "#/$defs/x", "minLength": 2, "$defs": {"x": {"type": "string", "maxLength": 3}}},
    ],
)
def test_references_inside_a_schema(law, schema):
    """However a part is named, it is found; keywords beside the reference count."""
    law(schema)


def test_recursion_with_siblings(law):
    """A recursive reference with keywords beside it ends."""
    node = {
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/node", "minProperties": 1}, "b": {"type": "integer"}},
    }
    law({"$ref": "#/$defs/node", "$defs": {"node": node}}, {"a": {}}, {"a": {"a": {"b": 1}}})


def test_two_recursive_schemas_meet(law):
    """The conjunction of two recursive schemas is recursive itself."""
    one = {"properties": {"a": {"$ref": "#/$defs/one"}, "b": {"type": "integer"}}}
    two = {"properties": {"a": {"$ref": "#/$defs/two"}}, "maxProperties": 1}
    schema = {"allOf": [{"$ref": "#/$defs/one"}, {"$ref": "#/$defs/two"}]}
    law(schema | {"$defs": {"one": one, "two": two}}, {"a": {"a": {"b": "x"}}}, {"a": {"b": 1}})


def test_siblings_of_a_reference_say_nothing_in_draft_7(law):
    """Up to draft 7, `$ref` hides what stands beside it."""
    schema = {"$schema": DRAFT_7, "definitions": {"x": {"type": "string"}}}
    law(schema | {"properties": {"a": {"$ref": "#/definitions/x", "maxLength": 1}}}, {"a": "ab"})


def test_dynamic_references_follow_their_scope(law):
    """A `$dynamicRef` leads to the outermost anchor of its name."""
    schema = {
        "$id": "http://a/strings",
        "$ref": "list",
        "$defs": {
            "item": {"$dynamicAnchor": "item", "type": "string"},
            "list": {
                "$id": "list",
                "type": "array",
                "items": {"$dynamicRef": "#item"},
                "$defs": {"any": {"$dynamicAnchor": "item"}},
            },
        },
    }
    law(schema, ["a"], [1])


def test_recursive_references_of_2019(law):
    """A `$recursiveRef` leads to the outermost schema that is recursive."""
    schema = {
        "$schema": "https://json-schema.org/draft/2019-09/schema",
        "$id": "http://a/closed",
        "$recursiveAnchor": True,
        "$ref": "tree",
        "unevaluatedProperties": False,
        "$defs": {
            "tree": {
                "$id": "tree",
                "$recursiveAnchor": True,
                "type": "object",
                "properties": {"a": {"$recursiveRef": "#"}},
            }
        },
    }
    law(schema, {"a": {"a": {}}}, {"a": {"b": 1}})


def test_schemas_elsewhere_come_from_the_registry(law):
    """A registry is all that remote references see; nothing is fetched."""
    remote = Resource.from_contents({"type": "string"}, default_specification=DRAFT202012)
    registry = Registry().with_resource("http://elsewhere/text", remote)
    schema = JsonSchema({"items": {"$ref": "http://elsewhere/text"}}, registry=registry)
    assert normalize(schema).schema.value == {
        "type": ["null", "boolean", "number", "string", "array", "object"],
        "items": {"type": "string"},
    } or normalize(schema).schema.value == {"items": {"type": "string"}}
    with pytest.raises(SchemaError, match="leads nowhere"):
        JsonSchema({"items": {"$ref": "http://elsewhere/text"}})


ELSEWHERE = {
    "http://elsewhere/list": {
        "$id": "http://elsewhere/list",
        "type": "array",
        "items": {"$dynamicRef": "#item"},
        "maxItems": 2,
        "$defs": {"any": {"$dynamicAnchor": "item"}},
    },
    "http://elsewhere/parts": {
        "$id": "http://elsewhere/parts",
        "$defs": {
            "text": {"$anchor": "text", "type": "string", "maxLength": 1},
            "pair": {"$id": "pair", "prefixItems": [{"$ref": "parts#text"}], "type": "array"},
        },
    },
    "http://elsewhere/old": {
        "$schema": DRAFT_7,
        "$id": "http://elsewhere/old",
        "definitions": {"text": {"$id": "#text", "type": "string"}},
        "items": [{"$ref": "#text", "maxLength": 0}, {"$ref": "parts#/$defs/text"}],
        "type": "array",
    },
}


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "http://elsewhere/parts#text"},
        {"$id": "http://elsewhere/here", "$ref": "parts#/$defs/text"},
        {"$ref": "http://elsewhere/pair"},
        {"$ref": "http://elsewhere/old"},
        {"$ref": "http://elsewhere/list"},
        {
            "$id": "http://elsewhere/numbers",
            "$ref": "list",
            "$defs": {"number": {"$dynamicAnchor": "item", "type": "integer"}},
        },
    ],
)
def test_schemas_elsewhere_are_rewritten_with_the_rest(law, schema, monkeypatch):
    """By pointer, anchor, identifier or dynamic scope, in their own draft; no socket is opened."""

    def refuse(*_):
        raise AssertionError("a schema was fetched")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    registry = Registry().with_resources(
        (uri, Resource.from_contents(contents, default_specification=DRAFT202012))
        for uri, contents in ELSEWHERE.items()
    )
    values = [["a"], ["ab"], [1], ["", "a"], ["", "ab"], ["ab", "a"], [1, 2], [1, 2, 3], "ab", "a"]
    law(JsonSchema(schema, registry=registry.crawl()), *values)


def test_metaschemas_are_known(law):
    """The metaschemas of the drafts resolve without a registry."""
    schema = JsonSchema({"$ref": "http://json-schema.org/draft-07/schema#"})
    assert "$defs" in normalize(schema).schema.value


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
        {"allOf": [{"$ref": "#"}], "type": "string"},
        {"anyOf": [{"$ref": "#"}, {"type": "string"}], "minLength": 1},
    ],
)
def test_circles_without_a_step_are_refused(schema):
    """A schema that is defined by itself says nothing."""
    with pytest.raises(SchemaError):
        normalize(JsonSchema.trusted(schema))


def test_booleans_in_drafts_without_them(law):
    """An identifier beside a boolean schema of draft 4 does no harm."""
    schema = {"$schema": "http://json-schema.org/draft-07/schema#", "$id": "http://a/b"}
    part = {"$schema": "http://json-schema.org/draft-04/schema#", "properties": {"a": True}}
    law(schema | {"properties": {"c": part, "b": {"$ref": "#/properties/c"}}}, {"b": {"a": 1}})
