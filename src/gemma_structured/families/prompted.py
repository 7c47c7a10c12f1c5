"""Calls as JSON between two tags in plain text, for families without a form of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from gemma_structured.families.json_calls import JsonCalls, JsonReader
from gemma_structured.messages import ToolCall
from gemma_structured.prompting.schema_prompt import describe_schema

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gemma_structured.families.lark_rules import JsonStyle
    from gemma_structured.tools import Tool, ToolOffer

__all__ = ["PromptedCalls", "TaggedCalls", "describe_tools"]


class TaggedCalls(JsonCalls):
    """`<tool_call>`, a line with the call's name and arguments, `</tool_call>`."""

    file: ClassVar[str]
    opener: ClassVar[str] = "<tool_call>"
    end: ClassVar[str] = "</tool_call>"
    after: ClassVar[str] = "}"

    def parse_calls(self, text: str, tools: Sequence[Tool[..., Any]]) -> tuple[list[ToolCall], str]:
        """Read calls until something else than a call follows."""
        del tools
        reader = JsonReader(text)
        calls: list[ToolCall] = []
        while not calls or reader.take(f"\n{self.opener}"):
            reader.expect(f'\n{{"name":{self.style[1][1:]}"')
            name = reader.until('"')
            reader.expect(self.before[1:])
            arguments = reader.arguments()
            reader.expect(f"{self.after}\n{self.end}")
            calls.append(ToolCall(name, arguments))
        return calls, reader.rest

    def write(self, calls: Sequence[ToolCall], tools: Sequence[Tool[..., Any]]) -> str:
        """The calls, each on lines of its own."""
        return "\n".join(
            f'{self.opener}\n{{"name":{self.style[1][1:]}"{call.name}{self.before}'
            f"{self.write_arguments(call, tools)}{self.after}\n{self.end}"
            for call in calls
        )


class PromptedCalls(TaggedCalls):
    """The same in compact JSON and in plain text, as `describe_tools` asks for it."""

    file: ClassVar[str] = "prompted.lark"
    style: ClassVar[JsonStyle] = (",", ":")
    before: ClassVar[str] = '","arguments":'
    example: ClassVar[str] = '<tool_call>\n{"name":"…","arguments":{…}}\n</tool_call>'


def describe_tools(offer: ToolOffer, example: str | None = None) -> str:
    """What a model is told of its tools where no chat template does.

    Args:
        offer: The tools, and whether one must be called.
        example: How a call is written, if the model has to be told.
    """
    parts = ["You can call these tools:"]
    for tool in offer.callable_tools:
        about = f": {tool.description}" if tool.description else ""
        parts.append(f"{tool.name}{about}\n{describe_schema(tool.parameters)}")
    if example is None:
        return "\n\n".join(parts)
    how = "Call at least one of them, written so:" if offer.must_call else "A call is written so:"
    parts.append(f"{how}\n{example}")
    return "\n\n".join(parts)
