"""What a model family knows: how messages become its prompt.

Rendering goes through the chat template that ships with the checkpoint, which is the truth about
its format. What people wrote (instructions, examples, documents) never passes through the template
and is never parsed for control tokens: the template sees a placeholder for each text, and the texts
are encoded apart, as text.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

from gemma_structured.exceptions import InputError
from gemma_structured.messages import AssistantMessage, SystemMessage, UserMessage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gemma_structured.messages import Message

__all__ = ["ChatTokenizer", "Family", "RenderedPrompt"]


class ChatTokenizer(Protocol):
    """The part of a tokenizer that rendering needs."""

    @property
    def bos_token(self) -> str:
        """The token that begins every sequence, by name; empty if there is none."""
        ...

    def apply_chat_template(
        self, messages: Sequence[Mapping[str, str]], **variables: object
    ) -> str:
        """Render messages (`role`, `content`) up to where the assistant's answer begins.

        Raises:
            InputError: The template refuses these messages.
        """
        ...

    def encode_template(self, text: str) -> list[int]:
        """Trusted text to ids: names of control tokens become those tokens."""
        ...

    def encode(self, text: str) -> list[int]:
        """Untrusted text to ids, none of them a control token."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedPrompt:
    """A prompt as it is sent.

    Attributes:
        text: With its control tokens by name.
        token_ids: What the model reads.
        fixed_length: How many of the first tokens do not depend on the last message.
    """

    text: str
    token_ids: tuple[int, ...]
    fixed_length: int


class Family:
    """A family whose checkpoints bring a chat template. Others override what differs.

    Attributes:
        name: What users see.
        model_types: The `model_type`s of transformers configurations that belong to it.
        has_system_role: Whether its template takes a system message. Otherwise the system's text
            goes before the first user's.
        template_variables: What its template is given beside the messages.
    """

    name: ClassVar[str] = "chat"
    model_types: ClassVar[frozenset[str]] = frozenset()
    has_system_role: ClassVar[bool] = True
    template_variables: ClassVar[Mapping[str, object]] = {}

    def layout(self, messages: Sequence[Mapping[str, str]], tokenizer: ChatTokenizer) -> str:
        """Messages (`role`, `content`) to the prompt's text, with the checkpoint's template.

        Raises:
            InputError: The template refuses these messages.
        """
        return tokenizer.apply_chat_template(messages, **self.template_variables)

    def render(self, messages: Sequence[Message], tokenizer: ChatTokenizer) -> RenderedPrompt:
        """Render a conversation that ends with the user.

        Raises:
            InputError: The conversation does not end with the user, the template refuses it, or a
                text cannot be encoded.
        """
        if not messages or not isinstance(messages[-1], UserMessage):
            raise InputError("A prompt must end with a user's message.")
        slots = _Slots()
        written = [self._as_dict(message, slots) for message in self._map_roles(messages)]
        document = slots.count - len(messages[-1].texts)
        text, ids, fixed_length = "", list[int](), 0
        for piece, slot in slots.split(self.layout(written, tokenizer)):
            if slot == document:
                fixed_length = len(ids)
            ids += tokenizer.encode_template(piece) if slot is None else tokenizer.encode(piece)
            text += piece
        return RenderedPrompt(text=text, token_ids=tuple(ids), fixed_length=fixed_length)

    def _map_roles(self, messages: Sequence[Message]) -> list[Message]:
        """Give the system's text to the first user where the family has no system role."""
        if self.has_system_role:
            return list(messages)
        system = [message.text for message in messages if isinstance(message, SystemMessage)]
        others: list[Message] = [m for m in messages if not isinstance(m, SystemMessage)]
        first = next(i for i, message in enumerate(others) if isinstance(message, UserMessage))
        user = others[first]
        assert isinstance(user, UserMessage)
        others[first] = UserMessage(*system, *user.texts)
        return others

    @staticmethod
    def _as_dict(message: Message, slots: _Slots) -> dict[str, str]:
        match message:
            case SystemMessage(text=text):
                return {"role": "system", "content": slots.put(text)}
            case AssistantMessage(text=text):
                return {"role": "assistant", "content": slots.put(text)}
            case UserMessage(texts=texts):
                return {"role": "user", "content": "\n\n".join(map(slots.put, texts))}


class _Slots:
    """Placeholders for untrusted texts.

    White space around a text goes with its placeholder, so that a template trims it as it would
    trim the text's own.
    """

    def __init__(self) -> None:
        self._mark = f"slot-{secrets.token_hex(8)}-"
        self._texts: list[str] = []

    @property
    def count(self) -> int:
        return len(self._texts)

    def put(self, text: str) -> str:
        """A placeholder for a text."""
        core = text.strip()
        start = text.index(core)
        self._texts.append(core)
        mark = f"{self._mark}{len(self._texts) - 1}."
        return f"{text[:start]}{mark}{text[start + len(core) :]}"

    def split(self, rendered: str) -> Iterator[tuple[str, int | None]]:
        """The template's text (`None`) and the texts in its slots, by number, in order.

        Raises:
            InputError: The template dropped a text.
        """
        trusted, *parts = rendered.split(self._mark)
        seen = set[int]()
        if trusted:
            yield trusted, None
        for part in parts:
            number, _, trusted = part.partition(".")
            seen.add(int(number))
            yield self._texts[int(number)], int(number)
            if trusted:
                yield trusted, None
        if len(seen) < self.count:
            raise InputError(
                "The model's chat template leaves out a part of the conversation.",
                hint="Give the messages in an order that the model's template supports.",
            )
