"""From a deterministic automaton back to a syntax tree, by eliminating one state after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

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
    edges: dict[int, dict[int, Regex]] = {start: {0: EMPTY}, end: {}}
    for state in alive:
        row: dict[int, Regex] = {}
        for target in set(dfa.edges[state]):
            if dfa.live[target]:
                parts = [dfa.alphabet[i] for i, t in enumerate(dfa.edges[state]) if t == target]
                row[target] = Chars(union(*parts))
        if dfa.accepting[state]:
            row[end] = EMPTY
        edges[state] = row
    remaining = set(alive)
    while remaining:
        state = min(remaining, key=lambda s: (_cost(edges, s), s))
        remaining.discard(state)
        _remove(edges, state)
    return edges[start].get(end, NOTHING)


def _cost(edges: dict[int, dict[int, Regex]], state: int) -> int:
    """How many edges going round a state would make."""
    sources = sum(1 for source, row in edges.items() if source != state and state in row)
    return sources * len(edges[state])


def _remove(edges: dict[int, dict[int, Regex]], state: int) -> None:
    row = edges.pop(state)
    loop = row.pop(state, None)
    middle = EMPTY if loop is None else repeat(loop, 0, None)
    for source_row in edges.values():
        into = source_row.pop(state, None)
        if into is None:
            continue
        for target, out in row.items():
            around = seq([into, middle, out])
            known = source_row.get(target)
            source_row[target] = around if known is None else _either(known, around)


def _either(known: Regex, added: Regex) -> Regex:
    if added == EMPTY or known == EMPTY:
        return repeat(known if added == EMPTY else added, 0, 1)
    return alt([known, added])
