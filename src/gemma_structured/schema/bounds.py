"""Default bounds on what a schema leaves unbounded: digits, characters, items."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gemma_structured.exceptions import InputError
from gemma_structured.types import JsonValue, pointer

if TYPE_CHECKING:
    from gemma_structured.schema.json_schema import JsonSchema, Path, Schema

__all__ = ["DEFAULT_BOUNDS", "Bounds", "bound"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How large a value may grow where its schema does not say.

    Attributes:
        integer_digits: Digits of an integer.
        string_length: Characters of a string.
        items: Items of an array.
    """

    integer_digits: int = 18
    string_length: int = 4096
    items: int = 256

    def __post_init__(self) -> None:
        """Refuse bounds that allow nothing."""
        for name in ("integer_digits", "string_length", "items"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, not {getattr(self, name)}.")


DEFAULT_BOUNDS: Final = Bounds()
"""Far more than one extraction needs, and an end for a model that loops."""


def bound(
    schema: JsonSchema, bounds: Bounds | None
) -> tuple[JsonSchema, tuple[tuple[str, str, JsonValue], ...]]:
    """Add bounds to the strings, numbers and arrays that have none of their own.

    Returns:
        The bounded schema, and what was added to it as `(pointer, keyword, value)`.
    """
    if bounds is None:
        return schema, ()
    added: list[tuple[str, str, JsonValue]] = []

    def visit(path: Path, node: Schema) -> Schema:
        if not isinstance(node, dict):
            return node
        types = node.get("type")
        names = [types] if isinstance(types, str) else types if isinstance(types, list) else []
        if {"enum", "const", "$ref", "allOf", "anyOf", "oneOf", "not"} & node.keys():
            return node
        wanted: dict[str, JsonValue] = {}
        if "string" in names and not {"maxLength", "pattern", "format"} & node.keys():
            wanted["maxLength"] = max(bounds.string_length, node.get("minLength") or 0)  # type: ignore[type-var,assignment]
        if "array" in names and not {"maxItems", "prefixItems"} & node.keys():
            wanted["maxItems"] = max(bounds.items, node.get("minItems") or 0)  # type: ignore[type-var,assignment]
        for keyword, value in wanted.items():
            added.append((pointer(path), keyword, value))
            node[keyword] = value
        return node

    return schema.transform(visit), tuple(added)
