"""How far rewriting goes before it relaxes instead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["DEFAULT_LIMITS", "Limits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on the size of what rewriting makes. Past a bound a keyword becomes residual.

    Attributes:
        alternatives: How many alternatives one subschema may become by combining choices.
        vertices: How many subschemas there may be in all.
        size: How many keywords the rewritten schema may have.
    """

    alternatives: int = 64
    vertices: int = 20_000
    size: int = 60_000


DEFAULT_LIMITS: Final = Limits()
"""What is used without a word from the caller."""
