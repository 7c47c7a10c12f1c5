"""`RaggedForward`: which tokens one forward appends to which slots of the cache."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

__all__ = ["RaggedForward"]


@dataclass(frozen=True, slots=True)
class RaggedForward:
    """Where the tokens of one forward go: `counts[i]` new ones to slot `first + i`.

    The token index tensors name each new token by its row and offset in the input, and its place in
    the layers of each window, `[tokens]`. They are moved once for all layers: a GPU that waits in
    every layer would not be kept busy.
    """

    first: int
    counts: tuple[int, ...]
    row_index: Tensor
    offset_index: Tensor
    at_index: Mapping[int | None, Tensor]

    @property
    def rows(self) -> int:
        """How many rows take part."""
        return len(self.counts)

    @property
    def width(self) -> int:
        """The longest row's number of new tokens."""
        return max(self.counts)
