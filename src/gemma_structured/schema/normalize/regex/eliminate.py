"""From a deterministic automaton back to a syntax tree, state by state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from gemma_structured.schema.normalize.regex.charset import union
from gemma_structured.schema.normalize.regex.syntax import (
    EMPTY,
    NOTHING,
    Chars,
    End,
    Regex,
    RegexError,
    Start,
    alt,
    repeat,
    seq,
)
from gemma_structured.schema.normalize.regex.write import write

if TYPE_CHECKING:
    from gemma_structured.schema.normalize.regex.dfa import Dfa

__all__ = ["pattern_of"]

_MAX_LIVE: Final = 60
_MAX_LENGTH: Final = 6000
_MAX_WEIGHT: Final = 1500

_Edge: TypeAlias = "tuple[Regex, int]"
"""An expression and how many parts it is written with."""


def pattern_of(dfa: Dfa) -> str:
    """A pattern, anchored at both ends, of exactly the texts that an automaton accepts.

    Raises:
        RegexError: There are none, or the pattern would be too long.
    """
    if dfa.is_empty:
        raise RegexError("It matches nothing.")
    tree = _eliminate(dfa.minimal())
    text = write(seq([Start(), tree, End()]))
    if len(text) > _MAX_LENGTH:
        raise RegexError(f"It would be {len(text)} characters long.")
    return text


def _eliminate(dfa: Dfa) -> Regex:
    alive = [state for state, live in enumerate(dfa.live) if live]
    if len(alive) > _MAX_LIVE:
        raise RegexError(f"It would be written from {len(alive)} states.")
    start, end = -1, -2
    edges: dict[int, dict[int, _Edge]] = {start: {0: (EMPTY, 0)}, end: {}}
    for state in alive:
        row: dict[int, _Edge] = {}
        for target in dict.fromkeys(dfa.edges[state]):
            if dfa.live[target]:
                parts = [dfa.alphabet[i] for i, t in enumerate(dfa.edges[state]) if t == target]
                intervals = union(*parts)
                row[target] = (Chars(intervals), 1 + len(intervals) // 4)
        if dfa.accepting[state]:
            row[end] = (EMPTY, 0)
        edges[state] = row
    remaining = set(alive)
    while remaining:
        state = min(remaining, key=lambda s: (_cost(edges, s), s))
        remaining.discard(state)
        _remove(edges, state)
    return edges[start].get(end, (NOTHING, 0))[0]


def _cost(edges: dict[int, dict[int, _Edge]], state: int) -> int:
    """How much going round a state would write."""
    row = edges[state]
    sources = [
        source[state][1] for number, source in edges.items() if number != state and state in source
    ]
    targets = [edge[1] for number, edge in row.items() if number != state]
    loop = row[state][1] if state in row else 0
    return (
        sum(sources) * len(targets)
        + sum(targets) * len(sources)
        + loop * len(sources) * len(targets)
    )


def _remove(edges: dict[int, dict[int, _Edge]], state: int) -> None:
    row = edges.pop(state)
    loop, loop_weight = row.pop(state, (None, 0))
    middle = EMPTY if loop is None else repeat(loop, 0, None)
    for source_row in edges.values():
        into = source_row.pop(state, None)
        if into is None:
            continue
        for target, (out, weight) in row.items():
            added = (seq([into[0], middle, out]), into[1] + loop_weight + weight)
            known = source_row.get(target)
            source_row[target] = added if known is None else _either(known, added)
            if source_row[target][1] > _MAX_WEIGHT:
                raise RegexError("It would be very long.")


def _either(known: _Edge, added: _Edge) -> _Edge:
    weight = known[1] + added[1]
    if added[0] == EMPTY or known[0] == EMPTY:
        return repeat(known[0] if added[0] == EMPTY else added[0], 0, 1), weight
    return alt([known[0], added[0]]), weight
