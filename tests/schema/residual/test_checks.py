"""Residual keywords are checked at the value that they concern, as soon as it is closed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from gemma_structured.parsing.partial import JsonValueParser
from gemma_structured.schema.encode import input_form
from gemma_structured.schema.json_schema import JsonSchema
from gemma_structured.schema.normalize import normalize
from gemma_structured.schema.output_type import OutputType
from gemma_structured.schema.residual import ResidualChecks

if TYPE_CHECKING:
    from gemma_structured.schema.residual import ResidualFollower

SET = {"type": "array", "items": {"type": "string"}, "uniqueItems": True}
LIST = {"type": "array", "items": {"type": "string"}}
DRAFT_7 = "http://json-schema.org/draft-07/schema#"
DRAFT_2019 = "https://json-schema.org/draft/2019-09/schema"


def closed(**properties: Any) -> dict[str, Any]:
    """An object of just these properties."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def checks_of(schema: Any, **options: Any) -> ResidualChecks:
    parsed = JsonSchema(schema, **options)
    checks = ResidualChecks.of(parsed, normalize(parsed).residual)
    assert checks is not None, "nothing is residual"
    return checks


def refused(schema: Any, value: Any, **options: Any) -> tuple[str | int, ...] | None:
    """Where a value is refused while it is written; `None` if it is not."""
    return walk(checks_of(schema, **options).follow(), value)


def walk(follower: ResidualFollower, value: Any) -> tuple[str | int, ...] | None:
    parser = JsonValueParser()
    parser.feed(OutputType.of(JsonSchema(True)).dump(input_form(value)))
    parser.finish()
    return next(
        (path for path, part in parser.closed_events if not follower.close(path, part)), None
    )


def test_a_schema_that_the_mask_holds_has_no_checks():
    """There is nothing to do, and nothing is done."""
    schema = JsonSchema({"type": "string", "minLength": 2})
    assert ResidualChecks.of(schema, normalize(schema).residual) is None


@pytest.mark.parametrize(
    ("schema", "wrong", "at", "right"),
    [
        (SET, ["a", "b", "a", "c"], (2,), ["a", "b"]),
        ({"type": "array", "uniqueItems": True}, [1, True, 1.0], (2,), [1, True, [1], "1"]),
        (closed(tags=SET), {"tags": ["a", "a"]}, ("tags", 1), {"tags": ["a"]}),
        (
            {"type": "array", "contains": {"type": "integer", "multipleOf": 3}},
            [1, "3"],
            (),
            [1, 3],
        ),
        (closed(a={"type": "string", "format": "regex"}), {"a": "("}, ("a",), {"a": "()"}),
        (
            {"type": "object", "not": {"properties": {"a": {"multipleOf": 2}, "b": {"minimum": 1}}}}
            | {"properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}},
            {"a": 2, "b": 3},
            (),
            {"a": 1, "b": 3},
        ),
        (
            {"type": "array", "items": {"oneOf": [{"type": "integer"}, {"multipleOf": 1.5}]}},
            [1, 3],
            (1,),
            [1, 1.5],
        ),
    ],
)
def test_each_keyword_is_checked_at_its_value(schema, wrong, at, right):
    """A repeated item is refused itself; all else when the value closes that holds the keyword."""
    assert refused(schema, wrong) == at
    assert refused(schema, right) is None


@pytest.mark.parametrize(
    ("schema", "wrong", "at"),
    [
        ({"anyOf": [SET, {"type": "null"}]}, ["a", "a"], (1,)),
        (closed(x={"anyOf": [SET, {"type": "null"}]}), {"x": ["a", "a"]}, ("x", 1)),
        (
            {"anyOf": [{"type": "array", "items": SET}, {"type": "null"}]},
            [["a"], ["b", "b"]],
            (1, 1),
        ),
        (
            {"anyOf": [closed(kind={"const": "a"}, x=SET), closed(kind={"const": "b"}, x=LIST)]},
            {"kind": "a", "x": ["a", "a"]},
            ("x", 1),
        ),
        (
            {"anyOf": [closed(x=SET), closed(x={"type": "array", "items": {"type": "integer"}})]},
            {"x": ["a", "a"]},
            ("x", 1),
        ),
        ({"anyOf": [{"enum": ["x", 1]}, SET]}, ["a", "a"], (1,)),
        ({"oneOf": [closed(x=SET), closed(y=SET)]}, {"y": ["a", "a"]}, ("y", 1)),
    ],
)
def test_alternatives_are_ruled_out_by_what_is_closed(schema, wrong, at):
    """Of a union, only the alternatives count that the members before have left."""
    assert refused(schema, wrong) == at


def test_an_alternative_that_is_left_allows_what_it_allows():
    """As long as one of them takes the value, it stands."""
    schema = {"anyOf": [closed(kind={"const": "a"}, x=SET), closed(kind={"const": "b"}, x=LIST)]}
    assert refused(schema, {"kind": "b", "x": ["a", "a"]}) is None


def test_many_alternatives_are_not_followed():
    """Then the union is checked where its own value closes."""
    options = [closed(kind={"const": f"k{i}"}, x=SET) for i in range(70)]
    assert refused({"anyOf": options}, {"kind": "k1", "x": ["a", "a"]}) == ()
    assert refused({"anyOf": [*options, SET]}, ["a", "a"]) == ()


@pytest.mark.parametrize(
    ("schema", "wrong", "at"),
    [
        (
            {"$ref": "#/$defs/node", "$defs": {"node": closed(x=SET) | {"required": []}}},
            {"x": ["a", "a"]},
            ("x", 1),
        ),
        (
            {
                "$ref": "#/$defs/t",
                "$defs": {
                    "t": {"type": "array", "items": {"$ref": "#/$defs/t"}, "uniqueItems": True}
                },
            },
            [[[], [[]], []]],
            (0, 2),
        ),
        (
            {"$id": "http://a/b", "$ref": "c", "$defs": {"x": {"$id": "c", "$ref": "#s"}}}
            | {"$defs": {"x": {"$id": "c", "$ref": "#s", "$defs": {"s": {"$anchor": "s", **SET}}}}},
            ["a", "a"],
            (1,),
        ),
        (
            {"$schema": DRAFT_7, "items": {"$ref": "#/definitions/s", "uniqueItems": True}}
            | {"definitions": {"s": {"type": "array", "items": {"format": "regex"}}}},
            [["a", "a"], ["("]],
            (1, 0),
        ),
        ({"$schema": DRAFT_2019, "items": [{"type": "string"}, SET]}, ["a", ["a", "a"]], (1, 1)),
        (
            {"$schema": DRAFT_7, "items": [{"type": "string"}], "additionalItems": SET},
            ["a", ["a", "a"]],
            (1, 1),
        ),
        (
            {"patternProperties": {"^x": SET}, "additionalProperties": LIST},
            {"xa": ["a", "a"]},
            ("xa", 1),
        ),
        ({"properties": {"a": LIST}, "additionalProperties": SET}, {"b": ["a", "a"]}, ("b", 1)),
        (
            {
                "$id": "http://a/strings",
                "$ref": "list",
                "$defs": {
                    "item": {"$dynamicAnchor": "item", **SET},
                    "list": {
                        "$id": "list",
                        "type": "array",
                        "items": {"$dynamicRef": "#item"},
                        "$defs": {"any": {"$dynamicAnchor": "item"}},
                    },
                },
            },
            [["a"], ["a", "a"]],
            (1,),
        ),
    ],
)
def test_schemas_are_followed_to_their_members(schema, wrong, at):
    """Through references, recursion, drafts and keys by pattern."""
    assert refused(schema, wrong) == at


def test_what_a_member_must_be_as_well_is_not_what_it_is_refused_for():
    """Keys that only one keyword speaks of are checked by that one."""
    schema = {
        "properties": {"a": LIST},
        "patternProperties": {"^x": SET},
        "additionalProperties": SET,
    }
    assert refused(schema, {"a": ["a", "a"], "x": ["b"]}) is None


def test_residuals_of_schemas_elsewhere():
    """A remote schema that the registry gives is checked like the rest."""
    remote = Resource.from_contents({"items": SET}, default_specification=DRAFT202012)
    registry: Registry[Any] = Registry().with_resource("http://elsewhere/sets", remote)
    schema = {"type": "object", "properties": {"x": {"$ref": "http://elsewhere/sets"}}}
    assert refused(schema, {"x": [["a"], ["b", "b"]]}, registry=registry) == ("x", 1, 1)


def test_a_residual_that_is_not_found_is_looked_for_everywhere():
    """Then every value is checked, and still none that is right is refused."""
    checks = ResidualChecks(JsonSchema(closed(x=SET)), [("/nowhere", "uniqueItems")])
    assert walk(checks.follow(), {"x": ["a", "a"]}) == ("x", 1)
    assert walk(checks.follow(), {"x": ["a"]}) is None
    assert checks.follow().is_checked(())


def test_what_is_checked_is_known_while_it_is_open():
    """So that its text can be held back, and no other text is."""
    schema = closed(name={"type": "string"}, tags=SET, more={"type": "array", "items": SET})
    follower = checks_of(schema).follow()
    assert [
        path
        for path in [(), ("name",), ("tags",), ("tags", 0), ("more",), ("more", 0), ("more", 0, 1)]
        if follower.is_checked(path)
    ] == [("tags", 0), ("more", 0, 1)]


def test_asking_about_a_container_forgets_nothing_of_what_is_in_it():
    """In whatever order a reader asks what is checked, items that were there are known."""
    follower = checks_of(closed(tags=SET)).follow()
    assert follower.close(("tags", 0), "a")
    assert not follower.is_checked(("tags",))
    assert follower.is_checked(("tags", 1))
    assert not follower.close(("tags", 1), "a")


def test_what_was_found_to_stand_is_not_checked_again():
    """Read a second time, values only count as those that later ones must differ from."""
    follower = checks_of(closed(tags=SET)).follow()
    assert follower.close(("tags", 0), "a", known=True)
    assert not follower.close(("tags", 1), "a")


def test_depth_is_left_to_validation():
    """A value that nests too deeply to be checked is not refused here."""
    node = {"type": "array", "items": {"$ref": "#/$defs/t"}}
    schema: Any = {"$ref": "#/$defs/t", "$defs": {"t": node}}
    schema["$defs"]["t"]["uniqueItems"] = True
    deep: Any = []
    for _ in range(400):
        deep = [deep]
    follower = checks_of(schema).follow()
    assert follower.close((), deep)
