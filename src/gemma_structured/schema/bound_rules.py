"""Which bounds a single schema gets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from gemma_structured.schema.bound_scopes import Scopes
    from gemma_structured.schema.bounds import Bounds
    from gemma_structured.schema.json_schema import FormatMeaning
    from gemma_structured.types import JsonValue

__all__ = ["added_bounds"]

Node = dict[str, "JsonValue"]

_FORMAT_LENGTHS: Final = {
    "date": 0,
    "ipv4": 0,
    "ipv6": 0,
    "uuid": 0,
    "date-time": 40,
    "duration": 40,
    "time": 32,
    "email": 320,
    "hostname": 253,
    "idn-email": 320,
    "idn-hostname": 253,
}
"""How long a string of a format can be; 0 for formats that are short in themselves."""
_DOUBLE_DIGITS: Final = 15
_COMBINING: Final = frozenset(
    {
        "$dynamicRef",
        "$recursiveRef",
        "$ref",
        "allOf",
        "anyOf",
        "dependencies",
        "dependentRequired",
        "dependentSchemas",
        "if",
        "not",
        "oneOf",
    }
)
_MAP_KEYWORDS: Final = frozenset(
    {
        "additionalProperties",
        "default",
        "deprecated",
        "description",
        "examples",
        "maxProperties",
        "minProperties",
        "title",
        "type",
        "$schema",
        "$id",
        "$comment",
        "$defs",
        "definitions",
    }
)


def added_bounds(
    node: Node, bounds: Bounds, scopes: Scopes, formats: FormatMeaning
) -> dict[str, JsonValue]:
    """The keywords to add to a schema; none where it needs or bears none."""
    if "enum" in node or "const" in node or ("$ref" in node and "type" not in node):
        return {}
    kinds = node.get("type")
    names = kinds if isinstance(kinds, list) else [kinds]
    added: dict[str, JsonValue] = {}
    if "string" in names and scopes.free(node, "string"):
        added |= _string(node, bounds, formats)
    if {"number", "integer"} & {str(name) for name in names} and scopes.free(node, "number"):
        added |= _number(node, bounds, whole="number" not in names)
    if "array" in names and scopes.free(node, "array"):
        added |= _array(node, bounds)
    if "object" in names and scopes.alone(node) and not _COMBINING & node.keys():
        added |= _object(node, bounds) | _keys(node, bounds)
    return added


def _string(node: Node, bounds: Bounds, formats: FormatMeaning) -> dict[str, JsonValue]:
    length = bounds.string_length
    if length is None or "maxLength" in node or "pattern" in node:
        return {}
    known = _FORMAT_LENGTHS.get(str(node.get("format"))) if formats == "assertion" else None
    if known == 0:
        return {}
    if known is not None:
        length = min(length, known)
    return {"maxLength": max(length, _int(node.get("minLength")))}


def _number(node: Node, bounds: Bounds, *, whole: bool) -> dict[str, JsonValue]:
    added: dict[str, JsonValue] = {}
    low, high = (
        _limit(node, "minimum", "exclusiveMinimum"),
        _limit(node, "maximum", "exclusiveMaximum"),
    )
    if bounds.integer_digits is not None:
        digits = bounds.integer_digits
        limit = 10 ** (digits if whole else min(digits, _DOUBLE_DIGITS))
        if (low is not None and low >= limit) or (high is not None and high <= -limit):
            return {}
        if low is None:
            added["minimum"] = -limit
            low = -limit
        if high is None:
            added["maximum"] = limit
            high = limit
    places = bounds.fraction_digits
    if whole or places is None or "multipleOf" in node or "divisibleBy" in node:
        return added
    step = 10.0**-places
    if low is None or high is None or high - low >= 2 * step:
        added["multipleOf"] = 1 if places == 0 else step
    return added


def _array(node: Node, bounds: Bounds) -> dict[str, JsonValue]:
    if bounds.items is None or "maxItems" in node:
        return {}
    items = node.get("items", True)
    prefix = node.get("prefixItems", items if isinstance(items, list) else [])
    rest = node.get("additionalItems", True) if isinstance(items, list) else items
    if rest is False or (prefix and node.get("unevaluatedItems") is False):
        return {}
    fixed = len(prefix) if isinstance(prefix, list) else 0
    least = max(_int(node.get("minItems")), _int(node.get("minContains")), fixed)
    return {"maxItems": max(bounds.items, least)}


def _object(node: Node, bounds: Bounds) -> dict[str, JsonValue]:
    """Bound the number of members, where every declared one is required: others count exactly."""
    if bounds.properties is None or "maxProperties" in node or _is_closed(node):
        return {}
    properties, required = node.get("properties"), node.get("required")
    named = set(properties) if isinstance(properties, dict) else set[str]()
    needed = {str(name) for name in required} if isinstance(required, list) else set[str]()
    if not named <= needed:
        return {}
    return {"maxProperties": max(bounds.properties, _int(node.get("minProperties")), len(needed))}


def _keys(node: Node, bounds: Bounds) -> dict[str, JsonValue]:
    if bounds.key_length is None or _is_closed(node) or node.keys() - _MAP_KEYWORDS:
        return {}
    return {"propertyNames": {"maxLength": bounds.key_length}}


def _is_closed(node: Node) -> bool:
    if node.get("patternProperties"):
        return False
    return node.get("additionalProperties") is False or node.get("unevaluatedProperties") is False


def _limit(node: Node, inclusive: str, exclusive: str) -> float | None:
    for keyword in (exclusive, inclusive):
        value = node.get(keyword)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return value
    return None


def _int(value: JsonValue) -> int:
    return int(value) if isinstance(value, int | float) else 0
