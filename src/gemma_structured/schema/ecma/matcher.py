"""Matches a regular expression without backtracking: by sets of positions, bits of an integer.

A node turns the set of positions where a match may end into the set where it may begin, or the
other way round for what a lookbehind looks at. So nothing is tried twice, and the work is bounded
by the size of the pattern times the length of the text, over the width of a machine word.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gemma_structured.exceptions import SchemaError
from gemma_structured.schema.ecma.nodes import (
    Alternatives,
    Atom,
    Backreference,
    Edge,
    EdgeKind,
    Look,
    Node,
    Repeat,
    Sequence,
)

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MatchBudgetError", "PositionMatcher"]

_BUDGET: Final = 400_000
_BITS_PER_UNIT: Final = 2048
_LINE_ENDS: Final = frozenset("\n\r\u2028\u2029")
_WORD: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_")


class MatchBudgetError(SchemaError):
    """A pattern that cannot be matched against a text in bounded time."""


class PositionMatcher:
    """One text, and where in it the parts of a pattern match.

    Args:
        text: What is matched.
        holds: Whether an atom's source matches a character.
    """

    def __init__(self, text: str, holds: Callable[[str, str], bool]) -> None:
        self._text = text
        self._holds = holds
        self._all = (1 << (len(text) + 1)) - 1
        self._atoms: dict[str, int] = {}
        self._held: dict[Look | Edge, int] = {}
        self._left = _BUDGET
        self._cost = 1 + len(text) // _BITS_PER_UNIT

    def search(self, node: Node) -> bool:
        """Whether the node matches somewhere.

        Raises:
            MatchBudgetError: It takes too long to tell.
        """
        return self._move(node, self._all, back=True) != 0

    def fullmatch(self, node: Node) -> bool:
        """Whether the node matches the whole text.

        Raises:
            MatchBudgetError: It takes too long to tell.
        """
        return bool(self._move(node, 1 << len(self._text), back=True) & 1)

    def _move(self, node: Node, places: int, *, back: bool) -> int:
        """Where a match may begin that ends in `places` (`back`), or end that begins there."""
        self._spend()
        if not places:
            return 0
        match node:
            case Atom():
                here = self._atom(node.source)
                return (places >> 1) & here if back else (places & here) << 1
            case Sequence():
                for part in reversed(node.parts) if back else node.parts:
                    places = self._move(part, places, back=back)
                return places
            case Alternatives():
                reached = 0
                for option in node.options:
                    reached |= self._move(option, places, back=back)
                return reached
            case Repeat():
                return self._repeat(node, places, back=back)
            case Look() | Edge():
                return places & self._where(node)
            case Backreference():
                raise MatchBudgetError(
                    "A backreference cannot be matched against so long a text in bounded time."
                )

    def _repeat(self, node: Repeat, places: int, *, back: bool) -> int:
        for _ in range(node.least):
            moved = self._move(node.node, places, back=back)
            if moved in {0, places}:
                places = moved
                break
            places = moved
        single = self._single(node.node)
        reached = fresh = places
        rounds = len(self._text) + 1 if node.most is None else node.most - node.least
        while fresh and rounds:
            if node.most is None and single:
                fresh = self._run(single, fresh, back=back)
                reached |= fresh
            fresh = self._move(node.node, fresh, back=back) & ~reached
            reached |= fresh
            rounds -= 1
        return reached

    def _single(self, node: Node) -> int:
        """The characters that a node can take alone."""
        if isinstance(node, Atom):
            return self._atom(node.source)
        if isinstance(node, Alternatives):
            found = 0
            for option in node.options:
                found |= self._single(option)
            return found
        return 0

    def _run(self, here: int, places: int, *, back: bool) -> int:
        """Any number of one atom, by doubling: places one step away, then two, then four."""
        step = 1
        while here:
            self._spend()
            if back:
                places |= (places >> step) & here
                here &= here >> step
            else:
                places |= (places & here) << step
                here &= here >> step
            step *= 2
        return places

    def _atom(self, source: str) -> int:
        found = self._atoms.get(source)
        if found is None:
            held = frozenset(char for char in set(self._text) if self._holds(source, char))
            found = self._atoms[source] = self._members(held)
            self._spend()
        return found

    def _where(self, node: Look | Edge) -> int:
        """The places where a node without width holds."""
        found = self._held.get(node)
        if found is None:
            if isinstance(node, Edge):
                found = self._places_of(node.kind)
            else:
                found = self._move(node.node, self._all, back=not node.behind)
                found = self._all & ~found if node.negative else found
            self._held[node] = found
        return found

    def _places_of(self, kind: EdgeKind) -> int:
        size = len(self._text)
        if kind == "start":
            return 1
        if kind == "end":
            return 1 << size
        if kind == "line_start":
            return 1 | (self._members(_LINE_ENDS) << 1)
        if kind == "line_end":
            return (1 << size) | self._members(_LINE_ENDS)
        words = self._members(_WORD)
        boundary = words ^ (words << 1)
        return boundary if kind == "boundary" else self._all & ~boundary

    def _members(self, chars: frozenset[str]) -> int:
        table = {ord(char): "1" if char in chars else "0" for char in set(self._text)}
        bits = self._text[::-1].translate(table)
        return int(bits, 2) if bits else 0

    def _spend(self) -> None:
        self._left -= self._cost
        if self._left < 0:
            raise MatchBudgetError(
                f"The pattern cannot be matched against {len(self._text):,} characters in bounded "
                "time."
            )
