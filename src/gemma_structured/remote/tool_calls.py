"""Tool calls on the wire, whole or in pieces: https://openrouter.ai/docs/features/tool-calling."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gemma_structured.messages import ToolCall, ToolReturn
    from gemma_structured.tools import ToolOffer
    from gemma_structured.types import JsonValue

__all__ = ["ToolCallReader", "WrittenCall", "encode_call", "encode_offer", "encode_return"]


@dataclass(slots=True)
class WrittenCall:
    """A call as the model wrote it: nothing of it is checked.

    Attributes:
        id: Ties the return to the call.
        name: The tool's name.
        arguments: The arguments' text, which should be a JSON object.
    """

    id: str = ""
    name: str = ""
    arguments: str = field(default="", repr=False)


@dataclass(slots=True)
class ToolCallReader:
    """Puts the calls of one answer together.

    Attributes:
        calls: By the number that the server gives them.
    """

    calls: dict[int, WrittenCall] = field(default_factory=dict[int, WrittenCall])

    def read(self, message: Mapping[str, JsonValue]) -> str:
        """Take the calls in a message or a piece of one.

        Returns:
            What this adds to the text of the arguments; a second call's begin on a new line.
        """
        pieces = message.get("tool_calls")
        written = [
            self._read_one(piece, position)
            for position, piece in enumerate(pieces if isinstance(pieces, list) else [])
            if isinstance(piece, dict)
        ]
        return "".join(written)

    def _read_one(self, piece: Mapping[str, JsonValue], position: int) -> str:
        index = piece.get("index")
        number = index if isinstance(index, int) else position
        others = any(call.arguments for other, call in self.calls.items() if other != number)
        call = self.calls.setdefault(number, WrittenCall())
        call.id = call.id or _text(piece.get("id"))
        function = piece.get("function")
        if not isinstance(function, dict):
            return ""
        call.name = call.name or _text(function.get("name"))
        arguments = function.get("arguments")
        if isinstance(arguments, dict):
            arguments = _dump(arguments)
        if not isinstance(arguments, str) or not arguments:
            return ""
        begins = others and not call.arguments
        call.arguments += arguments
        return f"\n{arguments}" if begins else arguments


def encode_offer(offer: ToolOffer) -> dict[str, JsonValue]:
    """The members of a request that say what may be called."""
    tools: list[JsonValue] = [
        {
            "type": "function",
            "function": {
                "name": tool.name,
                "description": tool.description,
                "parameters": tool.parameters.value,
            },
        }
        for tool in offer.tools
    ]
    if not tools:
        return {}
    choice: JsonValue = offer.choice
    if offer.choice not in {"auto", "required", "none"}:
        choice = {"type": "function", "function": {"name": offer.choice}}
    members: dict[str, JsonValue] = {"tools": tools, "tool_choice": choice}
    if offer.parallel[1] == 1:  # otherwise it is the default, and not every provider knows the name
        members["parallel_tool_calls"] = False
    return members


def encode_call(call: ToolCall) -> dict[str, JsonValue]:
    """A call in an assistant's message."""
    function: dict[str, JsonValue] = {"name": call.name, "arguments": _dump(dict(call.written))}
    return {"id": call.id, "type": "function", "function": function}


def encode_return(returned: ToolReturn) -> dict[str, JsonValue]:
    """What a call came to, as a message."""
    value = returned.value
    content = value if isinstance(value, str) else _dump(value)
    return {"role": "tool", "tool_call_id": returned.call_id, "content": content}


def _dump(value: JsonValue) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _text(value: JsonValue) -> str:
    return value if isinstance(value, str) else ""
