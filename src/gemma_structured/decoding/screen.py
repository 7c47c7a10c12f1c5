"""Which tokens can be the most likely one, found by reading a quarter of the head.

A greedy choice among all the tokens needs one number of 262,144: the place of the largest logit.
The head's products are taken in 8-bit integers first. How far each can be off is known, from the
norms of what rounding took from the weights and from the state (Cauchy-Schwarz), so that all but a
few tokens are ruled out for certain; the logits of those few are then computed as the model does.
The choice is the one that the whole head gives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch

from gemma_structured.decoding.int8 import Int8Matrix, is_supported, rounded

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

__all__ = ["Screen"]

_FEWEST_TOKENS = 4096
"""A head of fewer tokens is read as fast as it is screened."""

_ROWS_A_STEP = 4096
"""Rows of the weight that are measured at once, so that they stay in the processor's cache."""

_CAP_ROUNDING = 1e-6
"""How far the soft cap of two logits can be out of their order."""


class Screen:
    """Rules out what cannot be the largest logit.

    Args:
        projection: A head that `suits` accepts.
    """

    def __init__(self, projection: nn.Linear) -> None:
        weight = projection.weight.detach()
        self._matrix = Int8Matrix(weight)
        coarse = self._matrix.weight()
        self._norms = torch.empty(len(weight))
        self._error_norms = torch.empty(len(weight))
        for start in range(0, len(weight), _ROWS_A_STEP):
            at = slice(start, start + _ROWS_A_STEP)
            rows = weight[at].float()
            self._norms[at] = torch.linalg.vector_norm(rows, dim=1)
            self._error_norms[at] = torch.linalg.vector_norm(rows - coarse[at], dim=1)
        bias = cast("Tensor | None", projection.bias)
        self._bias = None if bias is None else bias.detach().float()
        self._rounding = _rounding(weight)

    @staticmethod
    def suits(projection: nn.Module) -> bool:
        """Whether a head can be screened: floating weights on a CPU, enough of them to pay."""
        weight = cast("Tensor", projection.weight)
        return (
            type(projection) is torch.nn.Linear
            and weight.device.type == "cpu"
            and weight.is_floating_point()
            and projection.out_features >= _FEWEST_TOKENS
            and is_supported()
        )

    def read(self, states: Tensor) -> ScreenedStates:
        """Take the coarse products of states, `[tokens, hidden]`."""
        states = states.float()
        coarse = rounded(states)
        logits = self._matrix.product(coarse)
        if self._bias is not None:
            logits += self._bias
        lengths = torch.linalg.vector_norm(coarse, dim=1)
        missing = torch.linalg.vector_norm(states - coarse, dim=1)
        missing += self._rounding * torch.linalg.vector_norm(states, dim=1)
        return ScreenedStates(logits, lengths, missing, self._norms, self._error_norms)


class ScreenedStates:
    """The coarse logits of some states, and how far they can be off.

    Args:
        logits: `[tokens, vocab]`.
        lengths: The norms of what the weight was multiplied with, `[tokens]`.
        missing: Those of what is missing in it, with what rounding adds, `[tokens]`.
        norms: Those of the weight's rows, `[vocab]`.
        error_norms: Those of what is missing in the weight's rows, `[vocab]`.
    """

    def __init__(
        self, logits: Tensor, lengths: Tensor, missing: Tensor, norms: Tensor, error_norms: Tensor
    ) -> None:
        self._logits = logits
        self._lengths = lengths
        self._missing = missing
        self._norms = norms
        self._error_norms = error_norms

    def bounds(self, index: int) -> tuple[Tensor, Tensor]:
        """The least and the most that the logits of one state can be, `[vocab]` each."""
        error = self._error_norms * self._lengths[index]
        error.add_(self._norms, alpha=float(self._missing[index]))
        logits = self._logits[index]
        return logits - error, logits + error

    def contenders(
        self, index: int, token_ids: Tensor, capped: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """Those of some tokens that can have the largest logit of one state.

        Args:
            index: Which state.
            token_ids: The tokens, ascending.
            capped: What the model does to logits; it keeps their order, but for rounding.

        Returns:
            Ascending ids; none where logits are no numbers.
        """
        least, most = self.bounds(index)
        best = least.argmax()[None]  # mostly it is one of the tokens: the others are not looked at
        best = best if len(_common(best, token_ids)) else token_ids
        reached = capped(least[best].max())
        can_reach = capped(most) >= reached - _CAP_ROUNDING * reached.abs()
        return _common(can_reach.nonzero()[:, 0], token_ids)


def _common(few: Tensor, many: Tensor) -> Tensor:
    """The ids that are in both, of which the second one ascends."""
    at = torch.searchsorted(many, few).clamp_(max=len(many) - 1)
    return few[many[at] == few]


def _rounding(weight: Tensor) -> float:
    """How far a product computed in the weight's type can be off, against both norms' product."""
    sums = weight.shape[1] * torch.finfo(torch.float32).eps
    return 2 * (sums + (0 if weight.dtype is torch.float32 else torch.finfo(weight.dtype).eps))
