"""Base models: no chat template, so a prompt is a text that the model goes on with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from gemma_structured.families.base import Family
from gemma_structured.families.prompted import PromptedCalls

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gemma_structured.families.base import ChatTokenizer
    from gemma_structured.families.call_format import CallFormat
    from gemma_structured.messages import ToolCall
    from gemma_structured.tools import Tool, ToolOffer
    from gemma_structured.types import JsonValue

__all__ = ["Completion", "CompletionCalls"]


class CompletionCalls(PromptedCalls):
    """Prompted calls that a blank line may end, as it ends each answer in the prompt.

    A base model hardly ever writes its end token: if there were only that to end with, it would
    make all the calls that it may.
    """

    file: ClassVar[str] = "completion.lark"

    def ending(self, offer: ToolOffer) -> str:
        """A blank line, unless their number says where the calls end."""
        least, most = offer.parallel
        return "close?" if least < most else ""

    def parse_calls(self, text: str, tools: Sequence[Tool[..., Any]]) -> tuple[list[ToolCall], str]:
        """Read calls, and the blank line after them."""
        calls, after = super().parse_calls(text, tools)
        return calls, after.removeprefix("\n\n")


class Completion(Family):
    """A model that continues text: few-shot examples show it what to do.

    ```
    Extract the invoice.

    Input:
    …
    Output:
    {"total":12}

    Input:
    …
    Output:
    ```
    """

    name: ClassVar[str] = "completion"
    call_formats: ClassVar[tuple[CallFormat, ...]] = (CompletionCalls(),)

    def layout(
        self,
        messages: Sequence[Mapping[str, JsonValue]],
        tokenizer: ChatTokenizer,
        *,
        tools: Sequence[Mapping[str, JsonValue]] = (),
        thinking: bool = False,
    ) -> str:
        """Write the conversation as a text that ends where the answer begins."""
        del tools, thinking
        labels = {"user": "Input:\n{}\nOutput:\n", "assistant": "{}\n\n", "system": "{}\n\n"}
        written = [labels[str(message["role"])].format(message["content"]) for message in messages]
        return tokenizer.bos_token + "".join(written)
