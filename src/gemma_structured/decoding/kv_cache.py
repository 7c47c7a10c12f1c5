"""A KV cache for rows of different lengths: append, rewind, fork and snapshot, all exact.

`transformers.DynamicCache` holds one length for the whole batch, and a sliding layer there forgets
what it would need to be rewound. Here every row has its own length, and each sliding layer keeps
`REWIND_HORIZON` tokens more than its window, so that the last tokens can be taken back.

Tensors are `[slots, heads, capacity, head_dim]`, one pair a layer, grown in steps and written in
place; a forward sees views of them. What lies past a row's length is masked, and is kept finite.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from transformers.cache_utils import Cache, CacheLayerMixin

from gemma_structured.decoding.transfer import to_device

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

__all__ = ["REWIND_HORIZON", "KVSnapshot", "RaggedCache", "RaggedForward"]

REWIND_HORIZON = 256
"""Tokens that a sliding layer keeps beyond its window, in case they are rewound."""

_STEP = 256


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
        return _rewindable(self.length, self.bases)

    def rewound(self, count: int) -> KVSnapshot:
        """The snapshot that many tokens earlier: views of the same tensors.

        Raises:
            ValueError: More than `rewindable` says.
        """
        _check_rewind(count, self.rewindable)
        length = self.length - count
        layers = tuple(
            None if pair is None else (pair[0][:, :kept], pair[1][:, :kept])
            for pair, window in zip(self.layers, self.windows, strict=True)
            for kept in (length - self.bases[window],)
        )
        return replace(self, length=length, layers=layers)


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


class RaggedCache(Cache):
    """Keys and values of several rows, each with a length of its own.

    A row lives in a slot; slots are numbered from 0 without holes. A forward is announced by
    `begin`, during which the model calls `update` once a layer, and becomes part of the rows by
    `commit`; without it nothing has happened.

    Args:
        windows: The sliding window of each layer in tokens, `None` for full attention.
    """

    def __init__(self, windows: Sequence[int | None]) -> None:
        super().__init__(layers=[_RaggedLayer(self, window) for window in windows])
        self.windows = tuple(dict.fromkeys(windows))
        self.lengths: list[int] = []
        self.bases: dict[int | None, list[int]] = {window: [] for window in self.windows}
        self._forward: RaggedForward | None = None
        self._bytes_per_token = 0

    @property
    def nbytes(self) -> int:
        """Memory that is allocated, used or not."""
        return sum(layer.nbytes for layer in self._layers)

    @property
    def bytes_per_token(self) -> int:
        """Memory of one token of one row in all layers; 0 before the first forward."""
        return self._bytes_per_token

    @property
    def _layers(self) -> list[_RaggedLayer]:
        return [layer for layer in self.layers if isinstance(layer, _RaggedLayer)]

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
        return _rewindable(self.lengths[slot], bases)

    def rewind(self, slot: int, count: int) -> None:
        """Take back a row's last tokens.

        Raises:
            ValueError: More than `rewindable` says.
        """
        _check_rewind(count, self.rewindable(slot))
        self.lengths[slot] -= count

    @torch.inference_mode()
    def begin(self, first: int, counts: Sequence[int], device: torch.device) -> RaggedForward:
        """Announce a forward of `counts[i]` new tokens for slot `first + i`."""
        for slot, count in enumerate(counts, start=first):
            for window in self.windows:
                if window is not None:
                    self._compact(slot, window, count)
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


def _rewindable(length: int, bases: Mapping[int | None, int]) -> int:
    """How many tokens of a row can be taken back, given the first one kept for each window."""
    return min(
        length if base == 0 or window is None else max(0, length - (window - 1) - base)
        for window, base in bases.items()
    )


def _check_rewind(count: int, most: int) -> None:
    if not 0 <= count <= most:
        raise ValueError(f"Cannot rewind {count} tokens: at most {most} are kept.")


class _RaggedLayer(CacheLayerMixin):  # type: ignore[no-untyped-call]
    """The keys and values of one layer."""

    def __init__(self, cache: RaggedCache, window: int | None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.cache = cache
        self.window = window
        self.is_sliding = window is not None

    @property
    def nbytes(self) -> int:
        return sum(t.nbytes for t in (self.keys, self.values) if t is not None)

    @property
    def bytes_per_token(self) -> int:
        return sum(
            t.shape[1] * t.shape[3] * t.element_size()
            for t in (self.keys, self.values)
            if t is not None
        )

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Allocate room for what `key_states` `[slots, heads, tokens, head_dim]` looks like."""
        self.keys, self.values = (
            t.new_zeros(0, t.shape[1], 0, t.shape[3]) for t in (key_states, value_states)
        )
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """Write the forward's tokens, `[rows, heads, width, head_dim]`; return what it sees."""
        del args, kwargs
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        forward = self.cache.current
        start, stop = self.cache.extent(self.window)
        self._reserve(forward.first + forward.rows, stop)
        last = forward.first + forward.rows
        seen = []
        for buffer, states in ((self.keys, key_states), (self.values, value_states)):
            assert buffer is not None
            self._write(buffer, states, forward)
            seen.append(buffer[forward.first : last, :, start:stop])
        return seen[0], seen[1]

    def _write(self, buffer: Tensor, states: Tensor, forward: RaggedForward) -> None:
        lengths, bases = self.cache.lengths, self.cache.bases[self.window]
        if forward.rows == 1:
            at = lengths[forward.first] - bases[forward.first]
            buffer[forward.first, :, at : at + forward.width] = states[0]
            return
        indexes = (forward.row_index, forward.offset_index, forward.at_index[self.window])
        rows, offsets, at_index = (index.to(states.device) for index in indexes)
        slots = buffer[forward.first : forward.first + forward.rows]
        slots[rows, :, at_index] = states[rows, :, offsets]

    def _reserve(self, slots: int, tokens: int) -> None:
        assert self.keys is not None
        assert self.values is not None
        have_slots, _, have_tokens, _ = self.keys.shape
        if slots <= have_slots and tokens <= have_tokens:
            return
        new_slots = max(slots, have_slots)  # not one in advance: memory is given out by the row
        new_tokens = have_tokens
        if tokens > have_tokens:
            new_tokens = -(-max(tokens, have_tokens * 5 // 4) // _STEP) * _STEP
        for name in ("keys", "values"):
            old: Tensor = getattr(self, name)
            new = old.new_zeros(new_slots, old.shape[1], new_tokens, old.shape[3])
            new[:have_slots, :, :have_tokens] = old
            setattr(self, name, new)

    def load(self, slot: int, keys: Tensor, values: Tensor) -> None:
        """Fill a slot with `[heads, tokens, head_dim]`."""
        if not self.is_initialized:
            self.lazy_initialization(keys[None], values[None])
        self._reserve(slot + 1, keys.shape[1])
        assert self.keys is not None
        assert self.values is not None
        self.keys[slot, :, : keys.shape[1]] = keys
        self.values[slot, :, : values.shape[1]] = values

    def read(self, slot: int, tokens: int) -> tuple[Tensor, Tensor] | None:
        """Copy a slot's first tokens out; `None` if the model never used this layer."""
        if self.keys is None or self.values is None:
            return None
        if slot >= len(self.keys):  # it has no tokens and no memory yet
            slot = tokens = 0
        return self.keys[slot, :, :tokens].clone(), self.values[slot, :, :tokens].clone()

    def move(self, source: int, target: int, tokens: int) -> None:
        """Move a slot's first tokens to another slot."""
        for buffer in (self.keys, self.values):
            if buffer is not None and tokens:
                buffer[target, :, :tokens] = buffer[source, :, :tokens]
                buffer[source, :, :tokens] = 0

    def clear(self, slot: int, tokens: int) -> None:
        """Forget a slot's first tokens: not finite, they would show through the next row's mask."""
        for buffer in (self.keys, self.values):
            if buffer is not None and tokens:
                buffer[slot, :, :tokens] = 0

    def shift(self, slot: int, count: int, used: int) -> None:
        """Drop a slot's oldest tokens."""
        for buffer in (self.keys, self.values):
            if buffer is not None:
                buffer[slot, :, : used - count] = buffer[slot, :, count:used].clone()
                buffer[slot, :, used - count : used] = 0

    def release(self) -> None:
        """Give the memory back."""
        self.keys = self.values = None
        self.is_initialized = False

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """What a model that builds its own mask needs to know: keys seen, and the first one."""
        del query_length
        start, stop = self.cache.extent(self.window)
        base = self.cache.bases[self.window][self.cache.current.first]
        return stop - start, base + start

    def get_seq_length(self) -> int:
        """The first row's length."""
        return self.cache.get_seq_length()

    def get_max_length(self) -> int:
        """There is no maximum."""
        return -1
