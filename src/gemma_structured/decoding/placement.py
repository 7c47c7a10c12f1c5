"""Where a model runs, in which type, and whether it fits there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gemma_structured.exceptions import LoadError

if TYPE_CHECKING:
    import torch

    from gemma_structured.decoding.checkpoint import WeightsSize
    from gemma_structured.decoding.load_options import LoadOptions

__all__ = ["check_memory", "choose_device", "choose_dtype", "free_memory"]

SMALL_MODEL_PARAMETERS = 1_500_000_000
"""Up to this size a model on a CPU runs in float32, the type in which its logits are exact."""

MEMORY_MARGIN = 1.1
"""What loading takes beside the weights themselves: one layer twice, buffers, the interpreter."""

_GIB = 1 << 30
_CGROUP = Path("/sys/fs/cgroup")


def choose_device(options: LoadOptions, name: str) -> torch.device:
    """The device that the options ask for, or the best one that there is.

    Raises:
        LoadError: PyTorch knows no such device, or cannot reach it.
    """
    import torch  # noqa: PLC0415 - part of the extra `local`

    if options.device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(options.device)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        msg = f"The device {options.device!r} cannot be used here: {str(error).splitlines()[0]}"
        hint = 'Leave device="auto", or install the build of PyTorch that supports it.'
        raise LoadError(msg, hint=hint, model_name=name) from error
    return device


def choose_dtype(
    options: LoadOptions, device: torch.device, size: WeightsSize | None
) -> torch.dtype:
    """The type that the options ask for, or the one that suits the device.

    A GPU computes in bfloat16 (float16 would overflow in Gemma's layers). On a CPU a small model is
    loaded in float32, where every way of batching gives the same logits; a larger one in bfloat16,
    which halves its memory and its time.
    """
    import torch  # noqa: PLC0415 - part of the extra `local`

    if options.dtype != "auto":
        dtype: torch.dtype = getattr(torch, options.dtype)
        return dtype
    if device.type != "cpu":
        return torch.bfloat16
    if size is None or size.parameters > SMALL_MODEL_PARAMETERS:
        return torch.bfloat16
    in_float32 = size.in_memory(4) * MEMORY_MARGIN
    return torch.float32 if in_float32 < free_memory(device) else torch.bfloat16


def check_memory(
    size: WeightsSize, device: torch.device, dtype: torch.dtype, *, quantized: bool, name: str
) -> None:
    """Refuse a model that does not fit, before minutes are spent on reading it.

    Raises:
        LoadError: With what it needs and what is free.
    """
    weights = size.bytes_on_disk if quantized else size.in_memory(dtype.itemsize)
    needed = weights * MEMORY_MARGIN
    free = free_memory(device)
    if needed <= free:
        return
    smaller = 'dtype="bfloat16", ' if dtype.itemsize > 2 else ""  # noqa: PLR2004 - bytes of bfloat16
    raise LoadError(
        f"{name!r} needs {needed / _GIB:.1f} GiB on {str(device)!r} in {_dtype_name(dtype)}, "
        f"and {free / _GIB:.1f} GiB are free.",
        hint=(
            f'Free memory, pass {smaller}quantization_config=... or device_map="auto" (spreads '
            "the layers over GPUs and memory), or take a smaller model."
        ),
        model_name=name,
    )


def _dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


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
        lines = (_CGROUP / "memory.stat").read_text().splitlines()
        cache = next(
            (int(line.split()[1]) for line in lines if line.startswith("inactive_file ")), 0
        )
        return int(limit) - used + cache
    except (OSError, ValueError):
        return None
