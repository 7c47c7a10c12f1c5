r"""Regular expressions as JSON Schema means them: ECMA-262, by code point, in bounded time.

`regress` reads the pattern and matches it wherever its backtracking is cheap. Where it could run
away (`^(a+)+$`), the pattern is matched by sets of positions instead, which gives the same answer.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

import regress

from gemma_structured.exceptions import SchemaError
from gemma_structured.schema.ecma.cost import backtracking_cost
from gemma_structured.schema.ecma.matcher import MatchBudgetError, PositionMatcher
from gemma_structured.schema.ecma.parser import parse

__all__ = ["EcmaRegex", "MatchBudgetError"]

_MAX_LENGTH: Final = 65_536
_CHEAP: Final = 200_000
_CACHED_LENGTH: Final = 4096
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)
_CLASS_OR_ESCAPE: Final = re.compile(r"\[(?:\\.|[^\]\\])*\]|\\.", re.DOTALL)
_SYNTAX: Final = frozenset("^$\\.*+?()[]{}|/")
_MEANT: Final = frozenset("bBcdDfknprPsStuvwWx0123456789")


class EcmaRegex:
    r"""A compiled regular expression of ECMA-262 (https://tc39.es/ecma262/#sec-patterns).

    Args:
        pattern: Its source. It is read in Unicode mode; where that refuses it, idle backslashes
            before punctuation are dropped, and then the older syntax of the specification's
            Annex B is tried. Letters that other dialects give a meaning (`\A`, `\Z`) are refused.

    Raises:
        SchemaError: The pattern is not a regular expression.
    """

    __slots__ = ("_atoms", "_flags", "_full", "_node", "_search", "pattern")

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        source, self._flags = _readable(pattern)
        self._search = regress.Regex(source, self._flags)
        self._full = regress.Regex(f"^(?:{source})$", self._flags)
        self._node = parse(source, unicode=self._flags == "u")
        self._atoms: dict[str, tuple[regress.Regex, dict[str, bool]]] = {}

    @classmethod
    def of(cls, pattern: str) -> EcmaRegex:
        """The compiled pattern, from a bounded cache.

        Raises:
            SchemaError: The pattern is not a regular expression.
        """
        return _cached(pattern) if len(pattern) <= _CACHED_LENGTH else cls(pattern)

    def search(self, text: str) -> bool:
        """Whether the pattern matches somewhere in the text.

        Raises:
            MatchBudgetError: That cannot be told in bounded time (backreferences, huge nested
                repetitions).
        """
        if backtracking_cost(self._node, len(text), anchored=False) <= _CHEAP:
            return self._search.find(text) is not None
        return PositionMatcher(text, self._holds).search(self._node)

    def fullmatch(self, text: str) -> bool:
        """Whether the pattern matches the whole text.

        Raises:
            MatchBudgetError: That cannot be told in bounded time.
        """
        if backtracking_cost(self._node, len(text), anchored=True) <= _CHEAP:
            return self._full.find(text) is not None
        return PositionMatcher(text, self._holds).fullmatch(self._node)

    def _holds(self, source: str, char: str) -> bool:
        regex, known = self._atoms.setdefault(
            source, (regress.Regex(f"^{source}$", self._flags), {})
        )
        held = known.get(char)
        if held is None:
            held = known[char] = regex.find(char) is not None
        return held


@lru_cache(maxsize=1024)
def _cached(pattern: str) -> EcmaRegex:
    return EcmaRegex(pattern)


def _readable(pattern: str) -> tuple[str, str]:
    """The pattern as `regress` can read it, and the flags to read it with."""
    if len(pattern) > _MAX_LENGTH:
        raise SchemaError(
            f"A pattern of {len(pattern):,} characters is longer than {_MAX_LENGTH:,}.",
            hint="This limit is fixed: divide the pattern, or list texts in an `enum`.",
        )
    readings = [(pattern, "u"), (_without_idle_backslashes(pattern), "u")]
    if all(match[1] in _MEANT or not match[1].isalnum() for match in _ESCAPE.finditer(pattern)):
        readings.append((pattern, ""))
    reason = ""
    for source, flags in readings:
        try:
            regress.Regex(source, flags)
        except regress.RegressError as error:
            reason = reason or str(error)
        else:
            return source, flags
    raise SchemaError(
        f"{pattern!r:.200} is not a regular expression of ECMA-262: {reason[:1].lower()}"
        f"{reason[1:]}.",
        hint=_hint(pattern),
    )


def _without_idle_backslashes(pattern: str) -> str:
    def bare(match: re.Match[str], kept: frozenset[str]) -> str:
        return match[0] if match[1].isalnum() or match[1] in kept else match[1]

    def rewrite(match: re.Match[str]) -> str:
        kept = _SYNTAX | {"-"} if match[0].startswith("[") else _SYNTAX
        return _ESCAPE.sub(lambda escape: bare(escape, kept), match[0])

    return _CLASS_OR_ESCAPE.sub(rewrite, pattern)


def _hint(pattern: str) -> str | None:
    """What to write in place of other dialects' syntax."""
    if "(?P<" in pattern:
        return "A named group is written (?<name>...)."
    if r"\A" in pattern or r"\Z" in pattern or r"\z" in pattern:
        return "The start and the end are written ^ and $."
    if "(?i)" in pattern or "(?s)" in pattern or "(?m)" in pattern:
        return "Flags are set inside a group: (?i:...)."
    return None
