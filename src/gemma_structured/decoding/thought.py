"""The thought before an answer: how long it is, and that it ends in time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gemma_structured.grammar import bitmask

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

__all__ = ["Thought"]


class Thought:
    """Follows an answer's tokens through its thought.

    Once the budget is spent, only the closing token is left of what the grammar allows. The limit
    is not part of the grammar, since a grammar with a limit cannot be rolled back.

    Args:
        open_id: The token that opens the thought; `None` where the prompt has opened it.
        close_id: The token that closes it.
        max_tokens: The most tokens in between; `None` for no limit.

    Attributes:
        tokens: How many tokens the thought has so far.
    """

    def __init__(self, open_id: int | None, close_id: int, max_tokens: int | None) -> None:
        self.tokens = 0
        self._open_id = open_id
        self._close_id = close_id
        self._max_tokens = max_tokens
        self._inside = open_id is None

    def follow(self, token_ids: Iterable[int]) -> None:
        """Tokens were appended to the answer."""
        for token_id in token_ids:
            if token_id == self._close_id:
                self._inside = False
            elif self._inside:
                self.tokens += 1
            elif token_id == self._open_id:
                self._inside = True

    def restrict(self, allowed: NDArray[np.int64]) -> NDArray[np.int64]:
        """What is left of the tokens that the grammar allows next."""
        if self._must_close and self._close_id in allowed:
            return np.array([self._close_id], dtype=np.int64)
        return allowed

    def restrict_bitmask(self, row: NDArray[np.int32]) -> None:
        """The same for a bitmask, `[ceil(vocab / 32)]`, in place."""
        if self._must_close and bitmask.is_allowed(row, self._close_id):
            bitmask.keep_only(row, self._close_id)

    @property
    def _must_close(self) -> bool:
        spent = self._max_tokens is not None and self.tokens >= self._max_tokens
        return self._inside and spent
