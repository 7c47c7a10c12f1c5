"""Moving small tensors to a device without waiting for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["to_device"]


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a CPU tensor to where it is needed.

    From pageable memory CUDA copies only once it has done all that it was told before; from pinned
    memory the copy takes its place in the queue.
    """
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
