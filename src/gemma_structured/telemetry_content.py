"""Prompts and answers in the terms of OpenTelemetry's GenAI conventions, as JSON text.

https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from gemma_structured.messages import AssistantMessage, SystemMessage, ToolMessage, UserMessage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gemma_structured.images import Image
    from gemma_structured.messages import Message, ToolCall
    from gemma_structured.types import JsonValue, ModelResponse

__all__ = ["input_messages", "output_messages"]


def input_messages(messages: Sequence[Message]) -> str:
    """A prompt: `gen_ai.input.messages`."""
    return _json([_message(message) for message in messages])


def output_messages(response: ModelResponse) -> str:
    """An answer: `gen_ai.output.messages`."""
    said = AssistantMessage(response.text, response.thinking, response.tool_calls)
    reason = "tool_call" if response.finish_reason == "tool_calls" else response.finish_reason
    return _json([{**_message(said), "finish_reason": reason}])


def _message(message: Message) -> dict[str, JsonValue]:
    match message:
        case SystemMessage(text=text):
            return {"role": "system", "parts": [_text(text)]}
        case UserMessage(parts=said):
            return {"role": "user", "parts": [_part(part) for part in said]}
        case AssistantMessage(text=text, thinking=thinking, tool_calls=calls):
            parts: list[JsonValue] = []
            if thinking:
                parts.append({"type": "reasoning", "content": thinking})
            if text or not calls:
                parts.append(_text(text))
            return {"role": "assistant", "parts": [*parts, *map(_call, calls)]}
        case ToolMessage(returns=returns):
            answers: list[JsonValue] = [
                {"type": "tool_call_response", "id": each.call_id, "response": each.value}
                for each in returns
            ]
            return {"role": "tool", "parts": answers}


def _text(text: str) -> JsonValue:
    return {"type": "text", "content": text}


def _part(part: str | Image) -> JsonValue:
    """A text; of an image only where it comes from."""
    if isinstance(part, str):
        return _text(part)
    return {"type": "image", "modality": "image", "source": part.kind}


def _call(call: ToolCall) -> JsonValue:
    written: JsonValue = dict(call.written)
    return {"type": "tool_call", "id": call.id, "name": call.name, "arguments": written}


def _json(value: list[dict[str, JsonValue]]) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text.encode("utf-8", "replace").decode()
