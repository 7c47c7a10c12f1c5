"""Reads the keywords of one schema object into those of a node, whatever the draft calls them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from gemma_structured.schema.normalize.node import Node, Origin, Schema

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gemma_structured.schema.normalize.resolve import Place
    from gemma_structured.types import JsonValue

__all__ = ["COMPANIONS", "Reading", "read_keyword"]

COMPANIONS: Final = frozenset(
    {"then", "else", "minContains", "maxContains", "x-gemma-lark", "x-gemma-code"}
)
"""Keywords that belong to another, or to this package, so that no draft's validator lists them."""

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
_LISTS: Final = frozenset({"anyOf", "oneOf", "prefixItems"})
_MAPS: Final = frozenset({"properties", "patternProperties", "dependentSchemas"})
_COUNTS: Final = frozenset(
    {"minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"}
    | {"minContains", "maxContains"}
)
_AS_WRITTEN: Final = COMPANIONS | {
    "dependentRequired",
    "enum",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "maximum",
    "minimum",
    "multipleOf",
    "pattern",
    "required",
    "uniqueItems",
}
_TYPES: Final = ("null", "boolean", "number", "string", "array", "object")


class Reader(Protocol):
    """What reads the schemas inside, and names the ones that are referred to."""

    @property
    def formats(self) -> Mapping[str, str]:
        """The formats that are asserted, and what each is called here."""
        ...

    def read(self, value: JsonValue, place: Place) -> Schema:
        """The nodes of a subschema."""
        ...

    def reference(self, ref: str, keyword: str, place: Place) -> str:
        """The name of what a reference at a place leads to."""
        ...


@dataclass(frozen=True, slots=True)
class Reading:
    """One keyword that is being read.

    Attributes:
        keyword: The keyword and, as `argument`, its value.
        beside: The whole schema object.
        place: Where that stands.
        into: The keywords of the node that is made.
    """

    keyword: str
    argument: JsonValue
    beside: dict[str, JsonValue]
    place: Place
    into: dict[str, Any]

    def condition(self, keyword: str, argument: Any) -> None:
        """Add a keyword that the node has already, as one more condition."""
        node = Node({keyword: argument}, Origin(self.place.pointer, self.keyword))
        self.into.setdefault("allOf", []).append(node)


def read_keyword(reader: Reader, reading: Reading) -> bool:
    """Read one keyword; false if the node does not say what it says."""
    keyword, argument, into = reading.keyword, reading.argument, reading.into
    here = reading.place.at(keyword)
    special = _SPECIAL.get(keyword)
    if special is not None:
        verdict = special(reader, reading)
        if verdict is not None:
            return verdict
    if keyword in _ONE:
        into[keyword] = reader.read(argument, here)
    elif keyword in _LISTS and isinstance(argument, list):
        into[keyword] = [reader.read(one, here.at(i)) for i, one in enumerate(argument)]
    elif keyword in _MAPS and isinstance(argument, dict):
        into[keyword] = {k: reader.read(one, here.at(k)) for k, one in argument.items()}
    elif keyword in _COUNTS and isinstance(argument, int | float):
        into[keyword] = int(argument)
    elif keyword in _AS_WRITTEN:
        into[keyword] = argument
    else:
        return False
    return True


def _reference(reader: Reader, reading: Reading) -> bool:
    name = reader.reference(str(reading.argument), reading.keyword, reading.place)
    if "$ref" in reading.into:
        reading.condition("$ref", name)
    else:
        reading.into["$ref"] = name
    return True


def _format(reader: Reader, reading: Reading) -> bool:
    name = reader.formats.get(str(reading.argument))
    if name is not None:
        reading.into["format"] = name
    return True


def _type(_reader: Reader, reading: Reading) -> bool:
    argument = reading.argument
    types = argument if isinstance(argument, list) else [argument]
    if not all(isinstance(name, str) for name in types):
        return False  # draft 3 has schemas among the types
    reading.into["type"] = _TYPES if "any" in types else tuple(types)
    return True


def _enum(_reader: Reader, reading: Reading) -> bool:
    values = [reading.argument] if reading.keyword == "const" else reading.argument
    if "enum" in reading.into:
        reading.condition("enum", values)
    else:
        reading.into["enum"] = values
    return True


def _all_of(reader: Reader, reading: Reading) -> bool:
    assert isinstance(reading.argument, list)
    here = reading.place.at("allOf")
    conditions = [reader.read(one, here.at(index)) for index, one in enumerate(reading.argument)]
    reading.into.setdefault("allOf", []).extend(conditions)
    return True


def _items(reader: Reader, reading: Reading) -> bool | None:
    """Before 2020-12, a list of schemas is one for each of the first items."""
    if not isinstance(reading.argument, list):
        return None
    here = reading.place.at("items")
    reading.into["prefixItems"] = [
        reader.read(one, here.at(index)) for index, one in enumerate(reading.argument)
    ]
    rest = reading.beside.get("additionalItems")
    if rest is not None:
        reading.into["items"] = reader.read(rest, reading.place.at("additionalItems"))
    return True


def _additional_items(_reader: Reader, _reading: Reading) -> bool:
    return True  # read with `items`


def _exclusive(_reader: Reader, reading: Reading) -> bool | None:
    """In draft 4, a boolean beside the bound that it opens."""
    if not isinstance(reading.argument, bool):
        return None
    bound = "minimum" if reading.keyword.endswith("Minimum") else "maximum"
    if reading.argument and bound in reading.beside:
        reading.into[reading.keyword] = reading.beside[bound]
    return True


def _dependencies(reader: Reader, reading: Reading) -> bool:
    assert isinstance(reading.argument, dict)
    here = reading.place.at("dependencies")
    for name, needed in reading.argument.items():
        if isinstance(needed, list | str):
            names = [needed] if isinstance(needed, str) else needed
            reading.into.setdefault("dependentRequired", {})[name] = names
        else:
            schema = reader.read(needed, here.at(name))
            reading.into.setdefault("dependentSchemas", {})[name] = schema
    return True


def _divisible_by(_reader: Reader, reading: Reading) -> bool:
    """What draft 3 calls `multipleOf`."""
    reading.into["multipleOf"] = reading.argument
    return True


def _properties(_reader: Reader, reading: Reading) -> bool | None:
    """In draft 3, a property says itself that it is required."""
    if reading.place.dialect.name == "draft-03" and isinstance(reading.argument, dict):
        reading.into["required"] = [
            name
            for name, schema in reading.argument.items()
            if isinstance(schema, dict) and schema.get("required") is True
        ]
    return None


_SPECIAL: Final[dict[str, Callable[[Reader, Reading], bool | None]]] = {
    "$ref": _reference,
    "$dynamicRef": _reference,
    "$recursiveRef": _reference,
    "type": _type,
    "const": _enum,
    "enum": _enum,
    "format": _format,
    "allOf": _all_of,
    "items": _items,
    "additionalItems": _additional_items,
    "exclusiveMinimum": _exclusive,
    "exclusiveMaximum": _exclusive,
    "dependencies": _dependencies,
    "divisibleBy": _divisible_by,
    "properties": _properties,
}
"""The keywords that are read in a way of their own: whether they were, `None` if as others are."""
