"""Base models: no chat template, so a prompt is a text that the model goes on with."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from gemma_structured.families.base import Family

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gemma_structured.families.base import ChatTokenizer
    from gemma_structured.types import JsonValue

__all__ = ["Completion"]


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
