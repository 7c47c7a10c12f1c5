"""The prompts of outlines as the tokens that a model reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from gemma_structured.exceptions import InputError
from gemma_structured.families.registry import family_for
from gemma_structured.messages import AssistantMessage, SystemMessage, UserMessage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outlines.inputs import Chat

    from gemma_structured.decoding.runtime import Runtime
    from gemma_structured.messages import Message

__all__ = ["Prompt", "prompt_ids"]

Prompt: TypeAlias = "str | dict[Any, Any] | Chat"
"""What outlines passes as an input; the `dict` is that of multimodal models."""


def prompt_ids(runtime: Runtime, prompt: Prompt) -> Sequence[int]:
    """The prompt's tokens: a conversation for a chat model, the text itself for a base model.

    Raises:
        InputError: It is neither a text nor a chat of texts, or it cannot be encoded.
    """
    chats = runtime.tokenizer.has_chat_template
    if isinstance(prompt, str) and not chats:
        bos = runtime.vocabulary.encode_template(runtime.tokenizer.bos_token)
        if not (ids := [*bos, *runtime.vocabulary.encode(prompt)]):
            raise InputError("The prompt is empty.", hint="Give a text to go on with.")
        return ids
    messages: list[Message] = [UserMessage(prompt)] if isinstance(prompt, str) else _read(prompt)
    family = family_for(runtime.loaded.model_type, has_chat_template=chats)
    return family.render(messages, runtime.tokenizer).token_ids


def _read(prompt: dict[Any, Any] | Chat) -> list[Message]:
    said = None if isinstance(prompt, dict) else getattr(prompt, "messages", None)
    if said is None:
        raise InputError(f"A prompt is a text or an outlines Chat, not a {type(prompt).__name__}.")
    roles = {"system": SystemMessage, "user": UserMessage, "assistant": AssistantMessage}
    messages: list[Message] = []
    for message in said:
        role, content = message.get("role"), message.get("content")
        if role not in roles or not isinstance(content, str):
            raise InputError(
                f"A message of role {role!r} with a {type(content).__name__} as its content cannot "
                "be read by a text model.",
                hint="Give messages of the roles system, user and assistant with texts.",
            )
        messages.append(roles[role](content))
    return messages
