"""Few-shot prompts: the instruction, the output's form and the examples first, the document last.

What comes first is the same for every document of a task, so its KV cache (or a provider's prompt
cache) is computed once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar, cast

from gemma_structured.exceptions import InputError
from gemma_structured.images import Image
from gemma_structured.messages import (
    AssistantMessage,
    SystemMessage,
    ToolMessage,
    UserMessage,
)
from gemma_structured.prompting.schema_prompt import describe_output

if TYPE_CHECKING:
    from gemma_structured.messages import Input, Message
    from gemma_structured.schema.output_type import OutputType
    from gemma_structured.types import Example, Issue

__all__ = ["build_messages", "feedback"]

T = TypeVar("T")

_SHOWN_ISSUES = 10


def build_messages(
    document: Input,
    output_type: OutputType[T],
    *,
    instruction: str | None = None,
    examples: Sequence[Example[T]] = (),
    issues: Sequence[Issue] = (),
    show_schema: bool = True,
) -> list[Message]:
    """Build the conversation that asks for one output.

    Args:
        document: A text, or a conversation that ends with the user. Its own system message is
            joined to the task's.
        output_type: What is asked for.
        instruction: What to do with the document.
        examples: Each becomes a turn of the user and one of the assistant.
        issues: What was wrong with the last attempt; it is told after the document.
        show_schema: Whether the output's form is described. A server that is given the schema apart
            needs no description.

    Returns:
        The fixed part, then the document; the last message is the user's.

    Raises:
        InputError: The document is neither text nor a conversation that ends with the user, or an
            example's output does not validate.
    """
    conversation = _as_messages(document)
    system = [message.text for message in conversation if isinstance(message, SystemMessage)]
    parts = [instruction, describe_output(output_type) if show_schema else None, *system]
    text = "\n\n".join(part for part in parts if part)
    messages: list[Message] = [SystemMessage(text)] if text else []
    for example in examples:
        messages += [UserMessage(example.input), AssistantMessage(output_type.dump(example.output))]
    messages += [m for m in conversation if not isinstance(m, SystemMessage)]
    if issues:
        last = messages[-1]
        if isinstance(last, UserMessage):
            messages[-1] = UserMessage(*last.parts, feedback(issues))
        else:
            messages.append(UserMessage(feedback(issues)))
    return messages


def feedback(issues: Sequence[Issue]) -> str:
    """What a model is told about its last attempt: the errors alone, not the attempt."""
    lines = ["Your previous answer was wrong:"]
    for issue in issues[:_SHOWN_ISSUES]:
        found = f" Found: {issue.found}." if issue.found is not None else ""
        expected = f" Expected: {issue.expected}." if issue.expected is not None else ""
        lines.append(f"- {issue.pointer or 'the whole answer'}: {issue.message}.{found}{expected}")
    if len(issues) > _SHOWN_ISSUES:
        lines.append(f"- and {len(issues) - _SHOWN_ISSUES} more of the kind")
    lines.append("Answer again, correctly.")
    return "\n".join(lines)


def _as_messages(document: Input) -> list[Message]:
    if isinstance(document, str):
        return [UserMessage(document)]
    given = cast("object", document)
    messages = list(document) if isinstance(given, Sequence) else []
    kinds = (SystemMessage, UserMessage, AssistantMessage, ToolMessage)
    if not messages or any(type(message) not in kinds for message in messages):
        raise InputError(
            f"An input is a text or a list of messages, not {type(document).__name__}.",
            hint="Pass a str, or gs.SystemMessage, gs.UserMessage, gs.AssistantMessage and "
            "gs.ToolMessage.",
        )
    parts: list[object] = [part for m in messages if isinstance(m, UserMessage) for part in m.parts]
    if wrong := [part for part in parts if not isinstance(part, str | Image)]:
        raise InputError(
            f"A part of a user's message is a text or a gs.Image, not {type(wrong[0]).__name__}."
        )
    if not isinstance(messages[-1], UserMessage | ToolMessage):
        raise InputError("A conversation must end with a user's message, or with tools' returns.")
    return messages
