"""A KV cache behind a Protocol that speaks of rows: token ids in, logits out.

The Protocol is engine-neutral; `TransformersSession` is the first engine. A row is one sequence of
tokens; rows take part in a forward with different numbers of new tokens, and each is exact: its
logits are those of a fresh prefill of its tokens alone.
"""

from __future__ import annotations

import itertools
from contextlib import nullcontext
from typing import TYPE_CHECKING, NewType, Protocol, cast

import torch

from gemma_structured.decoding.compiled_layers import running_compiled
from gemma_structured.decoding.head import Head
from gemma_structured.decoding.kv_cache import RaggedCache
from gemma_structured.decoding.kv_snapshot import KVSnapshot
from gemma_structured.decoding.loaded_model import set_experts
from gemma_structured.decoding.ragged_attention import (
    attending,
    is_causal_without_mask,
    use_ragged_attention,
)
from gemma_structured.decoding.transfer import to_device
from gemma_structured.exceptions import LoadError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor
    from transformers import PretrainedConfig, PreTrainedModel

__all__ = ["Logits", "Row", "Session", "Snapshot", "TransformersSession", "layer_windows"]

_FEW_TOKENS = 64
"""Up to so many tokens in a forward, experts are gathered a token rather than grouped."""

Row = NewType("Row", int)
"""A handle to one sequence in a session."""


class Snapshot(Protocol):
    """A row's state, apart from any row: rows are opened from it, as often as wanted."""

    @property
    def length(self) -> int:
        """Tokens that it stands for."""
        ...

    @property
    def nbytes(self) -> int:
        """Memory that it holds."""
        ...

    @property
    def rewindable(self) -> int:
        """How many of its last tokens `rewound` can leave out."""
        ...

    def rewound(self, count: int) -> Snapshot:
        """The state that many tokens earlier; it may share this one's memory.

        Raises:
            ValueError: More than `rewindable` says.
        """
        ...


class Logits(Protocol):
    """The logits of one row's last tokens, computed when they are asked for."""

    def full(self) -> Tensor:
        """All of them: `[positions, vocab]`, float32."""
        ...

    def at(self, position: int, token_ids: Tensor) -> Tensor:
        """Those of a few tokens at one position: `[len(token_ids)]`, float32."""
        ...

    def hidden(self, position: int) -> Tensor | None:
        """The model's last hidden state at one position, `[hidden]`; `None` if it is not known."""
        ...

    def expect(self, position: int, token_ids: Tensor) -> None:
        """Say that `contenders` will be asked for: what is expected of all rows is done at once."""
        ...

    def contenders(self, position: int, token_ids: Tensor) -> Tensor:
        """Those of some tokens, ascending, that can have the largest logit at one position.

        As many as it takes no effort to rule out are left out, or none.
        """
        ...


class Session(Protocol):
    """What the decode loop needs from an engine. Not thread-safe: the loop's owner holds a lock."""

    @property
    def context_length(self) -> int:
        """The most tokens that a row may have."""
        ...

    def open(self, snapshot: Snapshot | None = None) -> Row:
        """Start a row, empty or where a snapshot was taken."""
        ...

    def close(self, row: Row) -> None:
        """End a row and free its memory."""
        ...

    def length(self, row: Row) -> int:
        """How many tokens a row has."""
        ...

    def forward(
        self, chunks: Mapping[Row, Sequence[int]], *, keep: Mapping[Row, int] | None = None
    ) -> dict[Row, Logits]:
        """Append tokens to rows, at least one each.

        Args:
            chunks: The new tokens by row.
            keep: For how many of its last tokens a row's logits are wanted: 1 unless told, 0 for
                a chunk in the middle of a prefill.
        """
        ...

    def rewindable(self, row: Row) -> int:
        """How many of a row's last tokens `rewind` can take back."""
        ...

    def rewind(self, row: Row, count: int) -> None:
        """Take back a row's last tokens.

        Raises:
            ValueError: More than `rewindable` says.
        """
        ...

    def fork(self, row: Row) -> Row:
        """Start a second row with the same tokens."""
        ...

    def snapshot(self, row: Row) -> Snapshot:
        """Keep a row's state for later."""
        ...


def layer_windows(config: PretrainedConfig) -> list[int | None]:
    """The sliding window of each layer with a cache, in tokens; `None` for full attention.

    Raises:
        LoadError: A layer's attention is of a kind that cannot be rewound (linear, chunked).
    """
    window = getattr(config, "sliding_window", None)
    count = int(config.num_hidden_layers)
    kinds = getattr(config, "layer_types", None)
    if kinds is None:
        return [window if getattr(config, "use_sliding_window", True) else None] * count
    known = {"full_attention": None, "sliding_attention": window}
    unknown = sorted(set(kinds) - set(known))
    if unknown:
        raise LoadError(
            f"The model has layers of kind {', '.join(unknown)}, which cannot be rewound.",
            hint="Models with full and sliding-window attention are supported.",
        )
    return [known[kind] for kind in kinds]


class TransformersSession:
    """Rows on a transformers causal language model.

    Args:
        model: A causal language model in evaluation mode, with `sdpa` or `eager` attention.
        context_length: The most tokens a row may have.
        switch_experts: Compute a mixture of experts by `grouped_mm` for many tokens and by
            `batched_mm` for few, as transformers' `generate` does on a GPU. On a CPU `grouped_mm`
            is best throughout.
        compiled: Whether the layers are compiled; see `compile_layers`.

    Raises:
        LoadError: The model's attention cannot be run by row.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        context_length: int,
        *,
        switch_experts: bool = False,
        compiled: bool = False,
    ) -> None:
        self._model = model
        self._switch_experts = switch_experts
        self._config = model.config.get_text_config(decoder=True)
        self._context_length = context_length
        self._compiled = compiled
        self._cache = RaggedCache(layer_windows(self._config), attention_writes=compiled)
        self._slots: dict[Row, int] = {}
        self._numbers = itertools.count()
        self._head = Head(model)
        self._device = cast("Tensor", model.get_input_embeddings().weight).device
        # Passed as a mask, it keeps the model from making one: `attending` knows the masks.
        self._no_mask = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=self._device)
        use_ragged_attention(model, self._config, compiled=compiled)

    @property
    def context_length(self) -> int:
        """The most tokens that a row may have."""
        return self._context_length

    @property
    def nbytes(self) -> int:
        """Memory that the rows' caches hold."""
        return self._cache.nbytes

    @property
    def bytes_per_token(self) -> int:
        """Memory that one more token of a row takes; 0 before the first forward."""
        return self._cache.bytes_per_token

    def most_bytes(self, rows: int, tokens: int) -> int:
        """The most memory that rows come to take, none of them longer than so many tokens.

        It is 0 before the first forward.
        """
        return self._cache.most_bytes(rows, tokens)

    @property
    def open_rows(self) -> int:
        """How many rows are open."""
        return len(self._slots)

    def open(self, snapshot: Snapshot | None = None) -> Row:
        """Start a row, empty or where a snapshot was taken."""
        if snapshot is not None and not isinstance(snapshot, KVSnapshot):
            raise TypeError(f"Not a snapshot of this session: {snapshot!r}")
        row = Row(next(self._numbers))
        self._slots[row] = self._cache.add(snapshot)
        return row

    def close(self, row: Row) -> None:
        """End a row and free its memory."""
        slot = self._slots[row]
        moved = self._cache.remove(slot)
        del self._slots[row]  # last: no row is counted as gone that still has memory
        if moved is not None:
            self._slots[self._row_at(moved)] = slot

    def length(self, row: Row) -> int:
        """How many tokens a row has."""
        return self._cache.lengths[self._slots[row]]

    def rewindable(self, row: Row) -> int:
        """How many of a row's last tokens `rewind` can take back."""
        return self._cache.rewindable(self._slots[row])

    def rewind(self, row: Row, count: int) -> None:
        """Take back a row's last tokens."""
        self._cache.rewind(self._slots[row], count)

    def fork(self, row: Row) -> Row:
        """Start a second row with the same tokens."""
        return self.open(self.snapshot(row))

    def snapshot(self, row: Row) -> KVSnapshot:
        """Keep a row's state for later."""
        return self._cache.snapshot(self._slots[row])

    def keys_and_values(
        self, row: Row, layer: int, most: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """A layer's cache of a row, or of at most so many of its last tokens: a view of it.

        Returns:
            Keys and values, `[1, heads, tokens, head_dim]`.
        """
        return self._cache.view(self._slots[row], layer, most)

    @torch.inference_mode()
    def forward(
        self, chunks: Mapping[Row, Sequence[int]], *, keep: Mapping[Row, int] | None = None
    ) -> dict[Row, Logits]:
        """Append tokens to rows; see `Session.forward`."""
        rows = sorted(chunks, key=self._slots.__getitem__)
        counts = {self._slots[row]: len(chunks[row]) for row in rows}
        wanted = [1 if keep is None else keep.get(row, 1) for row in rows]
        tokens = torch.tensor([[token for row in rows for token in chunks[row]]])
        if self._switch_experts:
            few = tokens.numel() <= _FEW_TOKENS
            set_experts(self._model, "batched_mm" if few else "grouped_mm")
        forward = self._cache.begin(
            counts, self._device, causal_default=is_causal_without_mask(self._config)
        )
        running = running_compiled() if self._compiled else nullcontext()
        with attending(forward, self._cache), running:
            states = self._head.run(
                to_device(_last_positions(list(counts.values()), wanted), self._device),
                input_ids=to_device(tokens, self._device),
                attention_mask=self._no_mask,
                position_ids=forward.positions,
                past_key_values=self._cache,
                use_cache=True,
            )
        self._cache.commit()
        return dict(zip(rows, self._head.logits(states, wanted), strict=True))

    def _row_at(self, slot: int) -> Row:
        return next(row for row, at in self._slots.items() if at == slot)


def _last_positions(counts: Sequence[int], wanted: Sequence[int]) -> Tensor:
    """Where the last `wanted[i]` of a row's `counts[i]` tokens stand in the pack, `[positions]`."""
    ends = itertools.accumulate(counts)
    return torch.cat(
        [torch.arange(end - count, end) for end, count in zip(ends, wanted, strict=True)]
    )
