"""What a local model's caches hold, and the most that they may: plain values, without PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gemma_structured.grammar.compiler import CompilerStats

if TYPE_CHECKING:
    from gemma_structured.decoding.runtime_options import RuntimeOptions

__all__ = ["CacheUsage", "MemoryUsage"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryUsage:
    """What one cache holds.

    Attributes:
        entries: How many rows or prefixes.
        nbytes: Memory that they take.
        max_bytes: The limit that was set for it.
    """

    entries: int
    nbytes: int
    max_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheUsage:
    """What a local model's caches hold at one moment, each number as it was when it was read.

    Attributes:
        kv_cache: The KV caches of the rows that are being decoded. Only one row alone may pass the
            limit.
        prefix_cache: The KV caches of prompts' fixed parts and of conversations' earlier turns.
        grammar_cache: The compiled grammars: how many there are and may be, and how many calls
            found theirs.
    """

    kv_cache: MemoryUsage
    prefix_cache: MemoryUsage
    grammar_cache: CompilerStats

    @classmethod
    def of_nothing(cls, options: RuntimeOptions) -> CacheUsage:
        """Empty caches with the limits of these options, as before a model is loaded."""
        return cls(
            kv_cache=MemoryUsage(entries=0, nbytes=0, max_bytes=options.kv_cache_bytes),
            prefix_cache=MemoryUsage(entries=0, nbytes=0, max_bytes=options.prefix_cache_bytes),
            grammar_cache=CompilerStats(
                hits=0,
                misses=0,
                errors=0,
                evictions=0,
                size=0,
                max_size=options.grammar_cache_size,
            ),
        )
