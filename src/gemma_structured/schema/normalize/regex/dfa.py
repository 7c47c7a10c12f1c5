"""Deterministic automata over code points: boolean operations, emptiness, minimal form."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

from gemma_structured.schema.normalize.regex.charset import (
    ANY,
    CharSet,
    contains,
    intersect,
    partition,
)
from gemma_structured.schema.normalize.regex.syntax import RegexError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MAX_STATES", "Dfa"]

MAX_STATES: Final = 1500


@dataclass(frozen=True, eq=False)
class Dfa:
    """A total automaton: from each state, each character leads to one state; state 0 is the start.

    Attributes:
        alphabet: A partition of all code points, whose parts are told apart.
        edges: By state and part, the next state.
        accepting: By state, whether a text may end there.
    """

    alphabet: tuple[CharSet, ...]
    edges: tuple[tuple[int, ...], ...]
    accepting: tuple[bool, ...]

    def matches(self, text: str) -> bool:
        """Whether it accepts a text."""
        state = 0
        for char in text:
            part = next(
                (i for i, one in enumerate(self.alphabet) if contains(one, ord(char))), None
            )
            if part is None:  # half a surrogate pair is in no part
                return False
            state = self.edges[state][part]
        return self.accepting[state]

    @cached_property
    def live(self) -> tuple[bool, ...]:
        """By state, whether an accepting one can still be reached."""
        sources: list[list[int]] = [[] for _ in self.edges]
        for state, row in enumerate(self.edges):
            for target in set(row):
                sources[target].append(state)
        pending = [state for state, accepts in enumerate(self.accepting) if accepts]
        alive = set(pending)
        while pending:
            for source in sources[pending.pop()]:
                if source not in alive:
                    alive.add(source)
                    pending.append(source)
        return tuple(state in alive for state in range(len(self.edges)))

    @property
    def is_empty(self) -> bool:
        """Whether it accepts no text."""
        return not self.live[0]

    @property
    def is_everything(self) -> bool:
        """Whether it accepts every text."""
        return (~self).is_empty

    def __invert__(self) -> Dfa:
        return Dfa(self.alphabet, self.edges, tuple(not accepts for accepts in self.accepting))

    def __and__(self, other: Dfa) -> Dfa:
        return _product(self, other, lambda left, right: left and right)

    def __or__(self, other: Dfa) -> Dfa:
        return _product(self, other, lambda left, right: left or right)

    def __le__(self, other: Dfa) -> bool:
        return (self & ~other).is_empty

    def minimal(self) -> Dfa:
        """The same language with the fewest states (Moore's algorithm), and parts that differ."""
        block = [int(accepts) for accepts in self.accepting]
        while True:
            keys = [(block[s], *(block[t] for t in row)) for s, row in enumerate(self.edges)]
            numbers: dict[tuple[int, ...], int] = {}
            renamed = [numbers.setdefault(key, len(numbers)) for key in keys]
            if len(numbers) == len(set(block)):
                break
            block = renamed
        return _merge_parts(_reachable(self, renamed))

    def lengths(self) -> tuple[int, int | None] | None:
        """The lengths of the shortest and the longest text (`None`: there is none longest)."""
        if self.is_empty:
            return None
        least: int | None = None
        layer, seen = {0}, 0
        while layer and seen <= len(self.edges):
            if least is None and any(self.accepting[state] for state in layer):
                least = seen
            layer = {t for s in layer for t in self.edges[s] if self.live[t]}
            seen += 1
        assert least is not None
        return least, None if layer else seen - 1


def _product(left: Dfa, right: Dfa, accepts: Callable[[bool, bool], bool]) -> Dfa:
    alphabet, pairs = _common_alphabet(left.alphabet, right.alphabet)
    states: dict[tuple[int, int], int] = {(0, 0): 0}
    order = [(0, 0)]
    edges: list[tuple[int, ...]] = []
    for one, two in order:
        row: list[int] = []
        for i, j in pairs:
            target = left.edges[one][i], right.edges[two][j]
            if target not in states:
                if len(states) >= MAX_STATES:
                    raise RegexError(f"It needs more than {MAX_STATES} states.")
                states[target] = len(order)
                order.append(target)
            row.append(states[target])
        edges.append(tuple(row))
    accepting = tuple(accepts(left.accepting[one], right.accepting[two]) for one, two in order)
    return Dfa(alphabet, tuple(edges), accepting).minimal()


def _common_alphabet(
    left: tuple[CharSet, ...], right: tuple[CharSet, ...]
) -> tuple[tuple[CharSet, ...], list[tuple[int, int]]]:
    if left == right:
        return left, [(i, i) for i in range(len(left))]
    parts = partition([*left, *right])

    def index(part: CharSet, alphabet: tuple[CharSet, ...]) -> int:
        return next(i for i, one in enumerate(alphabet) if intersect(part, one))

    return tuple(parts), [(index(part, left), index(part, right)) for part in parts]


def _reachable(dfa: Dfa, block: list[int]) -> Dfa:
    """The automaton of the blocks of equal states, as far as they can be reached."""
    representative: dict[int, int] = {}
    for state, number in enumerate(block):
        representative.setdefault(number, state)
    names = {block[0]: 0}
    order = [block[0]]
    edges: list[tuple[int, ...]] = []
    for number in order:
        row: list[int] = []
        for target in dfa.edges[representative[number]]:
            if block[target] not in names:
                names[block[target]] = len(order)
                order.append(block[target])
            row.append(names[block[target]])
        edges.append(tuple(row))
    return Dfa(
        dfa.alphabet, tuple(edges), tuple(dfa.accepting[representative[number]] for number in order)
    )


def _merge_parts(dfa: Dfa) -> Dfa:
    """Join the parts of the alphabet that no state tells apart."""
    columns: dict[tuple[int, ...], list[CharSet]] = {}
    for part, intervals in enumerate(dfa.alphabet):
        columns.setdefault(tuple(row[part] for row in dfa.edges), []).append(intervals)
    alphabet = tuple(
        tuple(sorted(interval for one in parts for interval in one)) for parts in columns.values()
    )
    edges = tuple(zip(*columns, strict=True)) if columns else tuple(() for _ in dfa.edges)
    return Dfa(tuple(_joined(one) for one in alphabet), edges, dfa.accepting)


def _joined(intervals: CharSet) -> CharSet:
    merged: list[tuple[int, int]] = []
    for low, high in intervals:
        if merged and low == merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], high)
        else:
            merged.append((low, high))
    return intersect(tuple(merged), ANY)
