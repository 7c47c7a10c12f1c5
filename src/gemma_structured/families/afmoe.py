"""Arcee Trinity Mini: ChatML turns, an optional `<think>` before the answer."""

from __future__ import annotations

from typing import ClassVar

from gemma_structured.families.base import Family

__all__ = ["Afmoe"]


class Afmoe(Family):
    """Trinity (https://huggingface.co/arcee-ai/Trinity-Mini)."""

    name: ClassVar[str] = "afmoe"
    model_types: ClassVar[frozenset[str]] = frozenset({"afmoe"})
