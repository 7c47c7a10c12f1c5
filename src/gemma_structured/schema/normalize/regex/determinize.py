"""From a syntax tree to a deterministic automaton, lookaround and anchors included.

A state of the result is a set of threads. A thread is a place in the nondeterministic automaton
together with its obligations: for each lookahead that it has passed, how far the text since then
has come in that lookahead's own automaton. Lookbehinds need no obligations: for each of them an
automaton of the texts that end in its body runs along from the start, so that its state tells
whether the condition holds.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from gemma_structured.schema.normalize.regex.charset import ANY, partition
from gemma_structured.schema.normalize.regex.dfa import MAX_STATES, Dfa
from gemma_structured.schema.normalize.regex.nfa import Condition, Nfa, nfa
from gemma_structured.schema.normalize.regex.parse import parse
from gemma_structured.schema.normalize.regex.subsets import subsets
from gemma_structured.schema.normalize.regex.syntax import (
    ANYTHING,
    Alt,
    Chars,
    End,
    Look,
    Regex,
    RegexError,
    Repeat,
    Seq,
    Start,
    seq,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gemma_structured.schema.normalize.regex.charset import CharSet

__all__ = ["determinize", "language"]

_MAX_WORK: Final = 50_000
_ANY_CHAR: Final = Look(Chars(ANY), behind=False, negative=True)


class _Obligation(NamedTuple):
    look: int
    state: int
    negative: bool


_Thread: TypeAlias = "tuple[int, frozenset[_Obligation]]"
_State: TypeAlias = "tuple[frozenset[_Thread], tuple[int, ...], bool]"


@lru_cache(maxsize=512)
def language(pattern: str) -> Dfa:
    """The texts in which a pattern is found somewhere, as JSON Schema's `pattern` means it.

    Raises:
        RegexError: It is not regular, or its automaton is too large.
    """
    return determinize(seq([ANYTHING, parse(pattern), ANYTHING]))


def determinize(tree: Regex) -> Dfa:
    """The minimal automaton of the texts that a tree matches as a whole.

    Raises:
        RegexError: It is too large.
    """
    looks = any(isinstance(condition, Look) for condition in _conditions(tree))
    return (_Subsets(tree).run() if looks else subsets(tree)).minimal()


class _Subsets:
    def __init__(self, tree: Regex, *, at_start: bool = True) -> None:
        self.at_start = at_start
        self.nfa: Nfa = nfa(tree)
        looks = list(dict.fromkeys(_looks(tree)))
        self.aheads = [look for look in looks if not look.behind]
        self.behinds = [look for look in looks if look.behind]
        if any(isinstance(node, Start | Look) for look in looks for node in _conditions(look.body)):
            raise RegexError("Lookaround inside lookaround is not supported.")
        self.automata = [
            _Subsets(seq([look.body, ANYTHING]), at_start=False).run().minimal()
            for look in self.aheads
        ]
        self.trackers = [determinize(seq([ANYTHING, look.body])) for look in self.behinds]
        sets = [intervals for moves in self.nfa.moves for intervals, _ in moves]
        for automaton in (*self.automata, *self.trackers):
            sets.extend(automaton.alphabet)
        self.alphabet = tuple(partition(sets))
        self.parts: dict[CharSet, frozenset[int]] = {}
        self.look_parts = [self._translate(automaton) for automaton in self.automata]
        self.tracker_parts = [self._translate(automaton) for automaton in self.trackers]
        self.work = 0

    def _translate(self, automaton: Dfa) -> list[int]:
        """By part of this alphabet, the part of that automaton's alphabet that holds it."""
        points = [intervals[0][0] for intervals in self.alphabet]
        return [
            next(i for i, one in enumerate(automaton.alphabet) if any(a <= p <= b for a, b in one))
            for p in points
        ]

    def _covers(self, intervals: CharSet) -> frozenset[int]:
        found = self.parts.get(intervals)
        if found is None:
            found = frozenset(
                index
                for index, part in enumerate(self.alphabet)
                if any(low <= part[0][0] <= high for low, high in intervals)
            )
            self.parts[intervals] = found
        return found

    def _start(self) -> _State:
        trackers = tuple(0 for _ in self.trackers)
        return self._close({(0, frozenset())}, trackers, at_start=self.at_start)

    def run(self) -> Dfa:
        start = self._start()
        states: dict[_State, int] = {start: 0}
        order = [start]
        edges: list[tuple[int, ...]] = []
        for state in order:
            row: list[int] = []
            for part in range(len(self.alphabet)):
                target = self._step(state, part)
                if target not in states:
                    if len(order) >= MAX_STATES:
                        raise RegexError(f"It needs more than {MAX_STATES} states.")
                    states[target] = len(order)
                    order.append(target)
                row.append(states[target])
            edges.append(tuple(row))
        return Dfa(self.alphabet, tuple(edges), tuple(self._accepts(state) for state in order))

    def _accepts(self, state: _State) -> bool:
        return any(
            place == self.nfa.end
            and all(self.automata[o.look].accepting[o.state] != o.negative for o in obligations)
            for place, obligations in state[0]
        )

    def _step(self, state: _State, part: int) -> _State:
        threads, trackers, _ = state
        moved: set[_Thread] = set()
        for place, obligations in threads:
            targets = [t for chars, t in self.nfa.moves[place] if part in self._covers(chars)]
            kept = self._advance(obligations, part) if targets else None
            if kept is not None:
                moved.update((target, kept) for target in targets)
        after = tuple(
            automaton.edges[tracker][parts[part]]
            for automaton, tracker, parts in zip(
                self.trackers, trackers, self.tracker_parts, strict=True
            )
        )
        return self._close(moved, after, at_start=False)

    def _advance(
        self, obligations: frozenset[_Obligation], part: int
    ) -> frozenset[_Obligation] | None:
        """The obligations after one more character; `None` if one can no longer be met."""
        kept: set[_Obligation] = set()
        for look, state, negative in obligations:
            target = self.automata[look].edges[state][self.look_parts[look][part]]
            verdict = self._verdict(look, target)
            if verdict is None:
                kept.add(_Obligation(look, target, negative))
            elif verdict == negative:
                return None
        return frozenset(kept)

    def _verdict(self, look: int, state: int) -> bool | None:
        """Whether that state's lookahead is sure to match (or not to); `None` if it depends."""
        automaton = self.automata[look]
        if not automaton.live[state]:
            return False
        certain = automaton.accepting[state] and all(t == state for t in automaton.edges[state])
        return True if certain else None

    def _close(self, threads: set[_Thread], trackers: tuple[int, ...], *, at_start: bool) -> _State:
        pending, closed = list(threads), set(threads)
        while pending:
            place, obligations = pending.pop()
            self.work += 1
            if self.work > _MAX_WORK:
                raise RegexError("Its automaton takes too long to build.")
            for condition, target in self.nfa.jumps[place]:
                passed = self._pass(condition, obligations, trackers, at_start=at_start)
                if passed is not None and (target, passed) not in closed:
                    closed.add((target, passed))
                    pending.append((target, passed))
        # Only where characters lead on, or the text may end, does a thread matter.
        useful = {(p, o) for p, o in closed if self.nfa.moves[p] or p == self.nfa.end}
        return frozenset(useful), trackers, at_start

    def _pass(
        self,
        condition: Condition | None,
        obligations: frozenset[_Obligation],
        trackers: tuple[int, ...],
        *,
        at_start: bool,
    ) -> frozenset[_Obligation] | None:
        """The obligations beyond an empty edge; `None` if it cannot be passed here."""
        if condition is None:
            return obligations
        if isinstance(condition, Start):
            return obligations if at_start else None
        look = _ANY_CHAR if isinstance(condition, End) else condition
        if look.behind:
            index = self.behinds.index(look)
            holds = self.trackers[index].accepting[trackers[index]] != look.negative
            return obligations if holds else None
        index = self.aheads.index(look)
        verdict = self._verdict(index, 0)
        if verdict is None:
            return obligations | {_Obligation(index, 0, look.negative)}
        return obligations if verdict != look.negative else None


def _conditions(tree: Regex) -> Iterator[Condition]:
    match tree:
        case Look() | Start() | End():
            yield tree
        case Seq(parts) | Alt(parts):
            for part in parts:
                yield from _conditions(part)
        case Repeat(body):
            yield from _conditions(body)
        case Chars():
            pass


def _looks(tree: Regex) -> Iterator[Look]:
    for condition in _conditions(tree):
        if isinstance(condition, Look):
            yield condition
        elif isinstance(condition, End):
            yield _ANY_CHAR
