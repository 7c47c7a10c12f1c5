"""Parses a regular expression that `regress` has accepted.

`regress` decides what is an expression and which code points a class holds; all that this parser
finds is where the parts begin and end.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from gemma_structured.exceptions import SchemaError
from gemma_structured.schema.ecma.nodes import (
    Alternatives,
    Atom,
    Backreference,
    Edge,
    Look,
    Node,
    Repeat,
    Sequence,
)

__all__ = ["parse"]

_MAX_NESTING: Final = 60
_QUANTIFIER: Final = re.compile(r"(?:[*+?]|\{(\d+)(,(\d*))?\})\??")
_LOOK: Final = {
    "(?=": (False, False),
    "(?!": (False, True),
    "(?<=": (True, False),
    "(?<!": (True, True),
}
_MODIFIERS: Final = re.compile(r"\(\?([ims]*)(?:-([ims]*))?:")
_NAME: Final = re.compile(r"\(\?<([^=!>][^>]*)>")
_SURROGATES: Final = re.compile(r"\\u[Dd][89ABab][0-9A-Fa-f]{2}\\u[Dd][C-Fc-f][0-9A-Fa-f]{2}")
_ESCAPE: Final = re.compile(
    r"\\(?:u\{[0-9A-Fa-f]+\}|u[0-9A-Fa-f]{4}|x[0-9A-Fa-f]{2}|c[A-Za-z]|[pP]\{[^}]*\}|.)", re.DOTALL
)
_OCTAL: Final = re.compile(r"\\(?:[0-3][0-7]{0,2}|[4-7][0-7]?)")
_SHORT_ESCAPE: Final = re.compile(r"\\.", re.DOTALL)
_LOOSE_ESCAPE: Final = re.compile(
    r"\\(?:u[0-9A-Fa-f]{4}|x[0-9A-Fa-f]{2}|c[A-Za-z]|[^c])", re.DOTALL
)
_CLASS: Final = re.compile(r"\[(?:\\.|[^\]\\])*\]", re.DOTALL)


def parse(pattern: str, *, unicode: bool) -> Node:
    """The syntax tree of a pattern that compiles.

    Args:
        pattern: Its source.
        unicode: Whether it compiled in Unicode mode, or only in the older syntax.

    Raises:
        SchemaError: Its groups are nested too deeply.
    """
    return _Parser(pattern, unicode=unicode).whole()


@dataclass(frozen=True, slots=True)
class _Flags:
    ignore_case: bool = False
    multiline: bool = False
    dot_all: bool = False


class _Parser:
    def __init__(self, pattern: str, *, unicode: bool) -> None:
        self._pattern = pattern
        self._unicode = unicode
        self._at = 0
        self._nesting = 0
        bare = _CLASS.sub("", _SHORT_ESCAPE.sub("", pattern))
        self._named = _NAME.search(bare) is not None
        self._groups = len(re.findall(r"\((?!\?)", bare)) + len(_NAME.findall(bare))

    def whole(self) -> Node:
        return self._alternatives(_Flags())

    def _alternatives(self, flags: _Flags) -> Node:
        options = [self._sequence(flags)]
        while self._peek() == "|":
            self._at += 1
            options.append(self._sequence(flags))
        return options[0] if len(options) == 1 else Alternatives(tuple(options))

    def _sequence(self, flags: _Flags) -> Node:
        parts: list[Node] = []
        while self._peek() not in {"", "|", ")"}:
            parts.append(self._quantified(self._term(flags)))
        return parts[0] if len(parts) == 1 else Sequence(tuple(parts))

    def _quantified(self, node: Node) -> Node:
        match = _QUANTIFIER.match(self._pattern, self._at)
        if match is None:
            return node
        self._at = match.end()
        kind = match[0][0]
        if kind != "{":
            return Repeat(node, 1 if kind == "+" else 0, 1 if kind == "?" else None)
        least = int(match[1])
        if match[2] is None:
            return Repeat(node, least, least)
        return Repeat(node, least, int(match[3]) if match[3] else None)

    def _term(self, flags: _Flags) -> Node:
        char = self._peek()
        if char == "(":
            return self._group(flags)
        if char == "\\":
            return self._escape(flags)
        if char == "[":
            return self._atom(_CLASS, flags)
        self._at += 1
        if char == "^":
            return Edge("line_start" if flags.multiline else "start")
        if char == "$":
            return Edge("line_end" if flags.multiline else "end")
        if char == ".":
            return Atom("(?s:.)" if flags.dot_all else ".")
        return _flagged(char if char not in "{}]" else f"\\{char}", flags)

    def _group(self, flags: _Flags) -> Node:
        for opening, (behind, negative) in _LOOK.items():
            if self._pattern.startswith(opening, self._at):
                self._at += len(opening)
                return Look(self._closed(flags), behind, negative)
        modifiers = _MODIFIERS.match(self._pattern, self._at)
        name = _NAME.match(self._pattern, self._at)
        if modifiers is not None:
            self._at = modifiers.end()
            flags = _modified(flags, modifiers[1], modifiers[2] or "")
        else:
            self._at = name.end() if name is not None else self._at + 1
        return self._closed(flags)

    def _closed(self, flags: _Flags) -> Node:
        self._nesting += 1
        if self._nesting > _MAX_NESTING:
            raise SchemaError(
                f"The pattern's groups are nested more than {_MAX_NESTING} levels deep.",
                hint="This limit is fixed: leave out groups that change nothing.",
            )
        node = self._alternatives(flags)
        self._nesting -= 1
        self._at += 1
        return node

    def _escape(self, flags: _Flags) -> Node:
        following = self._pattern[self._at + 1]
        if following in "bB":
            self._at += 2
            return Edge("boundary" if following == "b" else "no_boundary")
        if following == "k" and (self._unicode or self._named):
            self._at = self._pattern.index(">", self._at) + 1
            return Backreference()
        if following in "123456789":
            digits = re.compile(r"\\(\d+)").match(self._pattern, self._at)
            assert digits is not None
            if self._unicode or int(digits[1]) <= self._groups:
                self._at = digits.end()
                return Backreference()
        if self._unicode and _SURROGATES.match(self._pattern, self._at):
            return self._atom(_SURROGATES, flags)
        if self._unicode:
            return self._atom(_ESCAPE, flags)
        if following in "01234567":
            return self._atom(_OCTAL, flags)
        if _LOOSE_ESCAPE.match(self._pattern, self._at) is None:
            self._at += 1
            return _flagged("\\\\", flags)
        return self._atom(_LOOSE_ESCAPE, flags)

    def _atom(self, shape: re.Pattern[str], flags: _Flags) -> Node:
        match = shape.match(self._pattern, self._at)
        assert match is not None, "regress accepted what this parser cannot read"
        self._at = match.end()
        return _flagged(match[0], flags)

    def _peek(self) -> str:
        return self._pattern[self._at : self._at + 1]


def _flagged(source: str, flags: _Flags) -> Atom:
    return Atom(f"(?i:{source})" if flags.ignore_case else source)


def _modified(flags: _Flags, added: str, removed: str) -> _Flags:
    names = {"i": "ignore_case", "m": "multiline", "s": "dot_all"}
    changes = {names[flag]: True for flag in added} | {names[flag]: False for flag in removed}
    return replace(flags, **changes)
