"""Where a model runs, in which type, and whether it fits there."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from gemma_structured.exceptions import LoadError

if TYPE_CHECKING:
    import torch

    from gemma_structured.decoding.checkpoint import WeightsSize
    from gemma_structured.decoding.load_options import LoadOptions

__all__ = ["Placement", "free_memory", "place"]

SMALL_MODEL_PARAMETERS = 1_500_000_000
"""Up to this size a model on a CPU runs in float32, the type in which its logits are exact."""

MEMORY_MARGIN = 1.1
"""What loading takes beside the weights themselves: one layer twice, and buffers."""

_FLOAT32_BYTES, _HALF_BYTES = 4, 2
_GIB = 1 << 30
_CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where a model goes.

    Attributes:
        device: Where it runs.
        dtype: The type of its weights there.
    """

    device: torch.device
    dtype: torch.dtype


def place(folder: Path, size: WeightsSize | None, options: LoadOptions, name: str) -> Placement:
    """Choose a model's device and type, and refuse one that does not fit.

    With a device map or a quantisation of the user's own, what fits is for accelerate to say.

    Args:
        folder: Its checkpoint; the weights need not be there yet.
        size: How large they are, where that is known.
        options: What the user asked for.
        name: The model, for the error.

    Raises:
        LoadError: PyTorch cannot use the device, or the model needs more memory than is free.
    """
    device = _device(options, name)
    dtype = _dtype(options, device, size)
    if size is not None and options.device_map is None and options.quantization_config is None:
        quantized = "quantization_config" in json.loads((folder / "config.json").read_bytes())
        weights = size.bytes_on_disk if quantized else size.parameters * dtype.itemsize
        _check_memory(weights, device, dtype, name)
    return Placement(device=device, dtype=dtype)


def _device(options: LoadOptions, name: str) -> torch.device:
    import torch  # noqa: PLC0415 - part of the extra `local`

    if options.device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(options.device)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise LoadError(
            f"The device {options.device!r} cannot be used here: {reason}",
            hint='Leave device="auto", or install the build of PyTorch that supports it.',
            model_name=name,
        ) from error
    return device


def _dtype(options: LoadOptions, device: torch.device, size: WeightsSize | None) -> torch.dtype:
    """The type that the user asks for, or the one that suits the device.

    A GPU computes in bfloat16 (float16 would overflow in Gemma's layers). On a CPU a small model is
    loaded in float32, where every way of batching gives the same logits; a larger one in bfloat16,
    which halves its memory and its time.
    """
    import torch  # noqa: PLC0415 - part of the extra `local`

    if options.precision == "int8":
        return torch.float32
    if options.precision not in {None, "auto"}:
        dtype: torch.dtype = getattr(torch, cast("str", options.precision))
        return dtype
    if device.type != "cpu" or size is None or size.parameters > SMALL_MODEL_PARAMETERS:
        return torch.bfloat16
    needed = size.parameters * _FLOAT32_BYTES * MEMORY_MARGIN
    return torch.float32 if needed <= free_memory(device) else torch.bfloat16


def _check_memory(weights: int, device: torch.device, dtype: torch.dtype, name: str) -> None:
    needed = weights * MEMORY_MARGIN
    free = free_memory(device)
    if needed <= free:
        return
    smaller = 'precision="bfloat16", ' if dtype.itemsize > _HALF_BYTES else ""
    raise LoadError(
        f"{name!r} needs {needed / _GIB:.1f} GiB on {str(device)!r} in "
        f"{str(dtype).removeprefix('torch.')}, and {free / _GIB:.1f} GiB are free.",
        hint=(
            f'Free memory, pass {smaller}quantization_config=... or device_map="auto" (spreads '
            "the layers over GPUs and memory), or take a smaller model."
        ),
        model_name=name,
    )


def free_memory(device: torch.device) -> int:
    """Bytes that can still be taken on a device; for a CPU within the container's limit."""
    import torch  # noqa: PLC0415 - part of the extra `local`

    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    import psutil  # type: ignore[import-untyped]  # noqa: PLC0415 - comes with accelerate

    free = int(psutil.virtual_memory().available)
    limit = _cgroup_free()
    return free if limit is None else min(free, limit)


def _cgroup_free() -> int | None:
    """What a Linux control group (version 2) leaves, its reclaimable page cache counted as free."""
    try:
        limit = (_CGROUP / "memory.max").read_text().strip()
        if limit == "max":
            return None
        used = int((_CGROUP / "memory.current").read_text())
        lines = [line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines()]
    except (OSError, ValueError):
        return None
    cache = next((int(value) for name, value in lines if name == "inactive_file"), 0)
    return int(limit) - used + cache
