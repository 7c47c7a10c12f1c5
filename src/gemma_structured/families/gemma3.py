"""Gemma 3: the system's text goes before the first user's, which its template does itself."""

from __future__ import annotations

from typing import ClassVar

from gemma_structured.families.base import Family

__all__ = ["Gemma3"]


class Gemma3(Family):
    """Gemma 3 (https://ai.google.dev/gemma/docs/core/prompt-structure)."""

    name: ClassVar[str] = "gemma3"
    model_types: ClassVar[frozenset[str]] = frozenset({"gemma3", "gemma3_text"})
