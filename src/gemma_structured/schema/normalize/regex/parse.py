"""Reads a regular expression of ECMA-262 (https://tc39.es/ecma262/#sec-patterns).

Both syntaxes are read: that of Unicode mode, and the older one (Annex B) with its idle backslashes.
Characters are code points in either.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

import regress

from gemma_structured.schema.normalize.regex.characters import Characters, single
from gemma_structured.schema.normalize.regex.charset import (
    DOT,
    WORD,
)
from gemma_structured.schema.normalize.regex.syntax import (
    Chars,
    End,
    Look,
    Regex,
    RegexError,
    Start,
    alt,
    repeat,
    seq,
)

__all__ = ["parse"]

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


class _Parser(Characters):
    def __init__(self, pattern: str) -> None:
        super().__init__(pattern, unicode=_is_unicode(pattern))
        self.depth = 0

    def parse(self) -> Regex:
        result = self.options()
        if self.at < len(self.text):
            raise RegexError("A ) without its (.")
        return result

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
        return single(ord(char))

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
