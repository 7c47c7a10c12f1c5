"""Choosing one token for each of many rows, on the device that their logits are on.

The same choices as `Sampler.choose`, row by row: without a temperature exactly, with one by the
same random number and up to rounding. The device is waited for once, when the tokens are read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from gemma_structured.decoding.transfer import to_device

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from gemma_structured.decoding.sampler import Sampler

__all__ = ["choose_tokens", "unpack_bitmask"]

_BITS = 32


def unpack_bitmask(bitmask: Tensor, vocab: int) -> Tensor:
    """Booleans `[rows, vocab]` from a packed bitmask, `[rows, ceil(vocab / 32)]`, int32."""
    shifts = torch.arange(_BITS, dtype=torch.int32, device=bitmask.device)
    bits = (bitmask[:, :, None] >> shifts) & 1
    return bits.flatten(1)[:, :vocab].bool()


@torch.inference_mode()
def choose_tokens(logits: Tensor, allowed: Tensor, samplers: Sequence[Sampler]) -> list[int | None]:
    """Choose a token for each row among those that are allowed, at least one.

    Args:
        logits: `[rows, tokens]`, float32.
        allowed: `[rows, tokens]`, bool.
        samplers: The rows' own.

    Returns:
        The columns; `None` for a row whose logits are not finite.
    """
    masked = logits.masked_fill(~allowed, -torch.inf)
    largest, chosen = masked.max(dim=1)
    sampled = [row for row, sampler in enumerate(samplers) if not sampler.is_greedy]
    if sampled:
        params = [_params(samplers[row], logits.shape[1]) for row in sampled]
        settings = to_device(torch.tensor(params, dtype=torch.float64), logits.device)
        rows = to_device(torch.tensor(sampled), logits.device)
        chosen[rows] = _draw(masked[rows], settings)
    found = torch.where(largest.isfinite(), chosen, -1).tolist()
    return [None if column < 0 else int(column) for column in found]


def _params(sampler: Sampler, tokens: int) -> tuple[float, ...]:
    """Temperature, filters (those that are not wanted keep all), and the next random number."""
    params = sampler.params
    return (
        params.temperature,
        tokens if params.top_k is None else params.top_k,
        2.0 if params.top_p is None else params.top_p,
        0.0 if params.min_p is None else params.min_p,
        float(sampler.uniform()),
    )


def _draw(logits: Tensor, settings: Tensor) -> Tensor:
    """Draw from `sampler.filtered_probabilities` of each row: `[rows, tokens]` to `[rows]`."""
    temperature, top_k, top_p, min_p, uniform = settings[..., None].unbind(1)
    scaled = (logits.double() - logits.amax(dim=1, keepdim=True)) / temperature
    ordered, order = torch.softmax(scaled, dim=1).sort(dim=1, descending=True, stable=True)
    rank = torch.arange(logits.shape[1], device=logits.device)
    kept = (ordered > 0) & (rank < top_k)
    share = _normalised(ordered, kept)
    kept &= (share.cumsum(dim=1) - share < top_p) | (rank == 0)
    kept &= share >= min_p * share[:, :1]
    cumulative = _normalised(share, kept).cumsum(dim=1)
    last = kept.sum(dim=1, keepdim=True) - 1
    index = torch.searchsorted(cumulative, uniform.contiguous(), right=True).minimum(last)
    return order.gather(1, index.clamp(min=0)).squeeze(1)  # below 0 where nothing is finite


def _normalised(probabilities: Tensor, kept: Tensor) -> Tensor:
    """The share of each that is kept in all that are."""
    part = probabilities.where(kept, 0.0)
    return part / part.sum(dim=1, keepdim=True)
