"""Real answers for the fake server: a model of this package behind the API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gemma_structured.exceptions import IncompleteOutputError
from gemma_structured.messages import AssistantMessage, SystemMessage, UserMessage
from gemma_structured.schema.free_text import FREE_TEXT
from gemma_structured.schema.json_schema import JsonSchema
from gemma_structured.schema.output_type import OutputType
from gemma_structured.testing.openrouter_replies import Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gemma_structured.messages import Message
    from gemma_structured.models.base import Model
    from gemma_structured.testing.openrouter_server import Received
    from gemma_structured.types import JsonValue, Usage

__all__ = ["answer_from"]


def answer_from(model: Model) -> Callable[[Received], Answer]:
    """Let a model answer what a `FakeOpenRouter` is asked.

    It keeps to the request's `response_format` or forced tool, and to `max_tokens`; without a
    schema it writes free text.

    ```python
    with FakeOpenRouter(answer=answer_from(gs.LocalModel("embedded"))) as server: ...
    ```
    """

    def answer(received: Received) -> Answer:
        body = received.body
        schema = _schema(body)
        output_type: OutputType[Any] = FREE_TEXT
        if schema is not None:
            output_type = OutputType.of(JsonSchema(schema))
        limit = body.get("max_tokens")
        room = limit if isinstance(limit, int) else 256
        try:
            result = model.generate(
                _conversation(body), output_type, max_tokens=room, max_attempts=1
            )
        except IncompleteOutputError as error:
            return Answer(text=error.text, finish_reason="length", usage=_usage(error.usage))
        if "tools" in body:
            return Answer(
                text=None,
                tool_arguments=result.text,
                finish_reason="tool_calls",
                usage=_usage(result.usage),
            )
        return Answer(text=result.text, usage=_usage(result.usage))

    return answer


def _conversation(body: Mapping[str, JsonValue]) -> list[Message]:
    kinds = {"system": SystemMessage, "user": UserMessage, "assistant": AssistantMessage}
    messages = body.get("messages")
    return [
        kinds[str(message["role"])](_text(message["content"]))
        for message in (messages if isinstance(messages, list) else [])
        if isinstance(message, dict) and message.get("role") in kinds
    ]


def _text(content: JsonValue) -> str:
    """The content's text; what else it has, models here cannot see."""
    if not isinstance(content, list):
        return str(content)
    texts = [str(part["text"]) for part in content if isinstance(part, dict) and "text" in part]
    return "\n\n".join(texts)


def _schema(body: Mapping[str, JsonValue]) -> dict[str, JsonValue] | None:
    """The schema in a request: of its response format, or of the tool that must be called."""
    tools = body.get("tools")
    found: JsonValue = body.get("response_format")
    path: tuple[str, ...] = ("json_schema", "schema")
    if isinstance(tools, list) and tools:
        found, path = tools[0], ("function", "parameters")
    for key in path:
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else None


def _usage(usage: Usage) -> dict[str, JsonValue]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "cost": 0.0,
    }
