"""Reads one JSON value that may have harmless slips in it, and says whether it had.

What is put right is what can be meant in one way only: a trailing comma, comments, single or
typographic quotes, bare keys, Python's `True`, `False` and `None`, raw line breaks in strings,
unknown escapes. Nothing is ever closed, completed or left out: a value that does not end is broken,
and so is one with a key twice, `NaN` or a number that JSON does not know.
"""

from __future__ import annotations

import enum
import json
import re
from dataclasses import dataclass
from typing import Final

__all__ = ["BrokenValueError", "LenientReader", "Reading"]

MAX_DEPTH: Final = 200
"""Arrays and objects inside one another; also jiter's limit."""

_SPACE = re.compile(r"[ \t\n\r\ufeff\u00a0]*")
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?(?![\w.+-])")
_WORD = re.compile(r"[A-Za-z_$][\w$]*")
_BARE_KEY = re.compile(r"([A-Za-z_$][\w$-]*)(?=\s*:)")
_LITERALS: Final = {"true": "true", "false": "false", "null": "null"}
_PYTHON_LITERALS: Final = {"True": "true", "False": "false", "None": "null"}
_QUOTES: Final = {'"': '"', "'": "'", "\u201c": "\u201d", "\u2018": "\u2019"}
_PLAIN: Final = {
    close: re.compile(rf"[^\\\x00-\x1f\"{close}]*") for close in {*_QUOTES.values(), '"'}
}
_ESCAPE = re.compile(r'\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})')


class BrokenValueError(ValueError):
    """There is no whole value here.

    Attributes:
        position: Where in the text it breaks.
        reach: How far the text was read.
        started: Whether so much of a value was read that this is no prose.
    """

    def __init__(self, message: str, *, position: int, reach: int, started: bool) -> None:
        super().__init__(message)
        self.position = position
        self.reach = reach
        self.started = started


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A value that was read.

    Attributes:
        text: Strict JSON; the text itself where nothing had to be put right.
        end: Where in the text it ends.
        repaired: Whether something was put right.
    """

    text: str
    end: int
    repaired: bool


class _Expected(enum.Enum):
    VALUE = "a value"
    ITEM = "an item"
    ITEM_OR_END = "an item or ']'"
    KEY = "a key"
    KEY_OR_END = "a key or '}'"
    COLON = "':'"
    COMMA_OR_END = "',' or the end of the array or object"


_TAKES_VALUE = frozenset({_Expected.VALUE, _Expected.ITEM, _Expected.ITEM_OR_END})
_TAKES_KEY = frozenset({_Expected.KEY, _Expected.KEY_OR_END})


class LenientReader:
    """Reads the value that begins at one place of a text."""

    def __init__(self, text: str, start: int) -> None:
        self._text = text
        self._start = start
        self._position = start
        self._parts: list[str] = []
        self._keys: list[set[str] | None] = []
        self._expected = _Expected.VALUE
        self._repaired = False
        self._started = False

    def read(self) -> Reading:
        """Read it to its end.

        Raises:
            BrokenValueError: It does not end, or it is no JSON even with forbearance.
        """
        while True:
            self._skip_space()
            if self._position >= len(self._text):
                started = len(self._parts) > 1
                raise self._broken(
                    f"the text ends where {self._expected.value} is expected", started=started
                )
            self._step(self._text[self._position])
            if not self._keys:
                text = "".join(self._parts)
                if not self._repaired:
                    text = self._text[self._start : self._position]
                return Reading(text=text, end=self._position, repaired=self._repaired)

    def _step(self, character: str) -> None:
        """Read one token."""
        if character in "}]":
            self._close(character)
        elif self._expected is _Expected.COLON:
            self._mark(character, ":", _Expected.VALUE)
        elif self._expected is _Expected.COMMA_OR_END:
            following = _Expected.ITEM if self._keys[-1] is None else _Expected.KEY
            self._mark(character, ",", following)
        elif self._expected in _TAKES_KEY:
            self._key(character)
        elif character in "{[":
            self._open(character)
        else:
            self._put(self._string() if character in _QUOTES else self._scalar())
            self._expected = _Expected.COMMA_OR_END

    def _mark(self, character: str, mark: str, following: _Expected) -> None:
        if character != mark:
            raise self._unexpected()
        self._started = True
        self._position += 1
        self._put(mark)
        self._expected = following

    def _open(self, character: str) -> None:
        if len(self._keys) >= MAX_DEPTH:
            raise self._broken(f"more than {MAX_DEPTH} levels of nesting")
        self._started = self._started or bool(self._keys)
        self._position += 1
        self._put(character)
        self._keys.append(set() if character == "{" else None)
        self._expected = _Expected.KEY_OR_END if character == "{" else _Expected.ITEM_OR_END

    def _close(self, character: str) -> None:
        kind = "]" if self._keys and self._keys[-1] is None else "}"
        trailing = self._expected in {_Expected.ITEM, _Expected.KEY}
        allowed = {_Expected.ITEM_OR_END, _Expected.KEY_OR_END, _Expected.COMMA_OR_END}
        if character != kind or not (trailing or self._expected in allowed):
            raise self._unexpected()
        if trailing:
            self._parts.pop()
            self._repaired = True
        self._position += 1
        self._put(character)
        self._keys.pop()
        self._expected = _Expected.COMMA_OR_END

    def _key(self, character: str) -> None:
        if character in _QUOTES:
            key = self._string()
        elif bare := _BARE_KEY.match(self._text, self._position):
            self._repaired = True
            self._position = bare.end()
            key = json.dumps(bare[1])
        else:
            raise self._unexpected()
        seen = self._keys[-1]
        name: str = json.loads(key)
        if seen is not None and name in seen:
            raise self._broken("a key is there twice", started=True)
        if seen is not None:
            seen.add(name)
        self._put(key)
        self._expected = _Expected.COLON

    def _scalar(self) -> str:
        if number := _NUMBER.match(self._text, self._position):
            self._position = number.end()
            return number[0]
        word = _WORD.match(self._text, self._position)
        literal = None
        if word is not None:
            literal = _LITERALS.get(word[0])
            if literal is None and (literal := _PYTHON_LITERALS.get(word[0])) is not None:
                self._repaired = True
        if word is None or literal is None:
            raise self._unexpected()
        self._position = word.end()
        return literal

    def _string(self) -> str:
        """Read a string in whichever quotes; give it back in JSON's."""
        opening = self._text[self._position]
        close = _QUOTES[opening]
        begin = self._position
        self._position += 1
        parts = ['"']
        changed = opening != '"'
        while True:
            plain = _PLAIN[close].match(self._text, self._position)
            assert plain is not None  # it may match nothing, but it matches
            parts.append(plain[0])
            self._position = plain.end()
            if self._position >= len(self._text):
                raise self._broken("the text ends inside a string", position=begin, started=True)
            character = self._text[self._position]
            if character == close:
                self._position += 1
                self._repaired = self._repaired or changed
                return "".join([*parts, '"'])
            escape = _ESCAPE.match(self._text, self._position)
            if escape is not None:
                parts.append(escape[0])
                self._position = escape.end()
                continue
            changed = True
            parts.append(self._unescaped(character))

    def _unescaped(self, character: str) -> str:
        """Write a character that JSON wants escaped, or an escape that JSON does not know."""
        self._position += 1
        if character != "\\":
            return json.dumps(character)[1:-1]
        following = self._text[self._position : self._position + 1]
        if following == "u":
            raise self._broken("\\u is not followed by four hexadecimal digits")
        if following in {"'", "\u2019", "\u201d"}:
            self._position += 1
            return following
        return "\\\\"

    def _skip_space(self) -> None:
        while True:
            space = _SPACE.match(self._text, self._position)
            assert space is not None  # it may match nothing, but it matches
            if "\ufeff" in space[0] or "\u00a0" in space[0]:
                self._repaired = True
            self._position = space.end()
            comment = _COMMENT.match(self._text, self._position)
            if comment is None and self._text.startswith("/*", self._position):
                begin, self._position = self._position, len(self._text)
                raise self._broken("the text ends inside a comment", position=begin)
            if comment is None:
                return
            self._repaired = True
            self._position = comment.end()

    def _put(self, part: str) -> None:
        self._parts.append(part)

    def _unexpected(self) -> BrokenValueError:
        return self._broken(f"{self._expected.value} is expected")

    def _broken(
        self, message: str, *, started: bool = False, position: int | None = None
    ) -> BrokenValueError:
        return BrokenValueError(
            message,
            position=self._position if position is None else position,
            reach=self._position,
            started=started or self._started,
        )
