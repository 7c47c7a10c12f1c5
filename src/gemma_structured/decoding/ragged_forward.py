"""`RaggedForward`: the new tokens of several rows, packed for one forward.

They stand one behind another, `[1, tokens]`, so that no layer computes padding. Attention alone is
by row, in runs: neighbouring slots with few new tokens each attend together, padded to the longest
of them, and a row with many (a prompt that is read) attends alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor

__all__ = ["FEW", "RaggedForward", "Run"]

FEW = 16
"""Up to so many new tokens, a row attends together with its neighbours, and its mask is kept."""


@dataclass(frozen=True, slots=True)
class Run:
    """Rows that attend together: `counts[i]` new tokens of slot `first + i`.

    Attributes:
        first: The first slot.
        counts: How many new tokens each row has.
        start: Where the first of them stands in the pack.
        extents: By window: the part `[from, to)` of the cache's capacity that they can see.
        masks: By window: `True` where a query may look, `[rows, 1, width, to - from]`; `None` where
            no mask means the same.
        row_index: The row of each token, `[tokens]`; `None` where all rows have equally many.
        offset_index: The place of each token in its row, as `row_index`.
    """

    first: int
    counts: tuple[int, ...]
    start: int
    extents: Mapping[int | None, tuple[int, int]]
    masks: Mapping[int | None, Tensor | None]
    row_index: Tensor | None = None
    offset_index: Tensor | None = None
    _added: dict[object, Tensor] = field(default_factory=dict, repr=False)

    @property
    def last(self) -> int:
        """The slot behind the last one."""
        return self.first + len(self.counts)

    def added_mask(self, window: int | None, copies: int, scores: Tensor) -> Tensor | None:
        """A mask as numbers that are added to scores; made once for all layers, if it is small.

        Args:
            window: Of the layer.
            copies: How many heads' queries stand one behind another.
            scores: Of their type and on their device.

        Returns:
            `[rows, 1, copies * width, to - from]`, or `None` where there is no mask.
        """
        mask = self.masks[window]
        if mask is None:
            return None
        key = window, copies, scores.dtype, scores.device
        added = self._added.get(key)
        if added is None:
            hidden = ~mask.to(scores.device)
            added = scores.new_zeros(mask.shape).masked_fill_(hidden, torch.finfo(scores.dtype).min)
            added = added.repeat(1, 1, copies, 1)
            if max(self.counts) <= FEW:
                self._added[key] = added
        return added

    def padded(self, packed: Tensor) -> Tensor:
        """Take its tokens out: `[1, heads, tokens, dim]` to `[rows, heads, width, dim]`."""
        rows, width = len(self.counts), max(self.counts)
        own = packed[0, :, self.start : self.start + sum(self.counts)]
        if self.row_index is None or self.offset_index is None:
            return own.reshape(own.shape[0], rows, width, -1).transpose(0, 1)
        padded = own.new_zeros(rows, own.shape[0], width, own.shape[2])
        indexes = (index.to(own.device) for index in (self.row_index, self.offset_index))
        row_index, offset_index = indexes
        padded[row_index, :, offset_index] = own.transpose(0, 1)
        return padded

    def packed(self, padded: Tensor) -> Tensor:
        """Leave the padding out: `[rows, width, heads, dim]` to `[tokens, heads, dim]`."""
        if self.row_index is None or self.offset_index is None:
            return padded.flatten(0, 1)
        return padded[self.row_index.to(padded.device), self.offset_index.to(padded.device)]


@dataclass(frozen=True, slots=True)
class RaggedForward:
    """Where the tokens of one forward go, and what they can see.

    Index tensors and masks are moved to the device once for all layers: a GPU that waits in every
    layer would not be kept busy.

    Attributes:
        runs: In the order of the slots.
        positions: The position of each token in its row, `[1, tokens]`.
        extents: By window: the smallest part of the capacity that holds those of all runs.
        slot_index: The slot of each token, `[tokens]`.
        at_index: By window: the place of each token in its slot, `[tokens]`; nothing for one row
            alone, which is written as a slice.
    """

    runs: tuple[Run, ...]
    positions: Tensor
    extents: Mapping[int | None, tuple[int, int]]
    slot_index: Tensor
    at_index: Mapping[int | None, Tensor]

    @property
    def slots(self) -> slice:
        """The slots from the first to the last one that takes part."""
        return slice(self.runs[0].first, self.runs[-1].last)

    @property
    def counts(self) -> Iterator[tuple[int, int]]:
        """Each slot that takes part, with the number of its new tokens."""
        return (each for run in self.runs for each in enumerate(run.counts, start=run.first))

    @property
    def is_one_row(self) -> bool:
        """Whether only one row takes part."""
        return len(self.runs) == 1 and len(self.runs[0].counts) == 1

    def seen_by(self, run: Run, states: Tensor, window: int | None) -> Tensor:
        """What a run sees of what `RaggedLayer.update` returned, `[rows, heads, extent, dim]`."""
        start = self.extents[window][0]
        first, last = (edge - start for edge in run.extents[window])
        rows = slice(run.first - self.slots.start, run.last - self.slots.start)
        return states[rows, :, first:last]
