"""Letting hooks see every text and image of a conversation before it is sent."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gemma_structured.exceptions import InputError
from gemma_structured.messages import AssistantMessage, SystemMessage, ToolMessage, UserMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gemma_structured.images import Image
    from gemma_structured.messages import Message
    from gemma_structured.types import JsonValue

__all__ = ["redacted"]


def redacted(
    message: Message,
    hook: Callable[[str], str] | None,
    image_hook: Callable[[Image], Image] | None = None,
) -> Message:
    """A message with each text in it, and in its tools' calls and returns, as the hook wants it.

    Raises:
        InputError: There is an image, and only a hook for texts.
    """
    if isinstance(message, UserMessage):
        return UserMessage(*(_redacted_part(part, hook, image_hook) for part in message.parts))
    if hook is None:
        return message
    match message:
        case SystemMessage(text=text):
            return SystemMessage(hook(text))
        case AssistantMessage(text=text, tool_calls=calls):
            seen = [replace(call, written=_redacted_members(call.written, hook)) for call in calls]
            return replace(message, text=hook(text), tool_calls=tuple(seen))
        case ToolMessage(returns=returns):
            return ToolMessage(
                *(replace(one, value=_redacted_value(one.value, hook)) for one in returns)
            )


def _redacted_part(
    part: str | Image,
    hook: Callable[[str], str] | None,
    image_hook: Callable[[Image], Image] | None,
) -> str | Image:
    if isinstance(part, str):
        return part if hook is None else hook(part)
    if image_hook is not None:
        return image_hook(part)
    if hook is None:
        return part
    raise InputError(
        "There is an image, and the redaction hook sees texts only.",
        hint="Give `redact_image=` too; `lambda image: image` sends them as they are.",
    )


def _redacted_members(
    members: Mapping[str, JsonValue], hook: Callable[[str], str]
) -> dict[str, JsonValue]:
    return {key: _redacted_value(value, hook) for key, value in members.items()}


def _redacted_value(value: JsonValue, hook: Callable[[str], str]) -> JsonValue:
    """The same value, with each text in it as the hook gives it back."""
    match value:
        case str():
            return hook(value)
        case list():
            return [_redacted_value(item, hook) for item in value]
        case dict():
            return _redacted_members(value, hook)
        case _:
            return value
