"""The types of values, numbers taken apart into integers and others, and when values are equal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gemma_structured.schema.equality import instance_key

if TYPE_CHECKING:
    from gemma_structured.types import JsonValue

__all__ = ["ALL_TYPES", "atoms", "type_of", "value_key"]

ALL_TYPES: Final = frozenset(
    {"null", "boolean", "integer", "fraction", "string", "array", "object"}
)
"""The types, taken apart: a number is an integer or has a fraction."""


def atoms(types: tuple[str, ...]) -> frozenset[str]:
    """The types that JSON Schema's names stand for."""
    return frozenset(
        atom
        for name in types
        for atom in (("integer", "fraction") if name == "number" else (name,))
    )


def type_of(value: JsonValue) -> str:
    """The type of a value."""
    if isinstance(value, bool):
        return "boolean"
    if value is None:
        return "null"
    if isinstance(value, float):
        return "integer" if value.is_integer() else "fraction"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def value_key(value: JsonValue) -> str:
    """Text that two values share exactly if they are equal; quick for strings, which are many."""
    return f"s{value}" if isinstance(value, str) else instance_key(value)
