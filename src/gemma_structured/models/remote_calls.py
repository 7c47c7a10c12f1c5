"""The calls in a remote model's answer: the server's, or those that it left in the text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import jiter

from gemma_structured.exceptions import OutputValidationError
from gemma_structured.families.registry import FAMILIES
from gemma_structured.messages import ToolCall, new_call_id
from gemma_structured.parsing.repair import extract_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gemma_structured.remote.completion import Completion
    from gemma_structured.tools import ToolOffer
    from gemma_structured.types import JsonValue

__all__ = ["read_turn"]

_TAGGED = re.compile(r"<tool_call>\s*(\{.*?\})\s*</tool_call>", re.DOTALL)
_UNREAD: Final = ""
"""The name under which arguments that are no object are kept; no tool has a parameter of it."""


def read_turn(completion: Completion, offer: ToolOffer) -> tuple[str, tuple[ToolCall, ...]]:
    """What the model said and what it asks for; nothing of it is validated.

    Some servers hand on a model's own notation of calls as text. It is read where it is well
    formed.
    """
    if completion.tool_calls:
        calls = [
            ToolCall(call.name, _arguments(call.arguments), id=call.id or new_call_id())
            for call in completion.tool_calls
        ]
        return completion.text, tuple(calls)
    if tagged := _tagged(completion.text):
        return _TAGGED.sub("", completion.text).strip(), tagged
    formats = [form for family in FAMILIES for form in family.call_formats]
    for form in formats:
        if form.opener in completion.text:
            try:
                turn = form.parse(completion.text, offer.tools)
            except OutputValidationError:
                continue
            if turn.calls:
                return turn.text, turn.calls
    return completion.text, ()


def _tagged(text: str) -> tuple[ToolCall, ...]:
    """Calls as JSON between tags, which many models write, with spaces wherever they like."""
    calls: list[ToolCall] = []
    for written in _TAGGED.findall(text):
        call = _arguments(written)
        name, arguments = call.get("name"), call.get("arguments", call.get("parameters"))
        if not isinstance(name, str) or not isinstance(arguments, dict):
            return ()
        calls.append(ToolCall(name, arguments))
    return tuple(calls)


def _arguments(text: str) -> Mapping[str, JsonValue]:
    """The arguments' object; validation tells the model where there is none."""
    if not text.strip():
        return {}
    try:
        read = extract_json(text, finish_reason="stop").text
        value: JsonValue = jiter.from_json(read.encode("utf-8", "replace"))
    except (OutputValidationError, ValueError):
        return {_UNREAD: text}
    return value if isinstance(value, dict) else {_UNREAD: value}
