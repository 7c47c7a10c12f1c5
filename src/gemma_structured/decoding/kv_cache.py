"""A KV cache for rows of different lengths: append, rewind, fork and snapshot, all exact.

`transformers.DynamicCache` holds one length for the whole batch, and a sliding layer there forgets
what it would need to be rewound. Here every row has its own length, and each sliding layer keeps
`REWIND_HORIZON` tokens more than its window, so that the last tokens can be taken back.

Tensors are `[slots, heads, capacity, head_dim]`, one pair a layer, written in place; a forward sees
views of them. They grow in steps, and the first forward after a row has left gives back what the
other rows do not need. What lies past a row's length is masked, and is kept finite.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING

import torch
from transformers.cache_utils import Cache

from gemma_structured.decoding.kv_snapshot import KVSnapshot, check_rewind, rewindable_tokens
from gemma_structured.decoding.ragged_forward import RaggedForward
from gemma_structured.decoding.ragged_layer import RaggedLayer, most_capacity
from gemma_structured.decoding.transfer import to_device

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

__all__ = ["REWIND_HORIZON", "RaggedCache"]

REWIND_HORIZON = 256
"""Tokens that a sliding layer keeps beyond its window, in case they are rewound."""


class RaggedCache(Cache):
    """Keys and values of several rows, each with a length of its own.

    A row lives in a slot; slots are numbered from 0 without holes. A forward is announced by
    `begin`, during which the model calls `update` once a layer, and becomes part of the rows by
    `commit`; without it nothing has happened.

    Args:
        windows: The sliding window of each layer in tokens, `None` for full attention.
    """

    def __init__(self, windows: Sequence[int | None]) -> None:
        super().__init__(layers=[RaggedLayer(self, window) for window in windows])
        self.windows = tuple(dict.fromkeys(windows))
        self.lengths: list[int] = []
        self.bases: dict[int | None, list[int]] = {window: [] for window in self.windows}
        self._forward: RaggedForward | None = None
        self._bytes_per_token = 0
        self._row_has_left = False

    @property
    def nbytes(self) -> int:
        """Memory that is allocated, used or not."""
        return sum(layer.nbytes for layer in self._layers)

    @property
    def bytes_per_token(self) -> int:
        """Memory of one token of one row in all layers; 0 before the first forward."""
        return self._bytes_per_token

    def most_bytes(self, rows: int, tokens: int) -> int:
        """The most memory that rows come to take, none of them longer than so many tokens."""
        return rows * most_capacity(tokens) * self._bytes_per_token

    @property
    def _layers(self) -> list[RaggedLayer]:
        return [layer for layer in self.layers if isinstance(layer, RaggedLayer)]

    @torch.inference_mode()
    def add(self, snapshot: KVSnapshot | None = None) -> int:
        """Open a slot, empty or filled from a snapshot (which is copied)."""
        slot = len(self.lengths)
        self.lengths.append(snapshot.length if snapshot else 0)
        for window, bases in self.bases.items():
            bases.append(snapshot.bases[window] if snapshot else 0)
        if snapshot:
            for layer, pair in zip(self._layers, snapshot.layers, strict=True):
                if pair is not None:
                    layer.load(slot, *pair)
        return slot

    @torch.inference_mode()
    def remove(self, slot: int) -> int | None:
        """Close a slot; the last one moves into its place.

        Its memory is given back at once if it was the only one, and else by the next forward: a
        row that takes its place before then takes its memory as well.

        Returns:
            The slot that has moved there, if one has.
        """
        last = len(self.lengths) - 1
        for layer in self._layers:
            layer.clear(slot, self.lengths[slot] - self.bases[layer.window][slot])
            if slot != last:
                layer.move(last, slot, self.lengths[last] - self.bases[layer.window][last])
        for numbers in (self.lengths, *self.bases.values()):
            numbers[slot] = numbers[last]
            numbers.pop()
        self._row_has_left = bool(self.lengths)
        if not self.lengths:
            for layer in self._layers:
                layer.release()
        return last if slot != last else None

    @torch.inference_mode()
    def snapshot(self, slot: int) -> KVSnapshot:
        """Copy a row out."""
        length = self.lengths[slot]
        bases = {window: bases[slot] for window, bases in self.bases.items()}
        return KVSnapshot(
            length=length,
            bases=bases,
            windows=tuple(layer.window for layer in self._layers),
            layers=tuple(layer.read(slot, length - bases[layer.window]) for layer in self._layers),
        )

    def view(self, slot: int, layer: int, most: int | None = None) -> tuple[Tensor, Tensor]:
        """A row's keys and values in a layer, or those of at most so many last tokens.

        Returns:
            Views, `[1, heads, tokens, head_dim]`.
        """
        cached = self._layers[layer]
        keys, values = cached.keys, cached.values
        if keys is None or values is None:
            raise RuntimeError(f"Layer {layer} has no keys and values.")
        stop = self.lengths[slot] - self.bases[cached.window][slot]
        start = 0 if most is None else max(0, stop - most)
        return keys[slot : slot + 1, :, start:stop], values[slot : slot + 1, :, start:stop]

    def rewindable(self, slot: int) -> int:
        """How many tokens can be taken back without losing what a window needs."""
        bases = {window: bases[slot] for window, bases in self.bases.items()}
        return rewindable_tokens(self.lengths[slot], bases)

    def rewind(self, slot: int, count: int) -> None:
        """Take back a row's last tokens.

        Raises:
            ValueError: More than `rewindable` says.
        """
        check_rewind(count, self.rewindable(slot))
        self.lengths[slot] -= count

    @torch.inference_mode()
    def begin(self, first: int, counts: Sequence[int], device: torch.device) -> RaggedForward:
        """Announce a forward of `counts[i]` new tokens for slot `first + i`."""
        for slot, count in enumerate(counts, start=first):
            for window in self.windows:
                if window is not None:
                    self._compact(slot, window, count)
        if self._row_has_left:
            self._shrink(first, counts)
        row_index = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
        offset_index = torch.cat([torch.arange(count) for count in counts])
        at_index = {}
        for window in self.windows if len(counts) > 1 else ():  # one row is written as a slice
            starts = [
                self.lengths[s] - self.bases[window][s] for s in range(first, first + len(counts))
            ]
            at_index[window] = torch.tensor(starts)[row_index] + offset_index
        self._forward = RaggedForward(
            first=first,
            counts=tuple(counts),
            row_index=to_device(row_index, device),
            offset_index=to_device(offset_index, device),
            at_index={window: to_device(at, device) for window, at in at_index.items()},
        )
        return self._forward

    def commit(self) -> None:
        """Make the forward's tokens part of their rows."""
        if self._forward is None:
            raise RuntimeError("commit() without begin().")
        for slot, count in enumerate(self._forward.counts, start=self._forward.first):
            self.lengths[slot] += count
        self._forward = None
        if not self._bytes_per_token:
            self._bytes_per_token = sum(layer.bytes_per_token for layer in self._layers)

    def positions(self, device: torch.device) -> Tensor:
        """Positions of the forward's tokens, `[rows, width]`, padding included."""
        forward = self.current
        starts = torch.tensor(self.lengths[forward.first : forward.first + forward.rows])
        return to_device(starts[:, None] + torch.arange(forward.width), device)

    def extent(self, window: int | None) -> tuple[int, int]:
        """The part `[from, to)` of a layer's capacity that the forward can see."""
        forward = self.current
        slots = range(forward.first, forward.first + forward.rows)
        bases = self.bases[window]
        stop = max(self.lengths[s] + forward.counts[s - forward.first] - bases[s] for s in slots)
        if window is None:
            return 0, stop
        return max(0, min(self.lengths[s] - window + 1 - bases[s] for s in slots)), stop

    def mask(
        self, window: int | None, device: torch.device, *, causal_default: bool = True
    ) -> Tensor | None:
        """The attention mask of the forward for layers with that window.

        Args:
            window: The layers' window.
            device: Where the mask is wanted.
            causal_default: Whether attention without a mask is causal, as `sdpa` is and `eager`
                is not.

        Returns:
            `True` where a query may look, `[rows, 1, width, extent]`; `None` where no mask means
            the same.
        """
        forward = self.current
        start, stop = self.extent(window)
        length = self.lengths[forward.first]
        if forward.rows == 1:
            fits = causal_default and (window is None or forward.width <= window)
            if forward.width == 1 or (length == 0 and fits):
                return None
        slots = slice(forward.first, forward.first + forward.rows)
        bases = torch.tensor(self.bases[window][slots])
        keys = to_device(bases[:, None] + torch.arange(start, stop), device)[:, None, None, :]
        queries = self.positions(device)[:, None, :, None]
        visible = keys <= queries
        return visible if window is None else visible & (keys > queries - window)

    @property
    def current(self) -> RaggedForward:
        """The forward that has begun."""
        if self._forward is None:
            raise RuntimeError("No forward has begun.")
        return self._forward

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """The first row's length (models ask when they are given no positions)."""
        del layer_idx
        return self.lengths[self.current.first]

    def _compact(self, slot: int, window: int, coming: int) -> None:
        """Forget a row's oldest tokens in layers with that window, in steps of the horizon."""
        used = self.lengths[slot] - self.bases[window][slot]
        keep = window - 1 + REWIND_HORIZON
        if used + coming <= keep + REWIND_HORIZON or used <= keep:
            return
        for layer in self._layers:
            if layer.window == window:
                layer.shift(slot, used - keep, used)
        self.bases[window][slot] += used - keep

    def _shrink(self, first: int, counts: Sequence[int]) -> None:
        """Give back the memory of rows that have left, less what a forward would take again."""
        lengths = list(self.lengths)
        for slot, count in enumerate(counts, start=first):
            lengths[slot] += count
        for layer in self._layers:
            bases = self.bases[layer.window]
            longest = max(map(operator.sub, lengths, bases))
            layer.shrink(len(lengths), longest)
        self._row_has_left = False
