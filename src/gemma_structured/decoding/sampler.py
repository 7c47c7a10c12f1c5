"""Choosing a token from the logits of those that are allowed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from gemma_structured.exceptions import ModelError

if TYPE_CHECKING:
    from torch import Tensor

    from gemma_structured.types import SamplingParams

__all__ = ["Sampler", "filtered_probabilities", "not_finite"]


class Sampler:
    """Draws tokens; one a sequence, since its random state is the sequence's own.

    One draw takes one random number, whatever the logits, so that a sequence draws the same tokens
    alone, in a batch, and with drafts.

    Attributes:
        params: How tokens are drawn.
    """

    def __init__(self, params: SamplingParams) -> None:
        self.params = params
        self._random = torch.Generator()
        if params.seed is None:
            self._random.seed()
        else:
            self._random.manual_seed(params.seed % 2**64)

    @property
    def is_greedy(self) -> bool:
        """Whether it takes the token with the largest logit."""
        return self.params.temperature == 0.0

    def choose(self, logits: Tensor) -> int:
        """Choose among `[allowed]` logits.

        Returns:
            The index into `logits`. Without a temperature that is the first of the largest.

        Raises:
            ModelError: A logit is not a number.
        """
        if not bool(torch.isfinite(logits.max())):
            raise not_finite()
        if self.is_greedy:
            return int(logits.argmax())
        probabilities, order = filtered_probabilities(logits.cpu(), self.params)
        index = torch.searchsorted(probabilities.cumsum(0), self.uniform(), right=True)
        return int(order[min(int(index), len(order) - 1)])

    def uniform(self) -> Tensor:
        """The next random number, in [0, 1): a scalar, float64, on the CPU."""
        return torch.rand((), generator=self._random, dtype=torch.float64)


def not_finite() -> ModelError:
    """What is said of logits that cannot be chosen by."""
    return ModelError(
        "The model's logits are not finite.",
        hint="Load it with precision='float32' or 'bfloat16'; check the weights.",
    )


def filtered_probabilities(logits: Tensor, params: SamplingParams) -> tuple[Tensor, Tensor]:
    """The distribution that is drawn from, after temperature, top-k, top-p and min-p.

    Args:
        logits: `[allowed]`, float32.
        params: With a temperature above 0.

    Returns:
        The probabilities in descending order, float64, summing to 1, and the indexes into `logits`
        that they belong to. Tokens that the filters removed are not in it.
    """
    scaled = (logits.double() - logits.max()) / params.temperature
    probabilities, order = torch.softmax(scaled, dim=0).sort(descending=True, stable=True)
    keep = len(order)
    if params.top_k is not None:
        keep = min(keep, params.top_k)
        probabilities = probabilities / probabilities[:keep].sum()
    if params.top_p is not None:
        before = probabilities[:keep].cumsum(0) - probabilities[:keep]
        keep = max(1, int((before < params.top_p).sum()))
    if params.min_p is not None:
        keep = max(1, int((probabilities[:keep] >= params.min_p * probabilities[0]).sum()))
    kept = probabilities[:keep]
    return kept / kept.sum(), order[:keep]
