"""What goes wrong inside a library, told as an error of this package."""

from __future__ import annotations

import torch

from gemma_structured.exceptions import GemmaStructuredError, ModelError

__all__ = ["explain"]


def explain(error: BaseException) -> GemmaStructuredError:
    """The package's own error for whatever was raised while a sequence was decoded."""
    if isinstance(error, GemmaStructuredError):
        return error
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "alloc" in str(error):
        explained = ModelError(
            "The machine ran out of memory during a forward.",
            hint="Lower `max_batch_size` or `max_tokens`, or shorten the prompt.",
        )
    else:
        explained = ModelError(f"Decoding failed: {type(error).__name__}: {error}")
    explained.__cause__ = error
    return explained
