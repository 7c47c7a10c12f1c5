"""Mixtral 8x7B and 8x22B Instruct: `[INST] … [/INST]`, no system role."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from gemma_structured.exceptions import InputError
from gemma_structured.families.base import Family
from gemma_structured.families.json_calls import JsonCalls, JsonReader
from gemma_structured.messages import ToolCall

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gemma_structured.families.call_format import CallFormat
    from gemma_structured.tools import Tool

__all__ = ["Mixtral", "MixtralCalls"]

_ID_LENGTH = 9


class MixtralCalls(JsonCalls):
    """`[TOOL_CALLS][{"name": …, "arguments": {…}, "id": "…"}]`."""

    file: ClassVar[str] = "mixtral.lark"
    opener: ClassVar[str] = "[TOOL_CALLS]"
    tokens: ClassVar[tuple[str, ...]] = ("[TOOL_CALLS]", "[AVAILABLE_TOOLS]", "[TOOL_RESULTS]")
    before: ClassVar[str] = '", "arguments": '
    after: ClassVar[str] = ', "id": "'

    def parse_calls(self, text: str, tools: Sequence[Tool[..., Any]]) -> tuple[list[ToolCall], str]:
        """Read the array of calls."""
        del tools
        reader = JsonReader(text)
        reader.take(" ")
        reader.expect("[")
        calls: list[ToolCall] = []
        while not calls or reader.take(", "):
            reader.expect('{"name": "')
            name = reader.until('"')
            reader.expect(self.before[1:])
            arguments = reader.arguments()
            reader.expect(self.after)
            calls.append(ToolCall(name, arguments, id=reader.until('"')))
            reader.expect("}")
        reader.expect("]")
        return calls, reader.rest

    def write(self, calls: Sequence[ToolCall], tools: Sequence[Tool[..., Any]]) -> str:
        """The calls as one array."""
        if any(len(call.id) != _ID_LENGTH or not call.id.isalnum() for call in calls):
            raise InputError("The ids of Mixtral's calls are nine letters and digits.")
        written = [
            f'{{"name": "{call.name}{self.before}{self.write_arguments(call, tools)}'
            f'{self.after}{call.id}"}}'
            for call in calls
        ]
        return f"{self.opener}[{', '.join(written)}]"


class Mixtral(Family):
    """Mixtral Instruct (https://huggingface.co/mistralai/Mixtral-8x22B-Instruct-v0.1).

    8x22B was trained on tool calls and has tokens for them; 8x7B is told of tools in the prompt.
    """

    name: ClassVar[str] = "mixtral"
    model_types: ClassVar[frozenset[str]] = frozenset({"mixtral"})
    has_system_role: ClassVar[bool] = False
    call_formats: ClassVar[tuple[CallFormat, ...]] = (MixtralCalls(),)
