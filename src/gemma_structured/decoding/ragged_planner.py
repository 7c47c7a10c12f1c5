"""`RaggedPlanner`: from how many tokens each slot gets, to where they go and what they can see."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from gemma_structured.decoding.ragged_forward import FEW, RaggedForward, Run
from gemma_structured.decoding.transfer import to_device

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from torch import Tensor

__all__ = ["RaggedPlanner", "neighbours"]


class RaggedPlanner:
    """Plans a forward.

    Args:
        lengths: How many tokens each slot has.
        bases: By window: the position of the first token that each slot keeps.
        device: Where the forward runs.
        causal_default: Whether attention without a mask is causal, as `sdpa` is and `eager` is not.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        bases: Mapping[int | None, Sequence[int]],
        device: torch.device,
        *,
        causal_default: bool,
    ) -> None:
        self._lengths = lengths
        self._bases = bases
        self._device = device
        self._causal_default = causal_default

    def forward(self, counts: Mapping[int, int]) -> RaggedForward:
        """Plan for so many new tokens in each slot, which come in ascending order."""
        runs: list[Run] = []
        start = 0
        for first, run in neighbours(counts):
            runs.append(self._run(first, run, start))
            start += sum(run)
        slots = torch.tensor([slot for slot, count in counts.items() for _ in range(count)])
        positions = torch.tensor(self._lengths)[slots] + _offsets(counts.values())
        at: dict[int | None, Tensor] = {}
        if len(counts) > 1:
            for window, bases in self._bases.items():
                at[window] = positions - torch.tensor(bases)[slots]
        edges = {window: [run.extents[window] for run in runs] for window in self._bases}
        return RaggedForward(
            runs=tuple(runs),
            positions=to_device(positions[None], self._device),
            extents={
                window: (min(first for first, _ in pairs), max(last for _, last in pairs))
                for window, pairs in edges.items()
            },
            slot_index=to_device(slots, self._device),
            at_index={window: to_device(index, self._device) for window, index in at.items()},
        )

    def _run(self, first: int, counts: tuple[int, ...], start: int) -> Run:
        extents = {window: self._extent(first, counts, window) for window in self._bases}
        masks = {w: self._mask(first, counts, w, extent) for w, extent in extents.items()}
        rows = offsets = None
        if min(counts) != max(counts):
            rows = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
            offsets = _offsets(counts)
        return Run(
            first=first,
            counts=counts,
            start=start,
            extents=extents,
            masks={window: self._moved(mask) for window, mask in masks.items()},
            row_index=self._moved(rows),
            offset_index=self._moved(offsets),
        )

    def _extent(self, first: int, counts: tuple[int, ...], window: int | None) -> tuple[int, int]:
        """The part `[from, to)` of a layer's capacity that rows can see."""
        bases = self._bases[window]
        rows = list(enumerate(counts, start=first))
        stop = max(self._lengths[slot] + count - bases[slot] for slot, count in rows)
        if window is None:
            return 0, stop
        return max(0, min(self._lengths[slot] - window + 1 - bases[slot] for slot, _ in rows)), stop

    def _mask(
        self, first: int, counts: tuple[int, ...], window: int | None, extent: tuple[int, int]
    ) -> Tensor | None:
        """Where rows may look; see `Run.masks`."""
        width = max(counts)
        if len(counts) == 1:
            fits = self._causal_default and (window is None or width <= window)
            if width == 1 or (self._lengths[first] == 0 and fits):
                return None
        slots = slice(first, first + len(counts))
        bases = torch.tensor(self._bases[window][slots])
        keys = (bases[:, None] + torch.arange(*extent))[:, None, None, :]
        starts = torch.tensor(self._lengths[slots])
        queries = (starts[:, None] + torch.arange(width))[:, None, :, None]
        visible = keys <= queries
        return visible if window is None else visible & (keys > queries - window)

    def _moved(self, tensor: Tensor | None) -> Tensor | None:
        return None if tensor is None else to_device(tensor, self._device)


def _offsets(counts: Iterable[int]) -> Tensor:
    """The place of each token in its row, the rows one behind another: `[tokens]`."""
    return torch.cat([torch.arange(count) for count in counts])


def neighbours(counts: Mapping[int, int]) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Part slots, ascending, into those that attend together: the first one, and their counts."""
    first, run = 0, list[int]()
    for slot, count in counts.items():
        is_next = bool(run) and slot == first + len(run)
        if not (is_next and max(*run, count) <= FEW):
            if run:
                yield first, tuple(run)
            first, run = slot, []
        run.append(count)
    if run:
        yield first, tuple(run)
