"""MiniMax M2: its template opens a thought, which is closed where none is wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from gemma_structured.families.base import Family
from gemma_structured.families.invoke_calls import InvokeCalls
from gemma_structured.families.turn import ThoughtMarks

if TYPE_CHECKING:
    from gemma_structured.families.call_format import CallFormat

__all__ = ["MiniMaxM2", "MiniMaxM2Calls"]

_OPEN_THOUGHT = "<think>\n"


class MiniMaxM2Calls(InvokeCalls):
    """`<minimax:tool_call>`, an `<invoke>` for each call, `</minimax:tool_call>`."""

    file: ClassVar[str] = "minimax_m2.lark"
    opener: ClassVar[str] = "<minimax:tool_call>"
    close: ClassVar[str] = "</minimax:tool_call>"
    tokens: ClassVar[tuple[str, ...]] = (opener, close)


class MiniMaxM2(Family):
    """MiniMax M2 (https://huggingface.co/MiniMaxAI/MiniMax-M2)."""

    name: ClassVar[str] = "minimax_m2"
    model_types: ClassVar[frozenset[str]] = frozenset({"minimax_m2"})
    call_formats: ClassVar[tuple[CallFormat, ...]] = (MiniMaxM2Calls(),)
    thought: ClassVar[ThoughtMarks | None] = ThoughtMarks(open="", close="</think>", tail="\n\n")

    def finish_prompt(self, text: str, *, thinking: bool) -> str:
        """Close the thought that the template opens, unless there is to be one."""
        if thinking or not text.endswith(_OPEN_THOUGHT):
            return text
        return f"{text}\n</think>\n\n"
