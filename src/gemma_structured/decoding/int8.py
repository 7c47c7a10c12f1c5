"""Products of matrices in 8-bit integers, on a CPU.

A weight is kept as integers with a scale for each output, an input is turned into integers with a
scale for each token, and their product is exact integer arithmetic. So what comes out for a token
does not depend on the tokens that are computed beside it, as it does with
`torch.ao.quantization.quantize_dynamic`, which takes one scale for all tokens of a forward; the
kernels are the same (FBGEMM, https://arxiv.org/abs/2101.05615).
"""

from __future__ import annotations

import functools
import warnings
from typing import TYPE_CHECKING, cast

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

__all__ = ["Int8Linear", "Int8Matrix", "SharedProduct", "is_supported", "rounded"]

_LARGEST = 127
_ZERO = 128
"""The unsigned integer that stands for 0: the kernels take inputs without a sign."""

_TINY = torch.finfo(torch.float32).tiny


class Int8Matrix:
    """A weight as 8-bit integers, each row with a scale of its own.

    Args:
        weight: `[outputs, inputs]`, of any floating type, on a CPU.
    """

    def __init__(self, weight: Tensor) -> None:
        weight = weight.float()
        scales = weight.abs().amax(dim=1).div_(_LARGEST).clamp_(min=_TINY).double()
        zeros = torch.zeros(len(scales), dtype=torch.int64)
        with warnings.catch_warnings():  # these tensors will go; `is_supported` will tell
            warnings.filterwarnings("ignore", message="torch.quantize_per_tensor")
            integers = torch.quantize_per_channel(weight, scales, zeros, 0, torch.qint8)
        self._packed = torch.ops.quantized.linear_prepack(integers, None)

    def product(self, rows: Tensor) -> Tensor:
        """Multiply `[tokens, inputs]` to `[tokens, outputs]`, float32."""
        largest = _largest(rows)
        product: Tensor = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32(
            rows / largest, 1 / _LARGEST, _ZERO, self._packed
        )
        return product.mul_(largest)

    def weight(self) -> Tensor:
        """What it multiplies with instead of the weight, float32 `[outputs, inputs]`."""
        integers, _ = torch.ops.quantized.linear_unpack(self._packed)
        return cast("Tensor", integers.dequantize())


class SharedProduct:
    """The products of linear layers with the same input, as one: most of a small one is overhead.

    Each layer asks for its own, one after another. The first one computes those of all; what is
    the same input is told by identity, so nothing may write to it between them.

    Args:
        linears: The layers, of as many inputs each.
    """

    def __init__(self, linears: Sequence[nn.Linear]) -> None:
        self._matrix = Int8Matrix(torch.cat([linear.weight.detach() for linear in linears]))
        self._sizes = [linear.out_features for linear in linears]
        self._last: tuple[Tensor, dict[int, Tensor]] | None = None

    def of(self, index: int, states: Tensor) -> Tensor:
        """Multiply `[…, inputs]` with the weight of one of the layers: `[tokens, outputs]`."""
        last = self._last  # another thread may set another one
        if last is None or last[0] is not states or index not in last[1]:
            rows = states.reshape(-1, states.shape[-1]).float()
            products = torch.split_with_sizes(self._matrix.product(rows), self._sizes, dim=1)
            last = self._last = (states, dict(enumerate(products)))
        product = last[1].pop(index)
        if not last[1]:
            self._last = None
        return product


class Int8Linear(nn.Module):
    """An `nn.Linear` whose weight is (part of) an `Int8Matrix`.

    Args:
        linear: The layer to take the place of.
        product: The product that it shares with others; its own unless given.
        index: Which of those layers it is.
    """

    def __init__(
        self, linear: nn.Linear, product: SharedProduct | None = None, index: int = 0
    ) -> None:
        super().__init__()
        self.in_features = linear.in_features
        self.out_features = linear.out_features
        self.bias = cast("nn.Parameter | None", linear.bias)
        self._product = product or SharedProduct([linear])
        self._index = index

    def forward(self, states: Tensor) -> Tensor:
        """Multiply `[…, in_features]` to `[…, out_features]`."""
        product = self._product.of(self._index, states)
        if self.bias is not None:
            product = product + self.bias
        return product.view(*states.shape[:-1], self.out_features).to(states.dtype)


def rounded(rows: Tensor) -> Tensor:
    """What `Int8Matrix.product` multiplies with instead of rows, `[tokens, inputs]`, float32."""
    largest = _largest(rows)
    return (rows / largest).mul_(_LARGEST).round_().div_(_LARGEST).mul_(largest)


@functools.cache
def is_supported() -> bool:
    """Whether this build of PyTorch has the kernels, and this processor computes them exactly.

    Without instructions for 8-bit products (VNNI), some processors cut their sums at 16 bits.
    """
    ones = torch.ones(2, 64)
    try:
        product = Int8Matrix(ones).product(ones)
    except (AttributeError, RuntimeError):
        return False
    return torch.allclose(product, torch.full((2, 2), 64.0))


def _largest(rows: Tensor) -> Tensor:
    """The largest size of a number in each row, `[rows, 1]`; not 0."""
    return rows.abs().amax(dim=1, keepdim=True).clamp_(min=_TINY)
