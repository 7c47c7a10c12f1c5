r"""One sequence's place in an index that outlines-core has built.

outlines-core looks for the leftmost match as a search would, and so loses texts that go on after a
text that is whole: of `re|red` it allows `re` alone, and after `1` of `[0-9]+(\.[0-9]+)?` no point.
Behind an end mark no text is the beginning of another, so each grammar is compiled with one, and a
text is whole where the mark may follow. No model ever writes it.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
from cachetools import LRUCache

from gemma_structured.exceptions import GrammarError, TokenRejectedError
from gemma_structured.grammar import bitmask as bits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from gemma_structured.grammar.spec import Grammar
    from gemma_structured.grammar.vocabulary import Vocabulary

__all__ = [
    "END_MARK",
    "OutlinesCoreGrammar",
    "OutlinesCoreMatcher",
    "TokenIndex",
    "TokenStates",
    "token_ids",
]

END_MARK: Final = "\U0010ffff"
"""A code point that Unicode keeps free of any character."""

_KEPT_MASKS: Final = 256
_MAX_FORCED: Final = 256


def token_ids(vocabulary: Vocabulary) -> dict[bytes, list[int]]:
    """The ids of each text that a token may have, and the end mark on an id past all others.

    Tokens that hold the mark's first byte are left out, so that nothing else can write it. It
    begins only characters of Unicode's last plane, which is for private use.
    """
    first = END_MARK.encode()[0]
    ids: dict[bytes, list[int]] = {}
    for token_id, token in enumerate(vocabulary.tokens):
        if token and first not in token and token_id not in vocabulary.control_ids:
            ids.setdefault(token, []).append(token_id)
    return ids | {END_MARK.encode(): [vocabulary.size]}


class TokenIndex(Protocol):
    """`outlines_core.Index`, which comes without types."""

    def get_initial_state(self) -> int:
        """The state at the start."""
        ...

    def is_final_state(self, state: int) -> bool:
        """Whether the text may end there."""
        ...

    def get_next_state(self, state: int, token_id: int) -> int | None:
        """Where a token leads; `None` where it is not allowed."""
        ...

    def get_allowed_tokens(self, state: int) -> list[int]:
        """What may follow, an end id included where the state is final."""
        ...


class TokenStates(Protocol):
    """States, and where tokens lead from them: what a matcher walks through."""

    @property
    def vocabulary(self) -> Vocabulary:
        """Whose ids the tokens are."""
        ...

    def is_final(self, state: int) -> bool:
        """Whether the text may end in this state."""
        ...

    def next_state(self, state: int, token_id: int) -> int | None:
        """Where a token leads; `None` where it is not allowed."""
        ...

    def mask(self, state: int) -> NDArray[np.int32]:
        """The bitmask row of a state, end ids included; shared, not to be written to."""
        ...


class OutlinesCoreGrammar:
    """A grammar that outlines-core has compiled: states, and what each token leads to from them."""

    __slots__ = ("_index", "_lock", "_masks", "_vocabulary", "grammar")

    def __init__(self, grammar: Grammar, vocabulary: Vocabulary, index: TokenIndex) -> None:
        self.grammar = grammar
        self._vocabulary = vocabulary
        self._index = index
        self._masks: LRUCache[int, NDArray[np.int32]] = LRUCache(_KEPT_MASKS)
        self._lock = threading.Lock()

    def matcher(self) -> OutlinesCoreMatcher:
        """A matcher at the start of the grammar."""
        return OutlinesCoreMatcher(self, [self._index.get_initial_state()])

    @property
    def vocabulary(self) -> Vocabulary:
        """What the grammar was compiled for."""
        return self._vocabulary

    def is_final(self, state: int) -> bool:
        """Whether the text may end in this state."""
        marked = self._index.get_next_state(state, self._vocabulary.size)
        return marked is not None and self._index.is_final_state(marked)

    def next_state(self, state: int, token_id: int) -> int | None:
        """Where a token leads; `None` where it is not allowed."""
        if not 0 <= token_id < self._vocabulary.size or token_id in self._vocabulary.end_ids:
            return None
        return self._index.get_next_state(state, token_id)

    def mask(self, state: int) -> NDArray[np.int32]:
        """The bitmask row of a state, shared: not to be written to."""
        with self._lock:
            row = self._masks.get(state)
            if row is None:
                row = self._masks[state] = self._build_mask(state)
            return row

    def _build_mask(self, state: int) -> NDArray[np.int32]:
        row = bits.allocate_row(self._vocabulary.size)
        # One place more than there are tokens: that of the end mark.
        flags = np.zeros(row.size * 32 + 1, dtype=np.bool_)
        flags[self._index.get_allowed_tokens(state)] = True
        flags[self._vocabulary.size :] = False
        flags[list(self._vocabulary.end_ids)] = self.is_final(state)
        row[:] = np.packbits(flags[:-1], bitorder="little").view("<i4")
        row.setflags(write=False)
        return row


class OutlinesCoreMatcher:
    """Where one sequence stands in its grammar: the states it went through."""

    __slots__ = ("_compiled", "_states")

    def __init__(self, compiled: TokenStates, states: list[int]) -> None:
        self._compiled = compiled
        self._states = states

    @property
    def is_accepting(self) -> bool:
        """Whether the text so far is whole, so that it may end here."""
        return self._compiled.is_final(self._states[-1])

    @property
    def is_finished(self) -> bool:
        """Whether the text so far is whole and nothing but the end may follow."""
        if not self.is_accepting:
            return False
        allowed = bits.count(self._compiled.mask(self._states[-1]))
        return allowed == len(self._compiled.vocabulary.end_ids)

    def accept(self, token_ids: Sequence[int]) -> None:
        """Append tokens to the text: all of them or, if one is rejected, none.

        Raises:
            TokenRejectedError: A token is not allowed at its place.
            GrammarError: An end id was fed.
        """
        states = self._walk(token_ids)
        if len(states) == len(token_ids):
            self._states.extend(states)
            return
        rejected = token_ids[len(states)]
        if rejected in self._compiled.vocabulary.end_ids:
            raise GrammarError(f"The end id {rejected} was fed to a grammar matcher.")
        raise TokenRejectedError(rejected, len(self._states) - 1 + len(states))

    def count_valid(self, token_ids: Sequence[int]) -> int:
        """The length of the longest prefix that `accept` would take. The state is unchanged."""
        return len(self._walk(token_ids))

    def fill_bitmask(self, bitmask: NDArray[np.int32]) -> None:
        """Write which tokens may follow.

        Args:
            bitmask: One row, `[ceil(vocab / 32)]`, contiguous; every word is written.

        Raises:
            GrammarError: The row is not of that shape.
        """
        self._compiled.vocabulary.check_bitmask(bitmask)
        bitmask[:] = self._compiled.mask(self._states[-1])

    def forced_tokens(self) -> list[int]:
        """The only tokens that can follow, up to the next choice; they are not consumed.

        A token counts only where it is the one that is allowed: where several spell the same text,
        the tokenizer's own way is not known here.
        """
        forced: list[int] = []
        state = self._states[-1]
        while len(forced) < _MAX_FORCED and not self._compiled.is_final(state):
            mask = self._compiled.mask(state)
            if bits.count(mask) != 1:
                break
            (token_id,) = bits.allowed_ids(mask, self._compiled.vocabulary.size).tolist()
            following = self._compiled.next_state(state, token_id)
            assert following is not None
            forced.append(token_id)
            state = following
        return forced

    def rollback(self, n: int) -> None:
        """Take back the last `n` accepted tokens.

        Raises:
            GrammarError: Fewer than `n` tokens were accepted.
        """
        accepted = len(self._states) - 1
        if not 0 <= n <= accepted:
            raise GrammarError(f"Cannot take back {n} of {accepted} accepted tokens.")
        del self._states[accepted - n + 1 :]

    def fork(self) -> OutlinesCoreMatcher:
        """An independent matcher in the same state."""
        return OutlinesCoreMatcher(self._compiled, self._states.copy())

    def _walk(self, token_ids: Sequence[int]) -> list[int]:
        """The states that the tokens lead through, up to the first that is not allowed."""
        states: list[int] = []
        state = self._states[-1]
        for token_id in token_ids:
            following = self._compiled.next_state(state, token_id)
            if following is None:
                break
            states.append(following)
            state = following
        return states
