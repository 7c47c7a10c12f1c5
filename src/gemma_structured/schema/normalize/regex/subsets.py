"""The subset construction for trees without lookaround: sets of states as bits of an integer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gemma_structured.schema.normalize.regex.charset import partition
from gemma_structured.schema.normalize.regex.dfa import MAX_STATES, Dfa
from gemma_structured.schema.normalize.regex.nfa import nfa
from gemma_structured.schema.normalize.regex.syntax import End, Regex, RegexError, Start

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gemma_structured.schema.normalize.regex.nfa import Nfa

__all__ = ["subsets"]

_MAX_WORK: Final = 500_000


def subsets(tree: Regex) -> Dfa:
    """The automaton of a tree whose only conditions are the start and the end of the text.

    Raises:
        RegexError: It is too large.
    """
    automaton = nfa(tree)
    alphabet = tuple(partition(chars for moves in automaton.moves for chars, _ in moves))
    closures = [_closure(automaton, state, at_start=False) for state in range(len(automaton.moves))]
    accepting = sum(1 << s for s in range(len(closures)) if _may_end(automaton, s, at_start=False))
    leading = _leading(automaton, alphabet, closures)
    start = _closure(automaton, 0, at_start=True)
    # The start is a state of its own: there, the text may still be empty.
    states: dict[int, int] = {-1 - start: 0}
    order = [-1 - start]
    edges: list[tuple[int, ...]] = []
    work = 0
    for state in order:
        members = list(_bits(state if state >= 0 else start))
        work += len(members) * len(alphabet)
        if work > _MAX_WORK:
            raise RegexError("Its automaton takes too long to build.")
        row: list[int] = []
        for targets in leading:
            target = 0
            for member in members:
                target |= targets[member]
            if target not in states:
                if len(order) >= MAX_STATES:
                    raise RegexError(f"It needs more than {MAX_STATES} states.")
                states[target] = len(order)
                order.append(target)
            row.append(states[target])
        edges.append(tuple(row))
    ends = [bool(state & accepting) for state in order[1:]]
    return Dfa(alphabet, tuple(edges), (_may_end(automaton, 0, at_start=True), *ends))


def _leading(
    automaton: Nfa, alphabet: tuple[tuple[tuple[int, int], ...], ...], closures: list[int]
) -> list[list[int]]:
    """By part of the alphabet and state, the set of states that the part leads to."""
    found = [[0] * len(closures) for _ in alphabet]
    points = [part[0][0] for part in alphabet]
    for state, moves in enumerate(automaton.moves):
        for chars, target in moves:
            for part, point in enumerate(points):
                if any(low <= point <= high for low, high in chars):
                    found[part][state] |= closures[target]
    return found


def _closure(automaton: Nfa, state: int, *, at_start: bool) -> int:
    """The states that are reached without a character, where more characters may follow."""
    found, pending = 1 << state, [state]
    while pending:
        for condition, target in automaton.jumps[pending.pop()]:
            passes = condition is None or (isinstance(condition, Start) and at_start)
            if passes and not found >> target & 1:
                found |= 1 << target
                pending.append(target)
    return found


def _may_end(automaton: Nfa, state: int, *, at_start: bool) -> bool:
    """Whether the end is reached without a character, where no character follows."""
    seen, pending = {state}, [state]
    while pending:
        for condition, target in automaton.jumps[pending.pop()]:
            passes = condition is None or isinstance(condition, End) or at_start
            if passes and target not in seen:
                seen.add(target)
                pending.append(target)
    return automaton.end in seen


def _bits(state: int) -> Iterator[int]:
    while state:
        lowest = state & -state
        yield lowest.bit_length() - 1
        state ^= lowest
