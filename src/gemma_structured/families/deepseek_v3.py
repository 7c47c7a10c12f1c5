"""DeepSeek V3 and V3-0324: `<｜User｜>…<｜Assistant｜>` after the system's text."""  # noqa: RUF002

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from gemma_structured.families.base import Family
from gemma_structured.families.json_calls import JsonCalls, JsonReader
from gemma_structured.messages import ToolCall

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gemma_structured.families.call_format import CallFormat
    from gemma_structured.tools import Tool

__all__ = ["DeepseekV3", "DeepseekV3Calls"]

_BEGIN, _SEP, _END = "<｜tool▁call▁begin｜>", "<｜tool▁sep｜>", "<｜tool▁call▁end｜>"  # noqa: RUF001
_ALL_END = "<｜tool▁calls▁end｜>"  # noqa: RUF001


class DeepseekV3Calls(JsonCalls):
    """One block of calls, each `function`, its name, and its arguments in a fence of JSON."""

    file: ClassVar[str] = "deepseek_v3.lark"
    opener: ClassVar[str] = "<｜tool▁calls▁begin｜>"  # noqa: RUF001
    tokens: ClassVar[tuple[str, ...]] = (opener, _BEGIN, _SEP, _END, _ALL_END)
    before: ClassVar[str] = "\n```json\n"
    after: ClassVar[str] = "\n```"

    def parse_calls(self, text: str, tools: Sequence[Tool[..., Any]]) -> tuple[list[ToolCall], str]:
        """Read the block of calls."""
        del tools
        reader = JsonReader(text)
        calls: list[ToolCall] = []
        while not calls or reader.take("\n"):
            reader.expect(f"{_BEGIN}function{_SEP}")
            name = reader.until(self.before)
            arguments = reader.arguments()
            reader.expect(f"{self.after}{_END}")
            calls.append(ToolCall(name, arguments))
        reader.expect(_ALL_END)
        return calls, reader.rest

    def write(self, calls: Sequence[ToolCall], tools: Sequence[Tool[..., Any]]) -> str:
        """The calls as one block."""
        written = [
            f"{_BEGIN}function{_SEP}{call.name}{self.before}{self.write_arguments(call, tools)}"
            f"{self.after}{_END}"
            for call in calls
        ]
        return f"{self.opener}{chr(10).join(written)}{_ALL_END}"


class DeepseekV3(Family):
    """DeepSeek V3 (https://huggingface.co/deepseek-ai/DeepSeek-V3-0324)."""

    name: ClassVar[str] = "deepseek_v3"
    model_types: ClassVar[frozenset[str]] = frozenset({"deepseek_v3"})
    call_formats: ClassVar[tuple[CallFormat, ...]] = (DeepseekV3Calls(),)
    arguments_as_text: ClassVar[bool] = True
