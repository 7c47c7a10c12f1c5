"""`RandomSession`: a decode session without a model, whose logits are random but reproducible."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from gemma_structured.decoding.session import Row

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from gemma_structured.decoding.session import Logits, Snapshot

__all__ = ["RandomSession"]

_BYTES_PER_TOKEN = 8


class RandomSession:
    """Rows of tokens; the logits after a row depend on its tokens and a seed alone.

    It implements `Session`, so that the real loop, grammars and validation run on it at any speed.

    Args:
        vocab_size: The width of the logits.
        seed: Of the logits.
        spread: Their standard deviation.
        context_length: The most tokens that a row may have.
        before_forward: Called with the chunks before each forward; it may block or raise.

    Attributes:
        rows: The tokens of every open row.
        forwards: The chunks of every forward so far, by row.
    """

    def __init__(
        self,
        vocab_size: int,
        *,
        seed: int = 0,
        spread: float = 1.0,
        context_length: int = 1_000_000,
        before_forward: Callable[[Mapping[Row, Sequence[int]]], object] | None = None,
    ) -> None:
        self.vocab_size = vocab_size
        self.context_length = context_length
        self.rows: dict[Row, list[int]] = {}
        self.forwards: list[dict[Row, list[int]]] = []
        self.before_forward = before_forward
        self._numbers = itertools.count()
        # Logits are windows into one long table: drawing afresh at each step would take longer
        # than all that is tested with them.
        draws = np.random.default_rng(seed).standard_normal(vocab_size + 65_536)
        self._table: NDArray[np.float32] = (spread * draws).astype(np.float32)
        self._seed = seed

    @property
    def open_rows(self) -> int:
        """How many rows are open."""
        return len(self.rows)

    def open(self, snapshot: Snapshot | None = None) -> Row:
        """Start a row, empty or where a snapshot was taken."""
        row = Row(next(self._numbers))
        self.rows[row] = list(snapshot.tokens) if isinstance(snapshot, _Tokens) else []
        return row

    def close(self, row: Row) -> None:
        """End a row."""
        del self.rows[row]

    def length(self, row: Row) -> int:
        """How many tokens a row has."""
        return len(self.rows[row])

    def forward(
        self, chunks: Mapping[Row, Sequence[int]], *, keep: Mapping[Row, int] | None = None
    ) -> dict[Row, Logits]:
        """Append tokens to rows."""
        if self.before_forward is not None:
            self.before_forward(chunks)
        self.forwards.append({row: list(chunk) for row, chunk in chunks.items()})
        found: dict[Row, Logits] = {}
        for row, chunk in chunks.items():
            self.rows[row] += chunk
            count = 1 if keep is None else keep.get(row, 1)
            ends = range(len(self.rows[row]) - count + 1, len(self.rows[row]) + 1)
            found[row] = _Windows([self._logits(self.rows[row][:end]) for end in ends])
        return found

    def rewindable(self, row: Row) -> int:
        """All of a row's tokens can be taken back."""
        return len(self.rows[row])

    def rewind(self, row: Row, count: int) -> None:
        """Take back a row's last tokens.

        Raises:
            ValueError: It has fewer.
        """
        if not 0 <= count <= len(self.rows[row]):
            raise ValueError(f"Cannot rewind {count} of {len(self.rows[row])} tokens.")
        del self.rows[row][len(self.rows[row]) - count :]

    def fork(self, row: Row) -> Row:
        """Start a second row with the same tokens."""
        return self.open(self.snapshot(row))

    def snapshot(self, row: Row) -> Snapshot:
        """Keep a row's state for later."""
        return _Tokens(tuple(self.rows[row]))

    def _logits(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        at = hash((self._seed, len(tokens), *tokens[-32:])) % (len(self._table) - self.vocab_size)
        return self._table[at : at + self.vocab_size]


@dataclass(frozen=True, slots=True)
class _Tokens:
    """A row's tokens, as a snapshot."""

    tokens: tuple[int, ...]

    @property
    def length(self) -> int:
        return len(self.tokens)

    @property
    def nbytes(self) -> int:
        return len(self.tokens) * _BYTES_PER_TOKEN

    @property
    def rewindable(self) -> int:
        return len(self.tokens)

    def rewound(self, count: int) -> _Tokens:
        return _Tokens(self.tokens[: len(self.tokens) - count])


class _Windows:
    """The logits at some positions, each a window into the table."""

    def __init__(self, windows: list[NDArray[np.float32]]) -> None:
        self._windows = windows

    def full(self) -> Tensor:
        return torch.stack([torch.from_numpy(window) for window in self._windows])

    def at(self, position: int, token_ids: Tensor) -> Tensor:
        return torch.from_numpy(self._windows[position])[token_ids]

    def hidden(self, position: int) -> Tensor | None:
        del position
        return None

    def expect(self, position: int, token_ids: Tensor) -> None:
        """Nothing: all logits are there."""

    def contenders(self, position: int, token_ids: Tensor) -> Tensor:
        largest = self.at(position, token_ids).argmax()
        return token_ids[largest : largest + 1]
