"""What older drafts call and mean differently."""

from __future__ import annotations

import pytest
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from gemma_structured.exceptions import SchemaError
from gemma_structured.schema.json_schema import JsonSchema
from gemma_structured.schema.normalize import normalize
from gemma_structured.schema.validator import compile_validator

DRAFT_3 = "http://json-schema.org/draft-03/schema#"
DRAFT_4 = "http://json-schema.org/draft-04/schema#"
DRAFT_6 = "http://json-schema.org/draft-06/schema#"
DRAFT_7 = "http://json-schema.org/draft-07/schema#"
DRAFT_2019 = "https://json-schema.org/draft/2019-09/schema"


@pytest.mark.parametrize(
    "schema",
    [
        {"$schema": DRAFT_3, "divisibleBy": 2, "type": "integer"},
        {"$schema": DRAFT_3, "properties": {"a": {"required": True, "type": "any"}}},
        {"$schema": DRAFT_4, "minimum": 1, "exclusiveMinimum": True, "type": "number"},
        {"$schema": DRAFT_4, "maximum": 2, "exclusiveMaximum": False, "type": "number"},
        {"$schema": DRAFT_6, "exclusiveMinimum": 1, "type": "number"},
        {"$schema": DRAFT_7, "items": [{"type": "string"}], "additionalItems": False},
        {"$schema": DRAFT_7, "items": [{"type": "string"}], "additionalItems": {"type": "null"}},
        {"$schema": DRAFT_7, "items": {"type": "string"}, "additionalItems": False},
        {"$schema": DRAFT_2019, "items": [True, {"const": 1}], "unevaluatedItems": False},
        {
            "$schema": DRAFT_7,
            "definitions": {"x": {"const": 1}},
            "not": {"$ref": "#/definitions/x"},
        },
        {"$schema": DRAFT_4, "id": "http://a/b", "definitions": {"x": {"id": "#x", "type": "null"}}}
        | {"properties": {"a": {"$ref": "#x"}}},
    ],
)
def test_older_keywords_keep_their_meaning(law, schema):
    """The draft that `$schema` names is the one that counts."""
    law(schema, ["a", None], ["a", 1], 1, 1.5, 2)


def test_what_a_draft_does_not_have_says_nothing(law):
    """Draft 4 has no `const`, draft 6 no `if`."""
    assert law({"$schema": DRAFT_4, "const": 1}).schema.value in (True, {})
    assert law({"$schema": DRAFT_6, "if": True, "then": False}).schema.value in (True, {})


def test_what_only_draft_3_has_is_residual(law):
    """`disallow` and `extends` are left to validation."""
    normalized = law({"$schema": DRAFT_3, "disallow": "string"}, exact=False)
    assert normalized.residual == (("", "disallow"),)


def test_residuals_have_the_names_of_their_draft():
    """A residual names the keyword that stands in the original schema."""
    schema = {"$schema": DRAFT_4, "dependencies": {f"p{n}": [f"q{n}"] for n in range(12)}}
    assert set(normalize(JsonSchema(schema)).residual) == {("", "dependencies")}


@pytest.mark.parametrize(
    ("schema", "value"), [({"maxLength": 2.0}, "ab"), ({"type": "integer", "minimum": 2.0}, 2)]
)
def test_integers_may_be_written_as_floats(law, schema, value):
    """`2.0` as a keyword's value is `2`."""
    law(schema, value, "abc", 1)


def _registry(vocabularies):
    root = "https://json-schema.org/draft/2020-12"
    metaschema = {
        "$schema": f"{root}/schema",
        "$id": "http://a/meta",
        "$vocabulary": {
            (name if "://" in name else f"{root}/vocab/{name}"): required
            for name, required in vocabularies.items()
        },
    }
    resource = Resource.from_contents(metaschema, default_specification=DRAFT202012)
    return Registry().with_resource("http://a/meta", resource)


def test_a_metaschema_without_a_vocabulary_drops_its_keywords():
    """Where a metaschema has no `validation`, `minimum` says nothing, in mask and validation."""
    registry = _registry({"core": True, "applicator": True})
    value = {"$schema": "http://a/meta", "properties": {"a": {"minimum": 10}, "b": False}}
    schema = JsonSchema(value, registry=registry)
    assert normalize(schema).schema.value["properties"] == {"a": True, "b": False}
    valid = compile_validator(schema)
    assert valid.is_valid({"a": 1})
    assert not valid.is_valid({"b": 1})


def test_vocabularies_that_nobody_knows():
    """One that is optional is ignored; one that is required is an error, as is no metaschema."""
    value = {"$schema": "http://a/meta", "type": "integer"}
    known = {"core": True, "validation": True, "applicator": True, "unevaluated": True}
    schema = JsonSchema(value, registry=_registry({**known, "http://a/vocab": False}))
    assert normalize(schema).schema.value == {"type": "integer"}
    with pytest.raises(SchemaError, match="http://a/vocab"):
        JsonSchema(value, registry=_registry({**known, "http://a/vocab": True}))
    with pytest.raises(SchemaError, match="not known"):
        JsonSchema(value)
