"""`KVSnapshot`: a row's keys and values apart from any cache, and how far rows can be rewound."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

__all__ = ["KVSnapshot", "check_rewind", "rewindable_tokens"]


@dataclass(frozen=True, slots=True)
class KVSnapshot:
    """One row's keys and values, apart from any cache.

    Attributes:
        length: Tokens that they stand for.
        bases: By window: the position of the first token that is kept.
        windows: The window of each layer.
        layers: One pair of `[heads, kept, head_dim]` a layer, or `None` for a layer without cache.
    """

    length: int
    bases: dict[int | None, int]
    windows: tuple[int | None, ...]
    layers: tuple[tuple[Tensor, Tensor] | None, ...]

    @property
    def nbytes(self) -> int:
        """Memory that it holds."""
        return sum(t.nbytes for pair in self.layers if pair is not None for t in pair)

    @property
    def rewindable(self) -> int:
        """How many of its last tokens can be left out without losing what a window needs."""
        return rewindable_tokens(self.length, self.bases)

    def rewound(self, count: int) -> KVSnapshot:
        """The snapshot that many tokens earlier: views of the same tensors.

        Raises:
            ValueError: More than `rewindable` says.
        """
        check_rewind(count, self.rewindable)
        length = self.length - count
        layers = tuple(
            None if pair is None else (pair[0][:, :kept], pair[1][:, :kept])
            for pair, window in zip(self.layers, self.windows, strict=True)
            for kept in (length - self.bases[window],)
        )
        return replace(self, length=length, layers=layers)


def rewindable_tokens(length: int, bases: Mapping[int | None, int]) -> int:
    """How many tokens of a row can be taken back, given the first one kept for each window."""
    return min(
        length if base == 0 or window is None else max(0, length - (window - 1) - base)
        for window, base in bases.items()
    )


def check_rewind(count: int, most: int) -> None:
    """Refuse to take back a number of tokens.

    Raises:
        ValueError: It is negative, or more than `most`.
    """
    if not 0 <= count <= most:
        raise ValueError(f"Cannot rewind {count} tokens: at most {most} are kept.")
