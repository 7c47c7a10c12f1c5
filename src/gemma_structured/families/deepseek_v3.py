"""DeepSeek V3 and V3-0324: `<｜User｜>…<｜Assistant｜>` after the system's text."""  # noqa: RUF002

from __future__ import annotations

from typing import ClassVar

from gemma_structured.families.base import Family

__all__ = ["DeepseekV3"]


class DeepseekV3(Family):
    """DeepSeek V3 (https://huggingface.co/deepseek-ai/DeepSeek-V3-0324)."""

    name: ClassVar[str] = "deepseek_v3"
    model_types: ClassVar[frozenset[str]] = frozenset({"deepseek_v3"})
