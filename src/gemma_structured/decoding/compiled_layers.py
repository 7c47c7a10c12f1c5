"""`torch.compile` for the layers of a model, one by one: what is compiled for one serves all.

Of a decode step on small tensors, much of the time goes into starting operations; compiled, a
layer's norms, rotations, activations and sums become a few kernels around its products. Attention
stays one operation (`ragged_attention`). The number of tokens is symbolic, so that a step of any
width runs what was compiled for the first
(https://docs.pytorch.org/tutorials/recipes/regional_compilation.html).
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, cast

import torch

from gemma_structured.decoding.int8 import Int8Linear
from gemma_structured.exceptions import LoadError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from torch import nn
    from transformers import PreTrainedModel

__all__ = ["compile_layers", "running_compiled"]

_MOST_VERSIONS = 64
"""Of one layer's code: by kind of layer, one token or more, and way of computing experts."""


def compile_layers(model: PreTrainedModel, name: str) -> None:
    """Have a model's layers compiled by their next forwards.

    Args:
        model: It then runs in a session made with `compiled` alone.
        name: What to call it in errors.

    Raises:
        LoadError: It cannot be compiled, or there is no compiler for its device.
    """
    decoder = cast("nn.Module", model.get_decoder())  # type: ignore[no-untyped-call]
    layers = getattr(decoder, "layers", None)
    config = model.config.get_text_config(decoder=True)
    reason = None
    if not isinstance(layers, torch.nn.ModuleList):
        reason = "has no list of layers"
    elif getattr(config, "num_kv_shared_layers", 0):
        reason = "has layers that share keys and values"
    elif any(isinstance(module, Int8Linear) for module in decoder.modules()):
        reason = "computes in 8-bit integers"
    if reason is not None:
        raise LoadError(
            f"{name!r} cannot be compiled: it {reason}.",
            hint="Load it without compile=True.",
            model_name=name,
        )
    _check_compiler(model.device, name)
    for layer in cast("nn.ModuleList", layers):
        layer.compile(dynamic=True)


def running_compiled() -> AbstractContextManager[None]:
    """What must hold while compiled layers run, and are compiled.

    A layer's number is no constant of its code; otherwise each would be compiled for itself.
    """
    settings = torch._dynamo.config  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    return cast(
        "AbstractContextManager[None]",
        settings.patch(allow_unspec_int_on_nn_module=True, recompile_limit=_MOST_VERSIONS),
    )


def _check_compiler(device: torch.device, name: str) -> None:
    try:
        with warnings.catch_warnings():  # the compiler is imported here: PyTorch's own deprecations
            warnings.simplefilter("ignore", DeprecationWarning)
            torch.compile(_add_one)(torch.ones(2, device=device))
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise LoadError(
            f"{name!r} cannot be compiled: torch.compile does not work here ({reason}).",
            hint="Install a C++ compiler (on a GPU: Triton), or load it without compile=True.",
            model_name=name,
        ) from error


def _add_one(tensor: torch.Tensor) -> torch.Tensor:
    return tensor + 1
