"""What a user may choose about how a model is run: plain values, read without PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from gemma_structured.exceptions import InputError

if TYPE_CHECKING:
    from gemma_structured.grammar.backend import GrammarBackend
    from gemma_structured.grammar.compiler import BackendName

__all__ = ["RuntimeOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeOptions:
    """How a loaded model is run.

    Attributes:
        grammar_backend: What computes the masks.
        max_batch_size: The most requests that are decoded together.
        max_waiting: The most requests that wait beyond that; `None` for no limit.
        kv_cache_bytes: The most memory that the KV caches of running requests may take together.
            One request alone is always let in.
        prefix_cache_bytes: The most memory for the KV caches of prompts' fixed parts, and of the
            earlier turns of conversations; 0 keeps none.
        grammar_cache_size: The most compiled grammars that are kept.
        drafts: Whether to guess the next tokens from the document and the answer so far, and verify
            them in one forward: `"auto"` does where that pays, which is not with a mixture of
            experts on a CPU (its cost follows the number of experts that are hit). The outputs are
            the same.
        prefill_chunk: The most prompt tokens that one forward reads.
        compile: Whether the layers are compiled by `torch.compile`, at the first forwards.
        selection: How tokens are chosen: `"rows"` one row after another on the CPU, `"batch"` all
            rows at once on the device of the logits; `"auto"` by device. The outputs are the same.
    """

    grammar_backend: BackendName | GrammarBackend = "llguidance"
    max_batch_size: int = 8
    max_waiting: int | None = None
    kv_cache_bytes: int = 4 * 2**30
    prefix_cache_bytes: int = 2**30
    grammar_cache_size: int = 256
    drafts: Literal["auto", "on", "off"] = "auto"
    prefill_chunk: int = 512
    compile: bool = False
    selection: Literal["auto", "rows", "batch"] = "auto"

    def __post_init__(self) -> None:
        """Refuse what could not run."""
        if self.drafts not in {"auto", "on", "off"}:
            raise InputError(f'drafts must be "auto", "on" or "off", not {self.drafts!r}.')
        if self.selection not in {"auto", "rows", "batch"}:
            raise InputError(
                f'selection must be "auto", "rows" or "batch", not {self.selection!r}.'
            )
        for name in ("max_batch_size", "prefill_chunk", "grammar_cache_size"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, not {getattr(self, name)}.")
        for name in ("max_waiting", "kv_cache_bytes", "prefix_cache_bytes"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise InputError(f"{name} must be at least 0, not {value}.")
