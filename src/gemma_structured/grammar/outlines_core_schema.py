"""Which JSON Schemas outlines-core enforces exactly.

It ignores keywords that it does not know, reads `allOf` as a sequence and `oneOf` as `anyOf`,
unrolls recursion three times, and lets no object have keys that are not named. So what it may be
given is listed here, and anything else is not supported.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from gemma_structured.types import pointer

if TYPE_CHECKING:
    from gemma_structured.types import JsonValue

__all__ = ["regex_length", "unsupported_keyword"]

_ANNOTATIONS: Final = frozenset(
    {
        "$comment",
        "$defs",
        "$schema",
        "default",
        "definitions",
        "deprecated",
        "description",
        "examples",
        "readOnly",
        "title",
        "writeOnly",
    }
)
_KEYWORDS: Final = {
    "string": {"minLength", "maxLength"},
    "integer": set[str](),
    "number": set[str](),
    "boolean": set[str](),
    "null": set[str](),
    "array": {"items", "minItems", "maxItems"},
    "object": {"properties", "required", "additionalProperties"},
}

_Path = tuple[str | int, ...]


def unsupported_keyword(schema: JsonValue) -> tuple[str, str] | None:
    """The first place where outlines-core would allow more, or less, than the schema does.

    Returns:
        A JSON Pointer and the keyword (or what else it is); `None` if the schema is enforced
        exactly.
    """
    found = _Check(schema).visit(schema, (), ())
    return None if found is None else (pointer(found[0]), found[1])


class _Check:
    def __init__(self, root: JsonValue) -> None:
        self._root = root
        self._checked: set[str] = set()

    def visit(
        self, schema: JsonValue, path: _Path, opened: tuple[str, ...]
    ) -> tuple[_Path, str] | None:
        """`opened` are the references that lead here: one that comes again recurs."""
        if not isinstance(schema, dict):
            return path, "a boolean schema"
        keywords = schema.keys() - _ANNOTATIONS
        if "$ref" in keywords:
            return self._reference(schema["$ref"], keywords, path, opened)
        if "anyOf" in keywords:
            return self._options(schema["anyOf"], keywords, path, opened)
        if keywords & {"enum", "const"}:
            return _members(schema, keywords, path)
        kind = schema.get("type")
        if not isinstance(kind, str) or kind not in _KEYWORDS:
            return path, "a schema without one `type`"
        if others := keywords - _KEYWORDS[kind] - {"type"}:
            return path, min(others)
        if kind == "array":
            return self.visit(schema.get("items", True), (*path, "items"), opened)
        return self._object(schema, path, opened) if kind == "object" else None

    def _reference(
        self, ref: JsonValue, keywords: set[str], path: _Path, opened: tuple[str, ...]
    ) -> tuple[_Path, str] | None:
        if len(keywords) > 1:
            return path, min(keywords - {"$ref"})
        if not isinstance(ref, str) or ref in opened:
            return path, "a recursive `$ref`"
        if ref in self._checked:
            return None
        steps = ref.split("/")
        if len(steps) != 3 or steps[:2] not in (["#", "$defs"], ["#", "definitions"]):  # noqa: PLR2004
            return path, "`$ref` to other places than `$defs`"
        found = self.visit(_target(self._root, ref), tuple(steps[1:]), (*opened, ref))
        if found is None:
            self._checked.add(ref)
        return found

    def _options(
        self, options: JsonValue, keywords: set[str], path: _Path, opened: tuple[str, ...]
    ) -> tuple[_Path, str] | None:
        if len(keywords) > 1 or not isinstance(options, list):
            return path, "`anyOf` beside other keywords"
        found = (self.visit(o, (*path, "anyOf", i), opened) for i, o in enumerate(options))
        return next((place for place in found if place is not None), None)

    def _object(
        self, schema: dict[str, JsonValue], path: _Path, opened: tuple[str, ...]
    ) -> tuple[_Path, str] | None:
        properties = schema.get("properties", {})
        if schema.get("additionalProperties") is not False:
            return path, "an open object"
        if not isinstance(properties, dict):
            return path, "properties"
        required = schema.get("required", [])
        if not isinstance(required, list) or any(key not in properties for key in required):
            return path, "required"
        if any(json.dumps(key, ensure_ascii=False) != f'"{key}"' for key in properties):
            return path, "a property whose name must be escaped"
        found = (
            self.visit(value, (*path, "properties", key), opened)
            for key, value in properties.items()
        )
        return next((place for place in found if place is not None), None)


def regex_length(schema: JsonValue) -> int:
    """About how long the regular expression of a supported schema is.

    outlines-core writes each item of an array twice and every optional property of an object
    without required ones once for each other, so that depth doubles it and breadth squares it.
    """
    return _Length(schema).of(schema)


class _Length:
    def __init__(self, root: JsonValue) -> None:
        self._root = root
        self._known: dict[str, int] = {}

    def of(self, schema: JsonValue) -> int:
        if not isinstance(schema, dict):
            return 0
        ref = schema.get("$ref")
        if isinstance(ref, str):
            if ref not in self._known:
                self._known[ref] = self.of(_target(self._root, ref))
            return self._known[ref]
        options = schema.get("anyOf", schema.get("enum"))
        if isinstance(options, list):
            return sum(1 + self._member(option) for option in options)
        if "items" in schema:
            return 2 * self.of(schema["items"]) + 20
        properties = schema.get("properties")
        if isinstance(properties, dict):
            length = sum(len(key) + 10 + self.of(value) for key, value in properties.items())
            return length if schema.get("required") else length * max(len(properties), 1)
        return 60

    def _member(self, option: JsonValue) -> int:
        return self.of(option) if isinstance(option, dict) else len(str(option)) + 2


def _target(root: JsonValue, ref: str) -> JsonValue:
    """What a reference such as `#/$defs/a` leads to."""
    target = root
    for step in ref.split("/")[1:]:
        target = target.get(step) if isinstance(target, dict) else None
    return target


def _members(
    schema: dict[str, JsonValue], keywords: set[str], path: _Path
) -> tuple[_Path, str] | None:
    """Strings, booleans and null, of the type that is asked for: numbers have several spellings."""
    if len(keywords - {"type"}) > 1:
        return path, "`enum` beside other keywords"
    members = schema["enum"] if "enum" in keywords else [schema["const"]]
    types = {"string": str, "boolean": bool, "null": type(None)}
    kind = schema.get("type")
    allowed = tuple(types.values()) if kind is None else types.get(str(kind), ())
    if isinstance(members, list) and members and all(isinstance(m, allowed) for m in members):
        return None
    return path, "enum"
