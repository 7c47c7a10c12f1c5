"""The thought before an answer: how long it is, and that it ends in time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

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
        spent = self._max_tokens is not None and self.tokens >= self._max_tokens
        if self._inside and spent and self._close_id in allowed:
            return np.array([self._close_id], dtype=np.int64)
        return allowed
