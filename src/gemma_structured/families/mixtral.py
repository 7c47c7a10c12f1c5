"""Mixtral 8x7B and 8x22B Instruct: `[INST] … [/INST]`, no system role."""

from __future__ import annotations

from typing import ClassVar

from gemma_structured.families.base import Family

__all__ = ["Mixtral"]


class Mixtral(Family):
    """Mixtral Instruct (https://huggingface.co/mistralai/Mixtral-8x7B-Instruct-v0.1)."""

    name: ClassVar[str] = "mixtral"
    model_types: ClassVar[frozenset[str]] = frozenset({"mixtral"})
    has_system_role: ClassVar[bool] = False
