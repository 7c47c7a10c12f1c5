"""MiniMax M2: its template opens a thought, which is closed where none is wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from gemma_structured.families.base import Family

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gemma_structured.families.base import ChatTokenizer

__all__ = ["MiniMaxM2"]

_OPEN_THOUGHT = "<think>\n"


class MiniMaxM2(Family):
    """MiniMax M2 (https://huggingface.co/MiniMaxAI/MiniMax-M2)."""

    name: ClassVar[str] = "minimax_m2"
    model_types: ClassVar[frozenset[str]] = frozenset({"minimax_m2"})

    def layout(self, messages: Sequence[Mapping[str, str]], tokenizer: ChatTokenizer) -> str:
        """Messages to the prompt's text, the thought that the template opens closed again."""
        text = super().layout(messages, tokenizer)
        return f"{text}\n</think>\n\n" if text.endswith(_OPEN_THOUGHT) else text
