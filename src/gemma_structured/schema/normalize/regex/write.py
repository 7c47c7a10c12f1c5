"""Writes a syntax tree as text that ECMA-262 (Unicode mode) and Rust's regex crate read alike."""

from __future__ import annotations

import sys
from itertools import takewhile
from typing import Final

from gemma_structured.schema.normalize.regex.charset import ANY, CharSet, complement
from gemma_structured.schema.normalize.regex.syntax import (
    Alt,
    Chars,
    End,
    Look,
    Regex,
    RegexError,
    Repeat,
    Seq,
    Start,
)

__all__ = ["is_plain", "write"]

_PLAIN: Final = frozenset(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_ !\"#%',:;<=>@`"
)
_SYNTAX: Final = frozenset("^$\\.*+?()[]{}|/")
_SYMBOLS: Final[dict[tuple[int, int | None], str]] = {(0, None): "*", (1, None): "+", (0, 1): "?"}
_MAX_REPEAT: Final = 1_000_000


def is_plain(tree: Regex) -> bool:
    """Whether it looks at nothing around it, but for `^` where it starts and `$` where it ends."""
    return _plain(tree, first=True, last=True)


def _plain(tree: Regex, *, first: bool, last: bool) -> bool:
    match tree:
        case Look():
            return False
        case Start():
            return first
        case End():
            return last
        case Alt(options):
            return all(_plain(option, first=first, last=last) for option in options)
        case Seq(parts):
            # Only what may stand at the very edge keeps an anchor's meaning there.
            head = sum(1 for _ in takewhile(lambda part: isinstance(part, Start), parts))
            tail = sum(1 for _ in takewhile(lambda part: isinstance(part, End), reversed(parts)))
            return all(
                _plain(
                    part,
                    first=first and index <= head,
                    last=last and index >= len(parts) - 1 - tail,
                )
                for index, part in enumerate(parts)
            )
        case Repeat(body):
            return _plain(body, first=False, last=False)
        case Chars():
            return True


def write(tree: Regex) -> str:
    """The text of a plain tree.

    Raises:
        RegexError: It looks around, or counts past a million.
    """
    return _write(tree, level=0)


def _write(tree: Regex, *, level: int) -> str:
    """`level` is 0 for a choice, 1 inside a sequence, 2 before a quantifier."""
    match tree:
        case Chars():
            return _chars(tree)
        case Start():
            return "^"
        case End():
            return "$"
        case Seq(parts):
            text = "".join(_write(part, level=1) for part in parts)
            return f"(?:{text})" if level == 2 or not parts else text  # noqa: PLR2004
        case Alt(options):
            if not options:
                raise RegexError("It matches nothing.")
            text = "|".join(_write(option, level=0) for option in options)
            return f"(?:{text})" if level else text
        case Repeat(body, least, most):
            text = f"{_write(body, level=2)}{_quantifier(least, most)}"
            # `a{1,2}?` would be a lazy quantifier, not a repetition of one.
            return f"(?:{text})" if level == 2 else text  # noqa: PLR2004
        case Look():
            raise RegexError("It looks around.")


def _quantifier(least: int, most: int | None) -> str:
    if max(least, most or 0) > _MAX_REPEAT:
        raise RegexError("It counts past a million.")
    symbol = _SYMBOLS.get((least, most))
    if symbol is not None:
        return symbol
    if most is None:
        return f"{{{least},}}"
    return f"{{{least}}}" if least == most else f"{{{least},{most}}}"


def _chars(chars: Chars) -> str:
    if chars.properties:
        names = "".join(f"\\{'P' if no else 'p'}{{{name}}}" for name, no in chars.properties)
        return f"[{'^' if chars.negated else ''}{_intervals(chars.intervals)}{names}]"
    if chars.intervals == ANY:
        return "[\\s\\S]"
    if not chars.intervals:
        return "[^\\s\\S]"
    if len(chars.intervals) == 1 and chars.intervals[0][0] == chars.intervals[0][1]:
        return _char(chars.intervals[0][0])
    if chars.intervals[-1][1] == sys.maxunicode:
        return f"[^{_intervals(complement(chars.intervals))}]"
    return f"[{_intervals(chars.intervals)}]"


def _intervals(intervals: CharSet) -> str:
    return "".join(
        _member(low)
        if low == high
        else f"{_member(low)}{'-' if high > low + 1 else ''}{_member(high)}"
        for low, high in intervals
    )


def _char(point: int) -> str:
    char = chr(point)
    return f"\\{char}" if char in _SYNTAX else _member(point)


def _member(point: int) -> str:
    char = chr(point)
    if char in _PLAIN or (point > 0xFFFF):  # noqa: PLR2004 - past the reach of \uXXXX
        return char
    return f"\\u{point:04X}"
