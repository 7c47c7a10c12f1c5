"""Sets of code points as sorted intervals, and the classes of ECMA-262."""

from __future__ import annotations

import sys
import unicodedata
from bisect import bisect_right
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "ANY",
    "DIGIT",
    "DOT",
    "NONE",
    "SPACE",
    "WORD",
    "CharSet",
    "category",
    "charset",
    "complement",
    "contains",
    "intersect",
    "partition",
    "union",
]

CharSet: TypeAlias = tuple[tuple[int, int], ...]
"""Closed intervals of code points, sorted, apart from each other; surrogates are never in one."""

_SURROGATES: Final = (0xD800, 0xDFFF)
NONE: Final[CharSet] = ()
ANY: Final[CharSet] = ((0, 0xD7FF), (0xE000, sys.maxunicode))


def charset(intervals: Iterable[tuple[int, int]]) -> CharSet:
    """The set of all code points in some intervals, in any order, overlapping or not."""
    merged: list[tuple[int, int]] = []
    for low, high in sorted(intervals):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], high))
        else:
            merged.append((low, high))
    return intersect(tuple(merged), ANY)


def union(*sets: CharSet) -> CharSet:
    """What is in any of the sets."""
    return charset(interval for one in sets for interval in one)


def intersect(left: CharSet, right: CharSet) -> CharSet:
    """What is in both sets."""
    result: list[tuple[int, int]] = []
    i = j = 0
    while i < len(left) and j < len(right):
        low, high = max(left[i][0], right[j][0]), min(left[i][1], right[j][1])
        if low <= high:
            result.append((low, high))
        if left[i][1] < right[j][1]:
            i += 1
        else:
            j += 1
    return tuple(result)


def complement(one: CharSet) -> CharSet:
    """Every code point that is not in the set, surrogates aside."""
    gaps: list[tuple[int, int]] = []
    start = 0
    for low, high in one:
        if start < low:
            gaps.append((start, low - 1))
        start = high + 1
    if start <= sys.maxunicode:
        gaps.append((start, sys.maxunicode))
    return intersect(tuple(gaps), ANY)


def contains(one: CharSet, point: int) -> bool:
    """Whether a code point is in the set."""
    index = bisect_right(one, (point, sys.maxunicode)) - 1
    return index >= 0 and one[index][1] >= point


def partition(sets: Iterable[CharSet]) -> list[CharSet]:
    """The coarsest partition of all code points in which each given set is a union of parts."""
    distinct = list(dict.fromkeys(sets))
    cuts = {0, *(edge for low, high in ANY for edge in (low, high + 1))}
    for one in distinct:
        for low, high in one:
            cuts.update((low, high + 1))
    edges = sorted(cuts)
    parts: dict[tuple[bool, ...], list[tuple[int, int]]] = {}
    for low, following in pairwise(edges):
        if contains(ANY, low):
            signature = tuple(contains(one, low) for one in distinct)
            parts.setdefault(signature, []).append((low, following - 1))
    return [charset(intervals) for intervals in parts.values()]


def _points(*points: int) -> CharSet:
    return charset((point, point) for point in points)


DIGIT: Final = charset([(0x30, 0x39)])
WORD: Final = charset([(0x30, 0x39), (0x41, 0x5A), (0x61, 0x7A), (0x5F, 0x5F)])
# WhiteSpace and LineTerminator (ECMA-262, 12.2 and 12.3): neither NEL nor the zero-width spaces but
# the byte order mark, unlike `\s` elsewhere.
SPACE: Final = union(
    charset([(0x09, 0x0D), (0x2000, 0x200A)]),
    _points(0x20, 0xA0, 0x1680, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000, 0xFEFF),
)
DOT: Final = complement(_points(0x0A, 0x0D, 0x2028, 0x2029))


@lru_cache(maxsize=1)
def _categories() -> dict[str, CharSet]:
    found: dict[str, list[tuple[int, int]]] = {}
    start, current = 0, unicodedata.category("\0")
    for point in range(1, sys.maxunicode + 2):
        name = unicodedata.category(chr(point)) if point <= sys.maxunicode else ""
        if name != current:
            found.setdefault(current, []).append((start, point - 1))
            start, current = point, name
    return {name: charset(intervals) for name, intervals in found.items()}


@lru_cache(maxsize=64)
def category(name: str) -> CharSet | None:
    """The code points of a general category by its short name (`L`, `Lu`), if it is one."""
    sets = [one for full, one in _categories().items() if full == name or full[0] == name]
    return union(*sets) if sets else None
