"""Takes a private, plain copy of a JSON value that a user handed in, or says what is not JSON."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from gemma_structured.exceptions import SchemaError
from gemma_structured.types import pointer

if TYPE_CHECKING:
    from gemma_structured.types import JsonValue

__all__ = ["MAX_DEPTH", "MAX_VALUES", "plain_json"]

MAX_DEPTH: Final = 200
"""Levels of nesting that a schema may have: what reads it recurses."""
MAX_VALUES: Final = 250_000
"""Values that a schema may hold in all; those that stand in several places count each time."""
_MAX_INTEGER_BITS: Final = 4096


def plain_json(value: object, max_values: int = MAX_VALUES) -> JsonValue:
    """Copy a value into fresh dicts, lists, strings, numbers, booleans and `None`.

    Args:
        value: The value.
        max_values: The most values that it may hold in all.

    Raises:
        SchemaError: Something in it is not JSON (a NaN, a key that is not a string, an object of
            another class, half a surrogate pair), it holds itself, or it is too large.
    """
    return _Copier(max_values).copy(value, ())


class _Copier:
    """One copy: the containers that are open, and how much has been copied."""

    def __init__(self, max_values: int) -> None:
        self._open: set[int] = set()
        self._max_values = max_values
        self._copied = 0

    def copy(self, value: object, path: tuple[str | int, ...]) -> JsonValue:
        self._copied += 1
        if self._copied > self._max_values:
            raise SchemaError(
                f"The schema holds more than {self._max_values:,} values, those that stand in "
                "several places counted each time.",
                hint="Define once, under `$defs`, what stands in several places; or raise the "
                f"limit: JsonSchema(..., max_values={2 * self._max_values}).",
            )
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return _text(value, path)
        if isinstance(value, int | float):
            return _number(value, path)
        if isinstance(value, dict | list | tuple):
            return self._container(value, path)
        raise SchemaError(
            f"A {type(value).__name__} is not JSON.",
            path=pointer(path),
            hint="Use dicts with string keys, lists, strings, numbers, booleans and None.",
        )

    def _container(
        self,
        value: dict[object, object] | list[object] | tuple[object, ...],
        path: tuple[str | int, ...],
    ) -> JsonValue:
        if id(value) in self._open:
            raise SchemaError(
                "The schema contains itself.",
                path=pointer(path),
                hint='Recursion is written as a reference: {"$ref": "#"}.',
            )
        if len(path) >= MAX_DEPTH:
            raise SchemaError(
                f"The schema is nested more than {MAX_DEPTH} levels deep.",
                path=pointer(path),
                hint="This limit is fixed: define deep parts under `$defs`, and refer to them.",
            )
        self._open.add(id(value))
        try:
            if isinstance(value, dict):
                copied: dict[str, JsonValue] = {}
                for key, item in value.items():
                    name = _key(key, path)
                    copied[name] = self.copy(item, (*path, name))
                return copied
            return [self.copy(item, (*path, index)) for index, item in enumerate(value)]
        finally:
            self._open.discard(id(value))


def _key(key: object, path: tuple[str | int, ...]) -> str:
    if not isinstance(key, str):
        raise SchemaError(
            f"The key {key!r:.40} is a {type(key).__name__}; JSON keys are strings.",
            path=pointer(path),
        )
    return _text(key, path)


def _text(text: str, path: tuple[str | int, ...]) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise SchemaError(
            "A string holds half a surrogate pair, which is not Unicode text.", path=pointer(path)
        ) from None
    return str(text)


def _number(number: float, path: tuple[str | int, ...]) -> int | float:
    if isinstance(number, int):
        if number.bit_length() > _MAX_INTEGER_BITS:
            raise SchemaError(
                f"An integer of {number.bit_length():,} bits is larger than {_MAX_INTEGER_BITS:,}.",
                path=pointer(path),
                hint="This limit is fixed: leave the number out.",
            )
        return int(number)
    if not math.isfinite(number):
        raise SchemaError(f"{number} is not a JSON number.", path=pointer(path))
    return float(number)
