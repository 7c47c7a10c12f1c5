"""What is said to a model and by it, in the terms of every chat template."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["AssistantMessage", "Input", "Message", "SystemMessage", "UserMessage"]


@dataclass(frozen=True, slots=True)
class SystemMessage:
    """Instructions that hold for the whole conversation."""

    text: str


@dataclass(frozen=True, slots=True)
class UserMessage:
    """What the user says.

    Several texts are joined by a blank line; they are kept apart so that the first ones tokenise
    (and are cached) alike whatever follows.
    """

    texts: tuple[str, ...]

    def __init__(self, *texts: str) -> None:
        object.__setattr__(self, "texts", texts)

    @property
    def text(self) -> str:
        """The texts as one."""
        return "\n\n".join(self.texts)


@dataclass(frozen=True, slots=True)
class AssistantMessage:
    """What the model said; `thinking` is the thought before it."""

    text: str
    thinking: str | None = None


Message: TypeAlias = "SystemMessage | UserMessage | AssistantMessage"
Input: TypeAlias = "str | Sequence[Message]"
"""A document, or a conversation that ends with the user."""
