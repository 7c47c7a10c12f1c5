"""Arcee Trinity Mini: ChatML turns, an optional `<think>` before the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from gemma_structured.families.base import Family
from gemma_structured.families.prompted import TaggedCalls
from gemma_structured.families.turn import ThoughtMarks

if TYPE_CHECKING:
    from gemma_structured.families.call_format import CallFormat

__all__ = ["Afmoe", "AfmoeCalls"]


class AfmoeCalls(TaggedCalls):
    r"""`<tool_call>\n{"name": …, "arguments": {…}}\n</tool_call>`."""

    file: ClassVar[str] = "afmoe.lark"
    before: ClassVar[str] = '", "arguments": '
    tokens: ClassVar[tuple[str, ...]] = ("<tool_call>", "</tool_call>")


class Afmoe(Family):
    """Trinity (https://huggingface.co/arcee-ai/Trinity-Mini)."""

    name: ClassVar[str] = "afmoe"
    model_types: ClassVar[frozenset[str]] = frozenset({"afmoe"})
    call_formats: ClassVar[tuple[CallFormat, ...]] = (AfmoeCalls(),)
    thought: ClassVar[ThoughtMarks | None] = ThoughtMarks(
        open="<think>", close="</think>", tail="\n"
    )
