"""Reads the characters, escapes and classes of a regular expression of ECMA-262."""

from __future__ import annotations

import re
from typing import Final

from gemma_structured.schema.normalize.regex.charset import (
    DIGIT,
    SPACE,
    WORD,
    CharSet,
    charset,
    complement,
)
from gemma_structured.schema.normalize.regex.syntax import Chars, RegexError

__all__ = ["Characters", "single"]

_CLASSES: Final[dict[str, CharSet]] = {
    "d": DIGIT,
    "D": complement(DIGIT),
    "s": SPACE,
    "S": complement(SPACE),
    "w": WORD,
    "W": complement(WORD),
}
_CONTROLS: Final = {"t": 9, "n": 10, "v": 11, "f": 12, "r": 13}


class Characters:
    """A place in a pattern, and what can be read from there of one character.

    Args:
        pattern: The pattern.
        unicode: Whether it is in Unicode mode.
    """

    def __init__(self, pattern: str, *, unicode: bool) -> None:
        self.text = pattern
        self.at = 0
        self.unicode = unicode

    def peek(self, text: str) -> bool:
        """Whether a text comes next."""
        return self.text.startswith(text, self.at)

    def take(self, text: str) -> bool:
        """Pass a text if it comes next."""
        found = self.peek(text)
        if found:
            self.at += len(text)
        return found

    def next(self) -> str:
        """Pass one character."""
        if self.at >= len(self.text):
            raise RegexError("It ends too early.")
        char = self.text[self.at]
        self.at += 1
        return char

    def class_escape(self) -> Chars:
        """What follows a backslash, in a class or outside."""
        char = self.next()
        if char in _CLASSES:
            return Chars(_CLASSES[char])
        if char in "pP" and self.unicode:
            found = re.compile(r"\{([\w=]+)\}").match(self.text, self.at)
            if found is None:
                raise RegexError("A property without its name.")
            self.at = found.end()
            return Chars((), ((found[1], char == "P"),))
        return single(self.code_point(char))

    def code_point(self, char: str) -> int:
        """The code point of an escape that begins with a letter."""
        if char in _CONTROLS:
            return _CONTROLS[char]
        if char == "0" and not (self.at < len(self.text) and self.text[self.at].isdigit()):
            return 0
        if char.isdigit():
            raise RegexError("Octal escapes are not supported.")
        if char == "c":
            letter = self.next()
            if not (letter.isascii() and letter.isalpha()):
                raise RegexError("A control character without its letter.")
            return ord(letter) % 32
        if char == "x":
            return self.hexadecimal(r"([0-9a-fA-F]{2})", char)
        if char == "u":
            return self.unicode_escape(char)
        return ord(char)

    def unicode_escape(self, char: str) -> int:
        r"""The code point of `\uXXXX`, of a pair of them, or of `\u{X…}`."""
        if self.unicode and self.peek("{"):
            return self.hexadecimal(r"\{([0-9a-fA-F]+)\}", char)
        first = self.hexadecimal(r"([0-9a-fA-F]{4})", char)
        if 0xD800 <= first < 0xDC00 and self.peek("\\u"):  # noqa: PLR2004 - the high surrogates
            second = re.compile(r"\\u([dD][c-fC-F][0-9a-fA-F]{2})").match(self.text, self.at)
            if second is not None:
                self.at = second.end()
                return 0x10000 + ((first - 0xD800) << 10) + (int(second[1], 16) - 0xDC00)
        return first

    def hexadecimal(self, digits: str, char: str) -> int:
        """The number in a pattern of digits; the letter itself if there are none."""
        found = re.compile(digits).match(self.text, self.at)
        if found is None:
            return ord(char)
        self.at = found.end()
        return int(found[1], 16)

    def char_class(self) -> Chars:
        """What is between brackets, the opening one being passed."""
        negated = self.take("^")
        intervals: list[tuple[int, int]] = []
        properties: list[tuple[str, bool]] = []
        while not self.take("]"):
            low = self.class_atom()
            if self.peek("-") and not self.peek("-]"):
                point = _only(low)
                mark = self.at
                self.at += 1
                high = _only(self.class_atom())
                if point is not None and high is not None:
                    if point > high:
                        raise RegexError("A range out of order.")
                    intervals.append((point, high))
                    continue
                self.at = mark + 1  # `\w-.`: the dash is itself
                intervals.append((0x2D, 0x2D))
            intervals.extend(low.intervals)
            properties.extend(low.properties)
        if properties:
            return Chars(charset(intervals), tuple(properties), negated)
        return Chars(complement(charset(intervals)) if negated else charset(intervals))

    def class_atom(self) -> Chars:
        """One member of a class."""
        char = self.next()
        if char != "\\":
            return single(ord(char))
        if self.take("b"):
            return single(8)
        return self.class_escape()


def single(point: int) -> Chars:
    """One code point."""
    return Chars(((point, point),))


def _only(chars: Chars) -> int | None:
    ((low, high),) = chars.intervals if len(chars.intervals) == 1 else ((0, 1),)
    return low if low == high and not chars.properties else None
