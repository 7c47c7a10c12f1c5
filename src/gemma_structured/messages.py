"""What is said to a model and by it, in the terms of every chat template."""

from __future__ import annotations

import secrets
import string
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from gemma_structured.images import Image

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gemma_structured.types import JsonValue

__all__ = [
    "AssistantMessage",
    "Input",
    "Message",
    "SystemMessage",
    "ToolCall",
    "ToolMessage",
    "ToolReturn",
    "UserMessage",
    "new_call_id",
]

_CALL_ID_LENGTH = 9  # Mistral's templates take no other


@dataclass(frozen=True, slots=True)
class SystemMessage:
    """Instructions that hold for the whole conversation."""

    text: str


@dataclass(frozen=True, slots=True)
class UserMessage:
    """What the user says, and shows.

    Several texts are joined by a blank line; they are kept apart so that the first ones tokenise
    (and are cached) alike whatever follows. Images go to remote models that take them.
    """

    parts: tuple[str | Image, ...]

    def __init__(self, *parts: str | Image) -> None:
        object.__setattr__(self, "parts", parts)

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts, in order."""
        return tuple(part for part in self.parts if not isinstance(part, Image))

    @property
    def images(self) -> tuple[Image, ...]:
        """The images, in order."""
        return tuple(part for part in self.parts if isinstance(part, Image))

    @property
    def text(self) -> str:
        """The texts as one."""
        return "\n\n".join(self.texts)


def new_call_id() -> str:
    """A fresh id that ties a tool's return to its call: nine letters and digits."""
    alphabet = string.ascii_letters + string.digits
    return "".join(secrets.choice(alphabet) for _ in range(_CALL_ID_LENGTH))


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that a model asks for.

    Attributes:
        name: The tool's name.
        written: The arguments as the model wrote them, in the terms of JSON.
        id: Ties the return to the call.
        typed: The arguments as values of the types that the tool's parameters have, once they are
            validated.
    """

    name: str
    written: Mapping[str, JsonValue]
    id: str = field(default_factory=new_call_id)
    typed: Mapping[str, object] | None = field(default=None, compare=False, repr=False)

    @property
    def arguments(self) -> Mapping[str, object]:
        """The typed arguments; the written ones where the call was not validated."""
        return self.written if self.typed is None else self.typed


@dataclass(frozen=True, slots=True)
class ToolReturn:
    """What a call came to.

    Attributes:
        name: The tool's name.
        value: What it returned, or what went wrong, in the terms of JSON.
        call_id: The call's id.
        is_error: Whether it failed.
    """

    name: str
    value: JsonValue
    call_id: str
    is_error: bool = False


@dataclass(frozen=True, slots=True)
class AssistantMessage:
    """What the model said; `thinking` is the thought before it, `tool_calls` what it asks for."""

    text: str
    thinking: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()


@dataclass(frozen=True, slots=True)
class ToolMessage:
    """What the calls of the assistant's last message came to."""

    returns: tuple[ToolReturn, ...]

    def __init__(self, *returns: ToolReturn) -> None:
        object.__setattr__(self, "returns", returns)

    @property
    def text(self) -> str:
        """The returns as one text, for those who look at it: a line each."""
        return "\n".join(f"{each.name}: {each.value}" for each in self.returns)


Message: TypeAlias = "SystemMessage | UserMessage | AssistantMessage | ToolMessage"
Input: TypeAlias = "str | Sequence[Message]"
"""A document, or a conversation that ends with the user (or, where tools are offered, with their
returns)."""
