"""`RaggedLayer`: the keys and values of one layer, for rows of different lengths.

Tensors are `[slots, heads, capacity, head_dim]`. They grow with what is written, in steps, and
shrink when they are told what is still in use. What lies past a row's length is masked by the
cache, and is kept finite here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from transformers.cache_utils import CacheLayerMixin

if TYPE_CHECKING:
    from torch import Tensor

    from gemma_structured.decoding.kv_cache import RaggedCache
    from gemma_structured.decoding.ragged_forward import RaggedForward

__all__ = ["RaggedLayer", "most_capacity"]

_STEP = 256
"""Capacities are multiples of so many tokens."""


class RaggedLayer(CacheLayerMixin):  # type: ignore[no-untyped-call]
    """The keys and values of one layer.

    Args:
        cache: Whose layer it is: it knows the rows' lengths and the forward that has begun.
        window: The sliding window in tokens, `None` for full attention.
    """

    def __init__(self, cache: RaggedCache, window: int | None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.cache = cache
        self.window = window
        self.is_sliding = window is not None

    @property
    def nbytes(self) -> int:
        """Memory that is allocated, used or not."""
        return sum(t.nbytes for t in (self.keys, self.values) if t is not None)

    @property
    def bytes_per_token(self) -> int:
        """Memory of one token of one row; 0 while nothing is allocated."""
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
        """Write the forward's tokens, `[1, heads, tokens, head_dim]`; return what can be seen.

        Returns:
            Keys and values, `[slots, heads, extent, head_dim]`: of every slot from the forward's
            first to its last; see `RaggedForward.seen_by`.
        """
        del args, kwargs
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        forward = self.cache.current
        start, stop = forward.extents[self.window]
        self._reserve(forward.slots.stop, stop)
        seen = []
        for buffer, states in ((self.keys, key_states), (self.values, value_states)):
            assert buffer is not None
            self._write(buffer, states, forward)
            seen.append(buffer[forward.slots, :, start:stop])
        return seen[0], seen[1]

    def _write(self, buffer: Tensor, states: Tensor, forward: RaggedForward) -> None:
        if forward.is_one_row:
            slot = forward.slots.start
            at = self.cache.lengths[slot] - self.cache.bases[self.window][slot]
            buffer[slot, :, at : at + states.shape[2]] = states[0]
            return
        indexes = (forward.slot_index, forward.at_index[self.window])
        slot_index, at_index = (index.to(states.device) for index in indexes)
        buffer[slot_index, :, at_index] = states[0].transpose(0, 1)

    def _reserve(self, slots: int, tokens: int) -> None:
        assert self.keys is not None
        assert self.values is not None
        have_slots, _, have_tokens, _ = self.keys.shape
        if slots <= have_slots and tokens <= have_tokens:
            return
        capacity = have_tokens
        if tokens > have_tokens:
            capacity = _in_steps(max(tokens, have_tokens * 5 // 4))
        # Not a slot in advance: memory is given out by the row.
        self._resize(max(slots, have_slots), capacity)

    def shrink(self, slots: int, tokens: int) -> None:
        """Give back the slots from `slots` on, and capacity beyond `tokens` and room to grow."""
        if self.keys is None:
            return
        have_slots, _, have_tokens, _ = self.keys.shape
        wanted = min(slots, have_slots), min(most_capacity(tokens), have_tokens)
        if wanted != (have_slots, have_tokens):
            self._resize(*wanted)

    def _resize(self, slots: int, tokens: int) -> None:
        """Take another size, for keys and values alike even if there is too little memory."""
        assert self.keys is not None
        assert self.values is not None
        self.keys, self.values = (
            _resized(buffer, slots, tokens) for buffer in (self.keys, self.values)
        )

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
        forward = self.cache.current
        start, stop = forward.extents[self.window]
        base = self.cache.bases[self.window][forward.slots.start]
        return stop - start, base + start

    def get_seq_length(self) -> int:
        """The first row's length."""
        return self.cache.get_seq_length()

    def get_max_length(self) -> int:
        """There is no maximum."""
        return -1


def most_capacity(tokens: int) -> int:
    """The most tokens that a slot has room for when its row has grown to so many."""
    return _in_steps(tokens * 5 // 4)


def _in_steps(tokens: int) -> int:
    return -(-tokens // _STEP) * _STEP


def _resized(buffer: Tensor, slots: int, tokens: int) -> Tensor:
    """A copy with room for other numbers of slots and tokens; what is new is 0."""
    kept = buffer[:slots, :, :tokens]
    resized = buffer.new_zeros(slots, buffer.shape[1], tokens, buffer.shape[3])
    resized[: kept.shape[0], :, : kept.shape[2]] = kept
    return resized
