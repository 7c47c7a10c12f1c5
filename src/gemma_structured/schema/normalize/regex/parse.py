"""Reads a regular expression of ECMA-262 (https://tc39.es/ecma262/#sec-patterns).

Both syntaxes are read: that of Unicode mode, and the older one (Annex B) with its idle backslashes.
Characters are code points in either.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

import regress

from gemma_structured.schema.normalize.regex.charset import (
    DIGIT,
    DOT,
    SPACE,
    WORD,
    CharSet,
    charset,
    complement,
    union,
)
from gemma_structured.schema.normalize.regex.syntax import (
    EMPTY,
    Chars,
    End,
    Look,
    Regex,
    RegexError,
    Repeat,
    Start,
    alt,
    repeat,
    seq,
)

__all__ = ["parse"]

_CLASSES: Final[dict[str, CharSet]] = {
    "d": DIGIT,
    "D": complement(DIGIT),
    "s": SPACE,
    "S": complement(SPACE),
    "w": WORD,
    "W": complement(WORD),
}
_CONTROLS: Final = {"t": 9, "n": 10, "v": 11, "f": 12, "r": 13}
_QUANTIFIER: Final = re.compile(r"\{(\d+)(,?)(\d*)\}")
_GROUPS: Final = {
    "(?=": (False, False),
    "(?!": (False, True),
    "(?<=": (True, False),
    "(?<!": (True, True),
}
_DEPTH: Final = 100


@lru_cache(maxsize=1024)
def parse(pattern: str) -> Regex:
    """The syntax tree of a regular expression.

    Raises:
        RegexError: It is malformed, or it uses what is no regular language (backreferences), flags,
            or more nesting than 100 groups.
    """
    return _Parser(pattern).parse()


class _Parser:
    def __init__(self, pattern: str) -> None:
        self.text = pattern
        self.at = 0
        self.depth = 0
        self.unicode = _is_unicode(pattern)

    def parse(self) -> Regex:
        result = self.options()
        if self.at < len(self.text):
            raise RegexError("A ) without its (.")
        return result

    def peek(self, text: str) -> bool:
        return self.text.startswith(text, self.at)

    def take(self, text: str) -> bool:
        found = self.peek(text)
        if found:
            self.at += len(text)
        return found

    def next(self) -> str:
        if self.at >= len(self.text):
            raise RegexError("It ends too early.")
        char = self.text[self.at]
        self.at += 1
        return char

    def options(self) -> Regex:
        self.depth += 1
        if self.depth > _DEPTH:
            raise RegexError("Its groups nest too deeply.")
        options = [self.sequence()]
        while self.take("|"):
            options.append(self.sequence())
        self.depth -= 1
        return alt(options)

    def sequence(self) -> Regex:
        parts: list[Regex] = []
        while self.at < len(self.text) and self.text[self.at] not in "|)":
            parts.append(self.quantified(self.atom()))
        return seq(parts)

    def quantified(self, atom: Regex) -> Regex:
        bounds = self.quantifier()
        if bounds is None:
            return atom
        self.take("?")  # a lazy quantifier matches the same texts
        if bounds[1] is not None and bounds[0] > bounds[1]:
            raise RegexError("A quantifier's numbers are out of order.")
        return repeat(atom, *bounds)

    def quantifier(self) -> tuple[int, int | None] | None:
        for symbol, bounds in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self.take(symbol):
                return bounds
        found = _QUANTIFIER.match(self.text, self.at)
        if found is None:
            return None
        self.at = found.end()
        least, comma, most = found.groups()
        return int(least), int(most) if most else (None if comma else int(least))

    def atom(self) -> Regex:
        char = self.next()
        if char == "^":
            return Start()
        if char == "$":
            return End()
        if char == ".":
            return Chars(DOT)
        if char == "(":
            self.at -= 1
            return self.group()
        if char == "[":
            return self.char_class()
        if char == "\\":
            return self.escape()
        if char in "*+?":
            raise RegexError("A quantifier with nothing before it.")
        return _char(ord(char))

    def group(self) -> Regex:
        for opening, (behind, negative) in _GROUPS.items():
            if self.take(opening):
                return Look(self.closed(), behind=behind, negative=negative)
        if not self.take("(?:"):
            self.next()
            if self.peek("?"):
                named = re.compile(r"\?<[^\W\d][\w$]*>").match(self.text, self.at)
                if named is None:
                    raise RegexError("Groups with flags are not supported.")
                self.at = named.end()
        return self.closed()

    def closed(self) -> Regex:
        body = self.options()
        if not self.take(")"):
            raise RegexError("A ( without its ).")
        return body

    def escape(self) -> Regex:
        char = self.next()
        if char in "bB":
            return _boundary(negative=char == "B")
        if char == "k" and self.peek("<"):
            raise RegexError("Backreferences are not supported.")
        if char in "123456789":
            raise RegexError("Backreferences are not supported.")
        self.at -= 1
        return self.class_escape()

    def class_escape(self) -> Chars:
        char = self.next()
        if char in _CLASSES:
            return Chars(_CLASSES[char])
        if char in "pP" and self.unicode:
            found = re.compile(r"\{([\w=]+)\}").match(self.text, self.at)
            if found is None:
                raise RegexError("A property without its name.")
            self.at = found.end()
            return Chars((), ((found[1], char == "P"),))
        return _char(self.code_point(char))

    def code_point(self, char: str) -> int:
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
        found = re.compile(digits).match(self.text, self.at)
        if found is None:
            return ord(char)
        self.at = found.end()
        return int(found[1], 16)

    def char_class(self) -> Chars:
        negated = self.take("^")
        intervals: list[tuple[int, int]] = []
        properties: list[tuple[str, bool]] = []
        while not self.take("]"):
            low = self.class_atom()
            if self.peek("-") and not self.peek("-]"):
                point = _single(low)
                mark = self.at
                self.at += 1
                high = _single(self.class_atom())
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
        char = self.next()
        if char != "\\":
            return _char(ord(char))
        if self.take("b"):
            return _char(8)
        return self.class_escape()


def _char(point: int) -> Chars:
    return Chars(((point, point),))


def _single(chars: Chars) -> int | None:
    ((low, high),) = chars.intervals if len(chars.intervals) == 1 else ((0, 1),)
    return low if low == high and not chars.properties else None


def _boundary(*, negative: bool) -> Regex:
    word = Chars(WORD)
    before, after = (
        Look(word, behind=True, negative=False),
        Look(word, behind=False, negative=False),
    )
    no_before, no_after = (
        Look(word, behind=True, negative=True),
        Look(word, behind=False, negative=True),
    )
    if negative:
        return alt([seq([before, after]), seq([no_before, no_after])])
    return alt([seq([before, no_after]), seq([no_before, after])])


def _is_unicode(pattern: str) -> bool:
    try:
        regress.Regex(pattern, "u")
    except regress.RegressError:
        return False
    return True
