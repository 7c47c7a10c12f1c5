"""Reads a schema of any draft into nodes: one dialect, each reference the name of a definition."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from gemma_structured.exceptions import SchemaError
from gemma_structured.schema.dialect import find_dialect
from gemma_structured.schema.normalize.node import Node, Origin, Schema
from gemma_structured.schema.normalize.resolve import Place, Resolution
from gemma_structured.types import pointer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gemma_structured.schema.dialect import Dialect
    from gemma_structured.schema.json_schema import JsonSchema
    from gemma_structured.types import JsonValue

__all__ = ["Loader"]

_ONE: Final = frozenset(
    {
        "additionalProperties",
        "contains",
        "else",
        "if",
        "items",
        "not",
        "propertyNames",
        "then",
        "unevaluatedItems",
        "unevaluatedProperties",
    }
)
_LISTS: Final = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_MAPS: Final = frozenset({"properties", "patternProperties", "dependentSchemas"})
_COUNTS: Final = frozenset(
    {"minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"}
    | {"minContains", "maxContains"}
)
_BOUNDS: Final = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"})
_PLAIN: Final = frozenset({"pattern", "format", "uniqueItems", "multipleOf", "required", "enum"})
_TYPES: Final = ("null", "boolean", "number", "string", "array", "object")
# What belongs to another keyword, or to this package.
_COMPANIONS: Final = frozenset({"then", "else", "minContains", "maxContains", "x-gemma-lark"})
_MAX_DEPTH: Final = 500


@dataclass(frozen=True, slots=True)
class _Definition:
    contents: JsonValue
    place: Place


class Loader:
    """Reads the definitions of a schema as they are asked for, each once.

    Args:
        schema: The schema.
        formats: The formats that are asserted, and what each is called here; others are dropped.
    """

    def __init__(
        self,
        schema: JsonSchema,
        formats: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._formats = formats
        self._resolution = Resolution(schema)
        self._names: dict[tuple[int, str, tuple[str, ...]], str] = {}
        self._definitions: dict[str, _Definition] = {}
        self._loaded: dict[str, Schema] = {}
        self._depth = 0
        self.root = self._define("root", schema.value, self._resolution.root)

    def definition(self, name: str) -> Schema:
        """The schema of a name that a `$ref` in a node holds."""
        found = self._loaded.get(name)
        if found is None:
            known = self._definitions[name]
            found = self._loaded[name] = self._read(known.contents, known.place)
        return found

    def _define(self, name: str, contents: JsonValue, place: Place) -> str:
        key = (id(contents), place.dialect.name, place.dynamic)
        if isinstance(contents, bool):
            key = (int(contents), "", ())
        if key not in self._names:
            unique, number = name, 2
            while unique in self._definitions:
                unique, number = f"{name}_{number}", number + 1
            self._names[key] = unique
            self._definitions[unique] = _Definition(contents, place)
        return self._names[key]

    def _read(self, value: JsonValue, place: Place) -> Schema:
        if isinstance(value, bool):
            return value
        if not isinstance(value, dict):
            raise SchemaError("This is not a schema: an object or a boolean.", path=place.pointer)
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise SchemaError(f"It nests more than {_MAX_DEPTH} levels deep.", path=place.pointer)
        try:
            return self._read_object(value, self._resolution.enter(value, place))
        finally:
            self._depth -= 1

    def _read_object(self, value: dict[str, JsonValue], place: Place) -> Schema:
        named = find_dialect(str(value["$schema"])) if "$schema" in value else None
        if named is not None:
            place = replace(place, dialect=named)
        keywords: dict[str, Any] = {}
        if place.dialect.ref_hides_siblings and isinstance(value.get("$ref"), str):
            value = {"$ref": value["$ref"]}
        known = place.dialect.validator_class.VALIDATORS
        for keyword, argument in value.items():
            if keyword in known or keyword in _COMPANIONS:
                self._keyword(keyword, argument, value, place, keywords)
        return Node(keywords, Origin(place.pointer)) if keywords else True

    def _keyword(
        self,
        keyword: str,
        argument: JsonValue,
        value: dict[str, JsonValue],
        place: Place,
        into: dict[str, Any],
    ) -> None:
        here = place.at(keyword)
        special = _SPECIAL.get(keyword)
        if special is not None and special(self, argument, value, here, into):
            return
        if keyword in _ONE:
            into[keyword] = self._read(argument, here)
        elif keyword in _LISTS and isinstance(argument, list):
            into[keyword] = [self._read(one, here.at(i)) for i, one in enumerate(argument)]
        elif keyword in _MAPS and isinstance(argument, dict):
            into[keyword] = {k: self._read(one, here.at(k)) for k, one in argument.items()}
        elif keyword in _COUNTS and isinstance(argument, int | float):
            into[keyword] = int(argument)
        elif keyword in _PLAIN or keyword in _BOUNDS or keyword in _COMPANIONS:
            into[keyword] = argument

    def _reference(
        self, argument: JsonValue, _v: dict[str, JsonValue], place: Place, into: dict[str, Any]
    ) -> bool:
        keyword = place.pointer.rpartition("/")[2]
        contents, target = self._resolution.follow(str(argument), keyword, place.parent)
        tail = str(argument).rstrip("/").rpartition("/")[2].lstrip("#")
        name = self._define(_safe(tail) or "root", contents, target)
        if "$ref" in into:
            into.setdefault("allOf", []).append(Node({"$ref": name}, Origin(place.parent.pointer)))
        else:
            into["$ref"] = name
        return True

    def _format(
        self, argument: JsonValue, _v: dict[str, JsonValue], _p: Place, into: dict[str, Any]
    ) -> bool:
        name = self._formats.get(str(argument))
        if name is not None:
            into["format"] = name
        return True

    def _type(
        self, argument: JsonValue, _v: dict[str, JsonValue], _p: Place, into: dict[str, Any]
    ) -> bool:
        types = argument if isinstance(argument, list) else [argument]
        into["type"] = _TYPES if "any" in types else tuple(types)
        return True

    def _const(
        self, argument: JsonValue, _v: dict[str, JsonValue], place: Place, into: dict[str, Any]
    ) -> bool:
        if "enum" in into:
            const = Node({"enum": [argument]}, Origin(place.parent.pointer, "const"))
            into.setdefault("allOf", []).append(const)
        else:
            into["enum"] = [argument]
        return True

    def _enum(
        self, argument: JsonValue, _v: dict[str, JsonValue], place: Place, into: dict[str, Any]
    ) -> bool:
        if "enum" not in into:
            return False
        enum = Node({"enum": argument}, Origin(place.parent.pointer, "enum"))
        into.setdefault("allOf", []).append(enum)
        return True

    def _all_of(
        self, argument: JsonValue, _v: dict[str, JsonValue], place: Place, into: dict[str, Any]
    ) -> bool:
        assert isinstance(argument, list)
        into.setdefault("allOf", []).extend(
            self._read(one, place.at(index)) for index, one in enumerate(argument)
        )
        return True

    def _items(
        self, argument: JsonValue, value: dict[str, JsonValue], place: Place, into: dict[str, Any]
    ) -> bool:
        if not isinstance(argument, list):
            return False
        into["prefixItems"] = [self._read(one, place.at(i)) for i, one in enumerate(argument)]
        rest = value.get("additionalItems")
        if rest is not None:
            into["items"] = self._read(rest, place.parent.at("additionalItems"))
        return True

    def _additional_items(self, *_: object) -> bool:
        return True  # read with `items`

    def _prefix_items(
        self, argument: JsonValue, _v: dict[str, JsonValue], _p: Place, into: dict[str, Any]
    ) -> bool:
        return "prefixItems" in into or not isinstance(argument, list)

    def _exclusive(
        self, argument: JsonValue, value: dict[str, JsonValue], place: Place, into: dict[str, Any]
    ) -> bool:
        if not isinstance(argument, bool):
            return False
        bound = "minimum" if place.pointer.endswith("Minimum") else "maximum"
        if argument and bound in value:
            into[f"exclusive{bound.capitalize()}"] = value[bound]
        return True

    def _dependencies(
        self, argument: JsonValue, _v: dict[str, JsonValue], place: Place, into: dict[str, Any]
    ) -> bool:
        assert isinstance(argument, dict)
        for name, needed in argument.items():
            if isinstance(needed, list | str):
                names = [needed] if isinstance(needed, str) else needed
                into.setdefault("dependentRequired", {})[name] = names
            else:
                schema = self._read(needed, place.at(name))
                into.setdefault("dependentSchemas", {})[name] = schema
        return True

    def _dependent_required(
        self, argument: JsonValue, _v: dict[str, JsonValue], _p: Place, into: dict[str, Any]
    ) -> bool:
        into["dependentRequired"] = argument
        return True


_SPECIAL: Final[dict[str, Callable[..., bool]]] = {
    "$ref": Loader._reference,  # noqa: SLF001 - a table of this class's own readers
    "$dynamicRef": Loader._reference,  # noqa: SLF001
    "$recursiveRef": Loader._reference,  # noqa: SLF001
    "type": Loader._type,  # noqa: SLF001
    "const": Loader._const,  # noqa: SLF001
    "format": Loader._format,  # noqa: SLF001
    "enum": Loader._enum,  # noqa: SLF001
    "allOf": Loader._all_of,  # noqa: SLF001
    "items": Loader._items,  # noqa: SLF001
    "additionalItems": Loader._additional_items,  # noqa: SLF001
    "prefixItems": Loader._prefix_items,  # noqa: SLF001
    "exclusiveMinimum": Loader._exclusive,  # noqa: SLF001
    "exclusiveMaximum": Loader._exclusive,  # noqa: SLF001
    "dependencies": Loader._dependencies,  # noqa: SLF001
    "dependentRequired": Loader._dependent_required,  # noqa: SLF001
}


def _safe(name: str) -> str:
    return "".join(
        char if char.isascii() and (char.isalnum() or char in "_.-") else "_" for char in name
    )
