"""Gemma's bare notation for values, written and read: `{k:<|"|>text<|"|>,n:[1,2]}`."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

from gemma_structured.exceptions import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gemma_structured.types import JsonValue

__all__ = ["BARE_KEY", "BareReader", "sorted_members", "write_bare"]

BARE_KEY: Final = r"(?:[^\s\x00-\x1F:,{}\[\]<>\x22\x5C]| )"
"""A character of a key that needs no quotes, in the dialects of Python and of Rust."""

_KEY = re.compile(f"({BARE_KEY}+):")
_SCALAR = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null")


def sorted_members(members: Mapping[str, JsonValue]) -> list[tuple[str, JsonValue]]:
    """Members in the order in which templates write them: by their keys in lower case."""
    return sorted(members.items(), key=lambda member: member[0].lower())


def write_bare(value: JsonValue, quote: str) -> str:
    """A value in the bare notation.

    Keys that are not plain words are written as strings, which templates do not; no model has seen
    such a key.

    Raises:
        InputError: A string holds the quote token's name, or a number is not finite.
    """
    if isinstance(value, str):
        if quote in value:
            raise InputError(f"A text that holds {quote} cannot be written between two of them.")
        return f"{quote}{value}{quote}"
    if isinstance(value, list):
        return f"[{','.join(write_bare(each, quote) for each in value)}]"
    if isinstance(value, dict):
        keys = [
            key if _KEY.fullmatch(f"{key}:") else write_bare(key, quote)
            for key, _ in sorted_members(value)
        ]
        values = [write_bare(member, quote) for _, member in sorted_members(value)]
        return f"{{{','.join(map(':'.join, zip(keys, values, strict=True)))}}}"
    try:
        return json.dumps(value, allow_nan=False)
    except ValueError:
        raise InputError("A number in the arguments is not finite.") from None


class BareReader:
    """Reads values in the bare notation from a text.

    Attributes:
        at: How far the text has been read.
    """

    def __init__(self, text: str, quote: str, at: int = 0) -> None:
        self._text = text
        self._quote = quote
        self.at = at

    def take(self, expected: str) -> bool:
        """Go past a text, if it comes next."""
        if self._text.startswith(expected, self.at):
            self.at += len(expected)
            return True
        return False

    def expect(self, expected: str) -> None:
        """Go past a text.

        Raises:
            ValueError: Something else comes next.
        """
        if not self.take(expected):
            raise ValueError(f"expected {expected} at character {self.at}")

    def value(self) -> JsonValue:
        """Read a value.

        Raises:
            ValueError: There is none, or an object has a key twice.
        """
        if self.take(self._quote):
            return self._string()
        if self.take("["):
            return self._array()
        if self.take("{"):
            return self._object()
        found = _SCALAR.match(self._text, self.at)
        if found is None:
            raise ValueError(f"expected a value at character {self.at}")
        self.at = found.end()
        value: JsonValue = json.loads(found[0])
        if value in (float("inf"), float("-inf")):
            raise ValueError(f"a number before character {self.at} is too large")
        return value

    def _string(self) -> str:
        end = self._text.find(self._quote, self.at)
        if end < 0:
            raise ValueError(f"a text that begins at character {self.at} has no end")
        text, self.at = self._text[self.at : end], end + len(self._quote)
        return text

    def _array(self) -> list[JsonValue]:
        items: list[JsonValue] = []
        while not self.take("]"):
            if items:
                self.expect(",")
            items.append(self.value())
        return items

    def _object(self) -> dict[str, JsonValue]:
        members: dict[str, JsonValue] = {}
        while not self.take("}"):
            if members:
                self.expect(",")
            key = self._key()
            if key in members:
                raise ValueError(f"a key comes twice before character {self.at}")
            members[key] = self.value()
        return members

    def _key(self) -> str:
        if self.take(self._quote):
            key = self._string()
            self.expect(":")
            return key
        found = _KEY.match(self._text, self.at)
        if found is None:
            raise ValueError(f"expected a key at character {self.at}")
        self.at = found.end()
        return found[1]
