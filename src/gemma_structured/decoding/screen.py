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
    from torch import Tensor, nn

__all__ = ["Screen"]

_FEWEST_TOKENS = 4096
"""A head of fewer tokens is read as fast as it is screened."""

_ROWS_A_STEP = 4096
"""Rows of the weight that are measured at once, so that they stay in the processor's cache."""


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
        """Take the coarse products of states, `[tokens, hidden]`.

        Each state is multiplied as its rounding and as the rounding of what that left out, so that
        next to nothing of the error is its own.
        """
        states = states.float()
        first = rounded(states)
        second = rounded(states - first)
        products = self._matrix.product(torch.cat([first, second])).view(2, len(states), -1)
        logits = products[0].add_(products[1])
        if self._bias is not None:
            logits += self._bias
        lengths = torch.linalg.vector_norm(first + second, dim=1)
        missing = torch.linalg.vector_norm(states - first - second, dim=1)
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
        error.add_(self._norms * self._missing[index])
        logits = self._logits[index]
        return logits - error, logits + error


def _rounding(weight: Tensor) -> float:
    """How far a product computed in the weight's type can be off, against both norms' product."""
    sums = weight.shape[1] * torch.finfo(torch.float32).eps
    return 2 * (sums + (0 if weight.dtype is torch.float32 else torch.finfo(weight.dtype).eps))
