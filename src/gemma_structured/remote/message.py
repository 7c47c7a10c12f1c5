"""The fields of a message and of a usage object, of which each may be missing or of any type."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from gemma_structured.types import Usage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gemma_structured.types import JsonValue

__all__ = ["read_content", "read_reasoning", "read_usage"]


def read_usage(usage: Mapping[str, JsonValue]) -> Usage:
    """Read a `usage` object; what is missing or no count is zero."""
    prompt = usage.get("prompt_tokens_details")
    completion = usage.get("completion_tokens_details")
    return Usage(
        prompt_tokens=_count(usage.get("prompt_tokens")),
        cached_tokens=_count(prompt.get("cached_tokens") if isinstance(prompt, dict) else 0),
        sampled_tokens=_count(usage.get("completion_tokens")),
        reasoning_tokens=_count(
            completion.get("reasoning_tokens") if isinstance(completion, dict) else 0
        ),
        requests=1,
        cost=_cost(usage.get("cost")),
    )


def _count(value: JsonValue) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _cost(value: JsonValue) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    cost = Decimal(str(value))
    return cost if cost.is_finite() and cost >= 0 else None


def read_content(message: Mapping[str, JsonValue]) -> str:
    """The content: a text, or a list of parts of which the texts count."""
    content = message.get("content")
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        return "".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else ""


def read_reasoning(message: Mapping[str, JsonValue]) -> str:
    """The thought: OpenRouter's `reasoning` or its details, others' `reasoning_content`."""
    for name in ("reasoning", "reasoning_content"):
        if isinstance(thought := message.get(name), str) and thought:
            return thought
    details = message.get("reasoning_details")
    parts = (
        [part for part in details if isinstance(part, dict)] if isinstance(details, list) else []
    )
    texts = [part.get("text") or part.get("summary") for part in parts]
    return "".join(text for text in texts if isinstance(text, str))
