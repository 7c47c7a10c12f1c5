"""Attention of packed rows, each against its own part of the cache.

It is registered with transformers under a name of its own, which a session sets on its model
(https://huggingface.co/docs/transformers/attention_interface). In a forward of a session, which
`attending` announces, each run of rows sees what belongs to it. In any other forward of the same
model, in whatever thread, it is the attention whose place it took.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Final, cast

import torch
from torch.nn import functional
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from gemma_structured.exceptions import LoadError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from torch import Tensor, nn
    from transformers import PretrainedConfig, PreTrainedModel

    from gemma_structured.decoding.ragged_forward import RaggedForward

    Attention = Callable[..., tuple[Tensor, Tensor | None]]

__all__ = ["attending", "is_causal_without_mask", "use_ragged_attention"]

_PREFIX: Final = "ragged_"
_KINDS: Final = ("sdpa", "eager")
_forward: ContextVar[tuple[RaggedForward, tuple[int | None, ...]] | None] = ContextVar(
    "ragged_forward", default=None
)


def use_ragged_attention(model: PreTrainedModel, config: PretrainedConfig) -> None:
    """Let a model attend by rows in the forwards of a session.

    Args:
        model: A model with `sdpa` or `eager` attention.
        config: That of its decoder.

    Raises:
        LoadError: Its attention is another, or cannot be replaced.
    """
    if not getattr(model, "_supports_attention_backend", False):
        raise LoadError(
            f"{type(model).__name__} computes its attention by itself: it cannot be run by row.",
            hint="Use the model's implementation in transformers, without trust_remote_code.",
        )
    chosen = cast("str | None", getattr(config, "_attn_implementation", None)) or "sdpa"
    if chosen.startswith(_PREFIX):
        return
    if chosen not in _KINDS:
        raise LoadError(
            f"Attention implementation {chosen!r} cannot be run by row.",
            hint="Load the model with attn_implementation='sdpa'.",
        )
    model.set_attn_implementation(_PREFIX + chosen)


def is_causal_without_mask(config: PretrainedConfig) -> bool:
    """Whether attention without a mask is causal, as `sdpa` is and `eager` is not."""
    return getattr(config, "_attn_implementation", None) != _PREFIX + "eager"


@contextmanager
def attending(forward: RaggedForward, windows: tuple[int | None, ...]) -> Generator[None]:
    """Announce a forward of this thread.

    Args:
        forward: Its rows.
        windows: The sliding window of each layer.
    """
    token = _forward.set((forward, windows))
    try:
        yield
    finally:
        _forward.reset(token)


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    kind: str,
    **options: object,
) -> tuple[Tensor, Tensor | None]:
    """As in transformers: `[batch, heads, tokens, dim]` to `[batch, tokens, heads, dim]`."""
    announced = _forward.get()
    if announced is None:
        return _plain(kind, module)(module, query, key, value, attention_mask, **options)
    forward, windows = announced
    window = windows[cast("int", module.layer_idx)]
    attend: Attention = _grouped_sdpa if kind == "sdpa" else _plain(kind, module)
    attended = []
    for run in forward.runs:
        mask = run.masks[window]
        if mask is not None:
            mask = mask.to(query.device)
            mask = _added(mask, query.dtype) if kind == "eager" else mask
        keys, values = (forward.seen_by(run, states, window) for states in (key, value))
        output, _ = attend(module, run.padded(query), keys, values, mask, **options)
        attended.append(run.packed(output))
    return torch.cat(attended)[None].contiguous(), None


def _grouped_sdpa(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    **options: object,
) -> tuple[Tensor, Tensor | None]:
    """Scaled dot product attention that copies no keys for the heads that share them.

    The queries of heads that share a key stand one behind another, as those of more tokens would;
    transformers does that for one token, and otherwise repeats the keys.
    """
    unusual = any(options.get(name) is not None for name in ("softcap", "position_bias", "s_aux"))
    if mask is None or unusual:
        return _plain("sdpa", module)(module, query, key, value, mask, **options)
    rows, heads, width, _ = query.shape
    shared = heads // key.shape[1]
    attended = functional.scaled_dot_product_attention(
        query.reshape(rows, key.shape[1], shared * width, -1),
        key,
        value,
        attn_mask=mask.repeat(1, 1, shared, 1),
        scale=cast("float | None", options.get("scaling")),
    )
    return attended.reshape(rows, heads, width, -1).transpose(1, 2), None


def _added(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """A mask that is added to scores."""
    return torch.where(mask, 0.0, torch.finfo(dtype).min).to(dtype)


def _plain(kind: str, module: nn.Module) -> Attention:
    """What a model of transformers would use."""
    if kind == "eager":
        return cast("Attention", sys.modules[type(module).__module__].eager_attention_forward)
    return cast("Attention", ALL_ATTENTION_FUNCTIONS[kind])


for _kind in _KINDS:
    AttentionInterface.register(_PREFIX + _kind, partial(_attention, kind=_kind))
    AttentionMaskInterface.register(_PREFIX + _kind, ALL_MASK_ATTENTION_FUNCTIONS[_kind])
