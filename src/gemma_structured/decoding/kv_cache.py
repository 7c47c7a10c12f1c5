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
from gemma_structured.decoding.ragged_layer import RaggedLayer, most_capacity
from gemma_structured.decoding.ragged_planner import RaggedPlanner

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from gemma_structured.decoding.ragged_forward import RaggedForward

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
        attention_writes: Whether `write` is called by attention, which then has from `update` the
            new keys and values alone.
    """

    def __init__(self, windows: Sequence[int | None], *, attention_writes: bool = False) -> None:
        self._layers = [RaggedLayer(self, window) for window in windows]
        super().__init__(layers=[*self._layers])
        self._attention_writes = attention_writes
        self.windows = tuple(dict.fromkeys(windows))
        self.lengths: list[int] = []
        self.bases: dict[int | None, list[int]] = {window: [] for window in self.windows}
        self._forward: RaggedForward | None = None
        self._bytes_per_token = 0
        self._row_has_left = False

    def update(
        self,
        key_states: Tensor,
        value_states: Tensor,
        layer_idx: int,
        *args: object,
        **kwargs: object,
    ) -> tuple[Tensor, Tensor]:
        """Write the forward's tokens to a layer and return what can be seen; models call it."""
        del args, kwargs
        if self._attention_writes:
            return key_states, value_states
        return self.write(key_states, value_states, layer_idx)

    def window(self, layer: int) -> int | None:
        """The sliding window of a layer in tokens, `None` for full attention."""
        return self._layers[layer].window

    def write(self, key_states: Tensor, value_states: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """Write the forward's tokens to a layer; see `RaggedLayer.update`."""
        return self._layers[layer].update(key_states, value_states)

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
    def begin(
        self, counts: Mapping[int, int], device: torch.device, *, causal_default: bool = True
    ) -> RaggedForward:
        """Announce a forward.

        Args:
            counts: How many new tokens each slot gets that takes part, in ascending order.
            device: Where the forward runs.
            causal_default: Whether attention without a mask is causal, as `sdpa` is and `eager`
                is not.
        """
        for slot, count in counts.items():
            for window in self.windows:
                if window is not None:
                    self._compact(slot, window, count)
        if self._row_has_left:
            self._shrink(counts)
        self._forward = RaggedPlanner(
            self.lengths, self.bases, device, causal_default=causal_default
        ).forward(counts)
        return self._forward

    def commit(self) -> None:
        """Make the forward's tokens part of their rows."""
        if self._forward is None:
            raise RuntimeError("commit() without begin().")
        for slot, count in self._forward.counts:
            self.lengths[slot] += count
        self._forward = None
        if not self._bytes_per_token:
            self._bytes_per_token = sum(layer.bytes_per_token for layer in self._layers)

    @property
    def current(self) -> RaggedForward:
        """The forward that has begun."""
        if self._forward is None:
            raise RuntimeError("No forward has begun.")
        return self._forward

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """The first row's length (models ask when they are given no positions)."""
        del layer_idx
        return self.lengths[self.current.runs[0].first]

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

    def _shrink(self, counts: Mapping[int, int]) -> None:
        """Give back the memory of rows that have left, less what a forward would take again."""
        lengths = list(self.lengths)
        for slot, count in counts.items():
            lengths[slot] += count
        for layer in self._layers:
            bases = self.bases[layer.window]
            longest = max(map(operator.sub, lengths, bases))
            layer.shrink(len(lengths), longest)
        self._row_has_left = False
