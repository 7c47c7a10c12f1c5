"""Messages as chat templates take them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gemma_structured.messages import (
    AssistantMessage,
    SystemMessage,
    ToolMessage,
    UserMessage,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gemma_structured.families.call_format import CallFormat
    from gemma_structured.families.slots import Slots
    from gemma_structured.messages import Message, ToolCall, ToolReturn
    from gemma_structured.types import JsonValue

__all__ = ["MessageWriter", "without_calls"]


@dataclass(frozen=True, slots=True)
class MessageWriter:
    """Writes messages with placeholders for their texts.

    Attributes:
        slots: Where the texts go.
        arguments_as_text: Write the arguments of past calls as JSON text, not as a mapping.
        structured_returns: Write what tools returned as values, not as JSON text.
    """

    slots: Slots
    arguments_as_text: bool = False
    structured_returns: bool = False

    def write(self, message: Message) -> list[dict[str, JsonValue]]:
        """A message as one or more of `role`, `content` and what belongs to the role."""
        match message:
            case SystemMessage(text=text):
                return [{"role": "system", "content": self.slots.put(text)}]
            case UserMessage(texts=texts):
                return [{"role": "user", "content": "\n\n".join(map(self.slots.put, texts))}]
            case AssistantMessage(text=text, tool_calls=calls):
                written: dict[str, JsonValue] = {
                    "role": "assistant",
                    "content": self.slots.put(text) if text else "",
                }
                if calls:
                    written["tool_calls"] = [self._call(call) for call in calls]
                return [written]
            case ToolMessage(returns=returns):
                return [self._return(each) for each in returns]

    def _call(self, call: ToolCall) -> JsonValue:
        arguments: JsonValue = dict(call.written)
        if self.arguments_as_text:
            arguments = self.slots.put(as_text(arguments))
        else:
            arguments = self.slots.put_value(arguments)
        name = self.slots.put_name(call.name)
        return {
            "id": call.id,
            "type": "function",
            "function": {"name": name, "arguments": arguments},
        }

    def _return(self, returned: ToolReturn) -> dict[str, JsonValue]:
        content = (
            self.slots.put_value(returned.value)
            if self.structured_returns
            else self.slots.put(as_text(returned.value))
        )
        return {
            "role": "tool",
            "name": self.slots.put_name(returned.name),
            "tool_call_id": returned.call_id,
            "content": content,
        }


def as_text(value: JsonValue) -> str:
    """A value as a tool's text: a string as it is, all else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def without_calls(messages: Sequence[Message], form: CallFormat) -> list[Message]:
    """Calls and returns as text of the assistant and of the user, for templates without them."""
    written: list[Message] = []
    for message in messages:
        if isinstance(message, AssistantMessage) and message.tool_calls:
            calls = form.write(message.tool_calls, ())
            message = AssistantMessage(f"{message.text}\n{calls}" if message.text else calls)  # noqa: PLW2901
        elif isinstance(message, ToolMessage):
            returns = [
                f"<tool_response>\n{as_text({'name': r.name, 'value': r.value})}\n</tool_response>"
                for r in message.returns
            ]
            message = UserMessage("\n".join(returns))  # noqa: PLW2901
        previous = written[-1] if written else None
        if isinstance(message, UserMessage) and isinstance(previous, UserMessage):
            written[-1] = UserMessage(*previous.parts, *message.parts)
        else:
            written.append(message)
    return written
