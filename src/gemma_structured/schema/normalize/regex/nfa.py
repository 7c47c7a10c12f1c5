"""Thompson's construction, with conditions on the empty edges."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

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
    members,
)

if TYPE_CHECKING:
    from gemma_structured.schema.normalize.regex.charset import CharSet

__all__ = ["Condition", "Nfa", "nfa"]

MAX_STATES: Final = 3000

Condition: TypeAlias = "Look | Start | End"
"""What must hold at a place for an empty edge to be passed."""


@dataclass(slots=True)
class Nfa:
    """An automaton with one start, one end, edges of characters and empty edges.

    Attributes:
        moves: By state, the characters that lead from it and where.
        jumps: By state, the empty edges from it, each with the condition on it.
        end: The one state that accepts; the start is state 0.
    """

    moves: list[list[tuple[CharSet, int]]] = field(default_factory=lambda: [[]])
    jumps: list[list[tuple[Condition | None, int]]] = field(default_factory=lambda: [[]])
    end: int = 0

    def add(self) -> int:
        """A new state.

        Raises:
            RegexError: There are too many.
        """
        if len(self.moves) >= MAX_STATES:
            raise RegexError(f"It needs more than {MAX_STATES} states.")
        self.moves.append([])
        self.jumps.append([])
        return len(self.moves) - 1


def nfa(tree: Regex) -> Nfa:
    """The automaton of a syntax tree.

    Raises:
        RegexError: It is too large, or names characters that are not known.
    """
    automaton = Nfa()
    automaton.end = _build(automaton, tree, 0)
    return automaton


def _build(automaton: Nfa, tree: Regex, start: int) -> int:
    """Add what leads from `start` through the tree; returns where that ends."""
    match tree:
        case Chars():
            end = automaton.add()
            automaton.moves[start].append((members(tree), end))
            return end
        case Seq(parts):
            for part in parts:
                start = _build(automaton, part, start)
            return start
        case Alt(options):
            end = automaton.add()
            for option in options:
                entry = automaton.add()
                automaton.jumps[start].append((None, entry))
                automaton.jumps[_build(automaton, option, entry)].append((None, end))
            return end
        case Repeat(body, least, most):
            return _repeat(automaton, body, least, most, start)
        case Look() | Start() | End():
            end = automaton.add()
            automaton.jumps[start].append((tree, end))
            return end


def _repeat(automaton: Nfa, body: Regex, least: int, most: int | None, start: int) -> int:
    if max(least, most or 0) > MAX_STATES:
        raise RegexError(f"It needs more than {MAX_STATES} states.")
    for _ in range(least):
        start = _build(automaton, body, start)
    if most is None:
        loop = automaton.add()
        automaton.jumps[start].append((None, loop))
        automaton.jumps[_build(automaton, body, loop)].append((None, loop))
        end = automaton.add()
        automaton.jumps[loop].append((None, end))
        return end
    end = automaton.add()
    automaton.jumps[start].append((None, end))
    for _ in range(most - least):
        start = _build(automaton, body, start)
        automaton.jumps[start].append((None, end))
    return end
