"""Gemma 4: turns between `<|turn>` and `<turn|>`, an optional thought in a channel."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from gemma_structured.families.bare_calls import BareCalls
from gemma_structured.families.base import Family
from gemma_structured.families.turn import ThoughtMarks

if TYPE_CHECKING:
    from gemma_structured.families.call_format import CallFormat

__all__ = ["Gemma4", "Gemma4Calls"]


class Gemma4Calls(BareCalls):
    """`<|tool_call>call:NAME{k:<|"|>text<|"|>,n:3}<tool_call|>`."""

    file: ClassVar[str] = "gemma4.lark"
    opener: ClassVar[str] = "<|tool_call>"
    end: ClassVar[str] = "<tool_call|>"
    quote: ClassVar[str] = '<|"|>'
    tokens: ClassVar[tuple[str, ...]] = (opener, end, quote)


class Gemma4(Family):
    """Gemma 4 (https://ai.google.dev/gemma/docs/core/prompt-formatting-gemma4).

    Without thinking the template itself closes an empty thought, so that the answer begins at the
    first token.
    """

    name: ClassVar[str] = "gemma4"
    model_types: ClassVar[frozenset[str]] = frozenset({"gemma4", "gemma4_text"})
    call_formats: ClassVar[tuple[CallFormat, ...]] = (Gemma4Calls(),)
    thought: ClassVar[ThoughtMarks | None] = ThoughtMarks(
        open="<|channel>", head="thought\n", close="<channel|>"
    )
    structured_returns: ClassVar[bool] = True
    thinking_variable: ClassVar[str | None] = "enable_thinking"
