"""Attention of packed rows, each against its own part of the cache.

It is registered with transformers under a name of its own, which a session sets on its model
(https://huggingface.co/docs/transformers/attention_interface). In a forward of a session, which
`attending` announces, each run of rows sees what belongs to it. In any other forward of the same
model, in whatever thread, it is the attention whose place it took.

Of layers that are compiled it is one operation that the compiler does not look into, which also
writes the cache: all that depends on the rows is in it.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Final, cast

import torch
from torch.library import Library, register_fake
from torch.nn import functional
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from gemma_structured.exceptions import LoadError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from torch import Tensor, nn
    from transformers import PretrainedConfig, PreTrainedModel

    from gemma_structured.decoding.kv_cache import RaggedCache
    from gemma_structured.decoding.ragged_forward import RaggedForward

    Attention = Callable[..., tuple[Tensor, Tensor | None]]
    Attend = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]

__all__ = ["attending", "is_causal_without_mask", "use_ragged_attention"]

_PREFIX: Final = "ragged_"
_KINDS: Final = ("sdpa", "eager")
_COMPILED: Final = "compiled"
_UNUSUAL: Final = ("softcap", "position_bias", "s_aux")
"""What some models ask of attention beside scores, masks and scaling."""

_forward: ContextVar[tuple[RaggedForward, RaggedCache] | None] = ContextVar(
    "ragged_forward", default=None
)


def use_ragged_attention(
    model: PreTrainedModel, config: PretrainedConfig, *, compiled: bool = False
) -> None:
    """Let a model attend by rows in the forwards of a session.

    Args:
        model: A model with `sdpa` or `eager` attention.
        config: That of its decoder.
        compiled: Whether its layers are compiled; then it has no other forwards.

    Raises:
        LoadError: Its attention is another, or cannot be replaced.
    """
    if not getattr(model, "_supports_attention_backend", False):
        raise LoadError(
            f"{type(model).__name__} computes its attention by itself: it cannot be run by row.",
            hint="Use the model's implementation in transformers, without trust_remote_code.",
        )
    chosen = cast("str | None", getattr(config, "_attn_implementation", None)) or "sdpa"
    chosen = chosen.removeprefix(_PREFIX)
    if compiled and chosen in {"sdpa", _COMPILED}:
        model.set_attn_implementation(_PREFIX + _COMPILED)
        return
    if compiled or chosen not in _KINDS:
        raise LoadError(
            f"Attention implementation {chosen!r} cannot be run by row.",
            hint="Load the model with attn_implementation='sdpa'.",
        )
    model.set_attn_implementation(_PREFIX + chosen)


def is_causal_without_mask(config: PretrainedConfig) -> bool:
    """Whether attention without a mask is causal, as `sdpa` is and `eager` is not."""
    return getattr(config, "_attn_implementation", None) != _PREFIX + "eager"


@contextmanager
def attending(forward: RaggedForward, cache: RaggedCache) -> Generator[None]:
    """Announce a forward of this thread.

    Args:
        forward: Its rows.
        cache: Where it was begun.
    """
    token = _forward.set((forward, cache))
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
    forward, cache = announced
    is_usual = kind == "sdpa" and not _asks_for_more(options)
    scaling = cast("float | None", options.get("scaling"))

    def attend(query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        if is_usual:
            return _sdpa(query, keys, values, mask, scaling)
        return _plain(kind, module)(module, query, keys, values, mask, **options)[0]

    window = cache.window(cast("int", module.layer_idx))
    return _by_run(forward, query, key, value, attend, window=window, grouped=is_usual), None


def _compiled_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    **options: object,
) -> tuple[Tensor, Tensor | None]:
    """`_attention` as an operation; the keys and values are those of the new tokens alone."""
    del attention_mask
    if _asks_for_more(options):
        raise LoadError(
            f"The attention of {type(module).__name__} cannot be compiled.",
            hint="Load the model without compile=True.",
        )
    layer = cast("int", module.layer_idx)
    return torch.ops.gemma_structured.ragged_attention(query, key, value, layer, scaling), None


def _write_and_attend(
    query: Tensor, key: Tensor, value: Tensor, layer: int, scaling: float | None
) -> Tensor:
    announced = _forward.get()
    if announced is None:
        raise RuntimeError("A compiled model runs in its session alone: load another one.")
    forward, cache = announced
    keys, values = cache.write(key, value, layer)
    attend = partial(_sdpa, scaling=scaling)
    window = cache.window(layer)
    return _by_run(forward, query, keys, values, attend, window=window, grouped=True)


def _by_run(
    forward: RaggedForward,
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    attend: Attend,
    *,
    window: int | None,
    grouped: bool,
) -> Tensor:
    """Let each run attend to what it sees: `[1, tokens, heads, dim]`."""
    copies = query.shape[1] // keys.shape[1] if grouped else 1
    attended = []
    for run in forward.runs:
        seen, known = (forward.seen_by(run, states, window) for states in (keys, values))
        mask = run.added_mask(window, copies, query)
        attended.append(run.packed(attend(run.padded(query), seen, known, mask)))
    return torch.cat(attended)[None].contiguous()


def _asks_for_more(options: Mapping[str, object]) -> bool:
    return any(options.get(name) is not None for name in _UNUSUAL)


def _sdpa(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float | None
) -> Tensor:
    """Scaled dot product attention that copies no keys for the heads that share them.

    The queries of heads that share a key stand one behind another, as those of more tokens would;
    transformers does that for one token, and otherwise repeats the keys.

    Args:
        query: `[rows, heads, width, dim]`.
        key: `[rows, key heads, seen, dim]`.
        value: As `key`.
        mask: `[rows, 1, heads that share a key * width, seen]`, see `Run.added_mask`; without one,
            each token sees those up to its own, and one token all.
        scaling: Of the scores.

    Returns:
        `[rows, width, heads, dim]`.
    """
    rows, heads, width, _ = query.shape
    shared = heads // key.shape[1]
    if mask is None and width > 1:
        return functional.scaled_dot_product_attention(
            query, key, value, is_causal=True, scale=scaling, enable_gqa=shared > 1
        ).transpose(1, 2)
    attended = functional.scaled_dot_product_attention(
        query.reshape(rows, key.shape[1], shared * width, -1),
        key,
        value,
        attn_mask=mask,
        scale=scaling,
    )
    return attended.reshape(rows, heads, width, -1).transpose(1, 2)


def _plain(kind: str, module: nn.Module) -> Attention:
    """What a model of transformers would use."""
    if kind == "eager":
        return cast("Attention", sys.modules[type(module).__module__].eager_attention_forward)
    return cast("Attention", ALL_ATTENTION_FUNCTIONS[kind])


for _kind in _KINDS:
    AttentionInterface.register(_PREFIX + _kind, partial(_attention, kind=_kind))
    AttentionMaskInterface.register(_PREFIX + _kind, ALL_MASK_ATTENTION_FUNCTIONS[_kind])
AttentionInterface.register(_PREFIX + _COMPILED, _compiled_attention)
AttentionMaskInterface.register(_PREFIX + _COMPILED, ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])

_operations = Library("gemma_structured", "DEF")  # type: ignore[no-untyped-call]
_operations.define(  # type: ignore[no-untyped-call]
    "ragged_attention(Tensor query, Tensor key, Tensor value, SymInt layer, float? scaling)"
    " -> Tensor"
)
_operations.impl(  # type: ignore[no-untyped-call]
    "ragged_attention", _write_and_attend, "CompositeExplicitAutograd"
)


def _like(query: Tensor, key: Tensor, value: Tensor, layer: int, scaling: float | None) -> Tensor:
    """What comes out, for the compiler."""
    del key, layer, scaling
    batch, heads, tokens, _ = query.shape
    return query.new_empty(batch, tokens, heads, value.shape[3])


register_fake("gemma_structured::ragged_attention", _like)
