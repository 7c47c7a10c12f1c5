"""The scalars of JSON (RFC 8259), each read as its text arrives."""

from __future__ import annotations

import enum
import math
import re
from typing import TYPE_CHECKING, Final, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    from gemma_structured.types import JsonValue

__all__ = [
    "MISSING",
    "LiteralReader",
    "Missing",
    "NumberReader",
    "ScalarReader",
    "StringReader",
    "begin_scalar",
]


class _Sentinel(enum.Enum):
    MISSING = enum.auto()


Missing: TypeAlias = Literal[_Sentinel.MISSING]
MISSING: Final = _Sentinel.MISSING
"""Nothing that could be shown: `None` is a value here."""

_PLAIN = re.compile(r'[^"\\\x00-\x1f]+')
_HEX = re.compile(r"[0-9a-fA-F]+")
_ESCAPED: Final = {
    '"': '"',
    "\\": "\\",
    "/": "/",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
}
_UNICODE_ESCAPE_LENGTH: Final = len(r"\uXXXX")
_NUMBER_CHARACTERS = re.compile(r"[-+.0-9eE]+")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_LITERALS: Final[dict[str, tuple[str, JsonValue]]] = {
    "t": ("true", True),
    "f": ("false", False),
    "n": ("null", None),
}


class ScalarReader(Protocol):
    """Reads one scalar.

    Attributes:
        is_closed: It is whole; `value` is final.
        is_broken: It is not one.
    """

    is_closed: bool
    is_broken: bool

    @property
    def value(self) -> JsonValue | Missing:
        """What can be shown of it."""
        ...

    def feed(self, delta: str, at: int) -> int:
        """Read on from `delta[at]`; returns where reading stopped."""
        ...

    def finish(self) -> None:
        """Say that the text has ended."""
        ...


class StringReader:
    """Decodes a string from behind its opening quote to its closing one.

    The value is always a prefix of the final one: an escape shows once it is whole, and the high
    half of a surrogate pair once it is known whether its other half follows.
    """

    __slots__ = ("_escape", "_high", "_parts", "is_broken", "is_closed")

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._escape = ""
        self._high = ""
        self.is_closed = False
        self.is_broken = False

    @property
    def value(self) -> str:
        """The decoded text so far."""
        if len(self._parts) > 1:
            self._parts = ["".join(self._parts)]
        return self._parts[0] if self._parts else ""

    def feed(self, delta: str, at: int) -> int:
        """Read on from `delta[at]`; returns where reading stopped."""
        while at < len(delta) and not (self.is_closed or self.is_broken):
            at = self._read_escape(delta, at) if self._escape else self._read_plain(delta, at)
        return at

    def finish(self) -> None:
        """Say that the text has ended: without its closing quote, a string stays open."""

    def _read_plain(self, delta: str, at: int) -> int:
        if delta[at] == "\\":
            self._escape = "\\"
            return at + 1
        if run := _PLAIN.match(delta, at):
            self._append(run.group())
            return run.end()
        if delta[at] == '"':
            self._append("")
            self.is_closed = True
        else:
            self.is_broken = True
        return at + 1

    def _read_escape(self, delta: str, at: int) -> int:
        if self._escape == "\\":
            return self._read_escape_kind(delta[at], at)
        missing = _UNICODE_ESCAPE_LENGTH - len(self._escape)
        digits = _HEX.match(delta, at, at + missing)
        if digits is None:
            self.is_broken = True
            return at
        self._escape += digits.group()
        if len(self._escape) == _UNICODE_ESCAPE_LENGTH:
            self._append_code_unit(chr(int(self._escape.removeprefix("\\u"), 16)))
            self._escape = ""
        return digits.end()

    def _read_escape_kind(self, character: str, at: int) -> int:
        if character == "u":
            self._escape = "\\u"
        elif character in _ESCAPED:
            self._append(_ESCAPED[character])
            self._escape = ""
        else:
            self.is_broken = True
        return at + 1

    def _append_code_unit(self, unit: str) -> None:
        """Append a UTF-16 code unit; two of them may make one character."""
        if self._high and "\udc00" <= unit <= "\udfff":
            pair = (self._high + unit).encode("utf-16-be", "surrogatepass")
            self._high = ""
            self._append(pair.decode("utf-16-be"))
        elif "\ud800" <= unit <= "\udbff":
            self._append("")
            self._high = unit
        else:
            self._append(unit)

    def _append(self, text: str) -> None:
        """Append text, after a high surrogate that turns out to stand alone."""
        self._parts.append(self._high + text)
        self._high = ""


class NumberReader:
    """Reads a number, which only the text behind it, or its end, can close."""

    __slots__ = ("_parts", "is_broken", "is_closed")

    def __init__(self, first: str) -> None:
        self._parts = [first]
        self.is_closed = False
        self.is_broken = False

    @property
    def value(self) -> int | float | Missing:
        """The longest number that the digits so far begin with."""
        match = _NUMBER.match("".join(self._parts))
        return MISSING if match is None else _number(match)

    def feed(self, delta: str, at: int) -> int:
        """Read on from `delta[at]`; returns where reading stopped."""
        if run := _NUMBER_CHARACTERS.match(delta, at):
            self._parts.append(run.group())
            at = run.end()
        if at < len(delta):
            self.finish()
        return at

    def finish(self) -> None:
        """Say that the number has ended."""
        match = _NUMBER.fullmatch("".join(self._parts))
        if match is None or _number(match) is MISSING:
            self.is_broken = True
        else:
            self.is_closed = True


def _number(match: re.Match[str]) -> int | float | Missing:
    """The number as `json.loads` reads it; `MISSING` where Python has no such finite number."""
    fraction, exponent = match.groups()
    try:
        number = int(match.group()) if fraction is exponent is None else float(match.group())
    except ValueError:  # more digits than `sys.set_int_max_str_digits` allows
        return MISSING
    return number if math.isfinite(number) else MISSING


class LiteralReader:
    """Reads `true`, `false` or `null`, which shows when it is whole."""

    __slots__ = ("_rest", "_value", "is_broken", "is_closed")

    def __init__(self, first: str) -> None:
        word, self._value = _LITERALS[first]
        self._rest = word[1:]
        self.is_closed = False
        self.is_broken = False

    @property
    def value(self) -> JsonValue | Missing:
        """What it stands for."""
        return self._value if self.is_closed else MISSING

    def feed(self, delta: str, at: int) -> int:
        """Read on from `delta[at]`; returns where reading stopped."""
        piece = delta[at : at + len(self._rest)]
        self.is_broken = not self._rest.startswith(piece)
        self._rest = self._rest[len(piece) :]
        self.is_closed = not (self._rest or self.is_broken)
        return at + len(piece)

    def finish(self) -> None:
        """Say that the text has ended: half a word stays open."""


def begin_scalar(character: str) -> ScalarReader | None:
    """The reader of the scalar that begins with this character, if one does."""
    if character == '"':
        return StringReader()
    if character == "-" or character in "0123456789":
        return NumberReader(character)
    return LiteralReader(character) if character in _LITERALS else None
