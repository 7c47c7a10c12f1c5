"""Runs the passes over every subschema."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from gemma_structured.schema.json_schema import JsonSchema
from gemma_structured.schema.normalize.result import Normalized, Residual
from gemma_structured.types import pointer

if TYPE_CHECKING:
    from gemma_structured.types import JsonValue

__all__ = ["normalize"]

KNOWN_FORMATS = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri"}
)
MAPS = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
LISTS = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
SINGLE = frozenset({"items", "additionalItems", "additionalProperties"})
UNSUPPORTED = (
    "uniqueItems",
    "contains",
    "minContains",
    "maxContains",
    "not",
    "if",
    "then",
    "else",
    "dependentRequired",
    "dependentSchemas",
    "dependencies",
    "unevaluatedProperties",
    "unevaluatedItems",
    "propertyNames",
    "contentSchema",
    "discriminator",
    "x-gemma-lark",
)


def normalize(schema: JsonSchema) -> Normalized:
    """Rewrite a schema into what the grammar enforces, and collect the rest.

    Args:
        schema: Any JSON Schema, of the draft that its `$schema` names.

    Raises:
        SchemaError: The schema is of no use: a reference leads nowhere, or nothing satisfies it.
    """
    residual: list[Residual] = []
    value = _rewrite(schema.value, (), residual)
    return Normalized(schema=JsonSchema(value), residual=tuple(residual))


def _rewrite(node: JsonValue, path: tuple[str | int, ...], residual: list[Residual]) -> JsonValue:
    if not isinstance(node, dict):
        return node
    result: dict[str, JsonValue] = {}
    for keyword, value in node.items():
        here = (*path, keyword)
        if keyword in MAPS and isinstance(value, dict):
            result[keyword] = {k: _rewrite(v, (*here, k), residual) for k, v in value.items()}
        elif isinstance(value, list) and (keyword in LISTS or keyword == "items"):
            result[keyword] = [_rewrite(v, (*here, i), residual) for i, v in enumerate(value)]
        elif keyword in SINGLE:
            result[keyword] = _rewrite(value, here, residual)
        else:
            result[keyword] = value
    _relax(result, pointer(path), residual)
    return result


def _relax(node: dict[str, JsonValue], where: str, residual: list[Residual]) -> None:
    names = node.get("propertyNames")
    if isinstance(names, dict):
        _property_names(node, names)
    for keyword in UNSUPPORTED:
        if keyword in node:
            value = node.pop(keyword)
            if value not in (False, True, {}) or (keyword == "uniqueItems" and value):
                residual.append(Residual(where, keyword))
    if "oneOf" in node and "anyOf" not in node:
        node["anyOf"] = node.pop("oneOf")
        residual.append(Residual(where, "oneOf"))
    if "format" in node and node["format"] not in KNOWN_FORMATS:
        del node["format"]
        residual.append(Residual(where, "format"))


def _property_names(node: dict[str, JsonValue], names: dict[str, JsonValue]) -> None:
    pattern = names.get("pattern")
    if isinstance(pattern, str) and not {"properties", "patternProperties"} & node.keys():
        value = node.pop("additionalProperties", True)
        node["patternProperties"] = {pattern: cast("JsonValue", value)}
        node["additionalProperties"] = False
