"""Listed values as keywords that a grammar enforces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gemma_structured.schema.normalize.kinds import type_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gemma_structured.types import JsonValue

__all__ = ["value_keywords"]

# llguidance reads each number of a constant as a double.
_MAX_EXACT: Final = 2**53
_MAX_INTEGER: Final = 2**62


def value_keywords(values: Sequence[JsonValue]) -> tuple[dict[str, Any], bool]:
    """Keywords that admit some values, and whether they admit no others."""
    plain: list[JsonValue] = []
    others: list[dict[str, Any]] = []
    for value in values:
        written = _written(value)
        if _is_safe(written):
            plain.append(written)
        else:
            others.append(_near(written))
    options: list[dict[str, Any]] = [{"const": plain[0]} if len(plain) == 1 else {"enum": plain}]
    options = [*(options if plain else []), *others]
    return (options[0] if len(options) == 1 else {"anyOf": options}), not others


def _written(value: JsonValue) -> JsonValue:
    """The value with integers for floats that are integers."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_written(item) for item in value]
    if isinstance(value, dict):
        return {key: _written(item) for key, item in value.items()}
    return value


def _is_safe(value: JsonValue) -> bool:
    if isinstance(value, list):
        return all(map(_is_safe, value))
    if isinstance(value, dict):
        return all(map(_is_safe, value.values()))
    return isinstance(value, bool) or not isinstance(value, int) or abs(value) <= _MAX_EXACT


def _near(value: JsonValue) -> dict[str, Any]:
    """A schema of the value and of some others."""
    name = type_of(value)
    if isinstance(value, int) and abs(value) <= _MAX_INTEGER:
        return {"type": "integer", "minimum": value - 1024, "maximum": value + 1024}
    return {"type": "number" if name == "fraction" else name}
