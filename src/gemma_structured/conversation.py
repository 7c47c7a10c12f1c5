"""`Conversation`: messages as a value, saved as JSON or kept in SQLite, and trimmed to a budget."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast, overload

from gemma_structured.exceptions import InputError
from gemma_structured.images import Image
from gemma_structured.messages import (
    AssistantMessage,
    SystemMessage,
    ToolCall,
    ToolMessage,
    ToolReturn,
    UserMessage,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gemma_structured.messages import Message

__all__ = ["Conversation", "ConversationStore", "TrimPolicy"]

VERSION = 1
"""Of the JSON; a reader refuses what it does not know."""

TrimPolicy: TypeAlias = Literal["oldest", "middle"]
"""What goes first: the oldest messages, or those after the first exchange."""

_ROLES: dict[type[object], str] = {
    SystemMessage: "system",
    UserMessage: "user",
    AssistantMessage: "assistant",
    ToolMessage: "tool",
}


@dataclass(frozen=True, slots=True, init=False)
class Conversation(Sequence["Message"]):
    """What was said so far. It does not change: adding to it makes another.

    It can be given wherever an input can, and holds no cache: the KV cache of earlier turns is
    found by their tokens.

    Args:
        messages: In order.
    """

    messages: tuple[Message, ...]

    def __init__(self, *messages: Message) -> None:
        object.__setattr__(self, "messages", messages)

    @overload
    def __getitem__(self, index: int) -> Message: ...
    @overload
    def __getitem__(self, index: slice) -> Conversation: ...
    def __getitem__(self, index: int | slice) -> Message | Conversation:
        if isinstance(index, slice):
            return Conversation(*self.messages[index])
        return self.messages[index]

    def __len__(self) -> int:
        return len(self.messages)

    def __iter__(self) -> Iterator[Message]:
        return iter(self.messages)

    def add(self, *messages: Message) -> Conversation:
        """The conversation with more messages at its end."""
        return Conversation(*self.messages, *messages)

    def user(self, *parts: str | Image) -> Conversation:
        """The conversation with what the user says, and shows, next."""
        return self.add(UserMessage(*parts))

    @property
    def pending_calls(self) -> tuple[ToolCall, ...]:
        """Calls at the end that have no return yet."""
        returned: set[str] = set()
        for message in reversed(self.messages):
            if isinstance(message, ToolMessage):
                returned.update(each.call_id for each in message.returns)
            elif isinstance(message, AssistantMessage):
                return tuple(call for call in message.tool_calls if call.id not in returned)
            else:
                break
        return ()

    def trim(
        self, fits: Callable[[Conversation], bool], *, policy: TrimPolicy = "oldest"
    ) -> Conversation:
        """The conversation without as many messages as do not fit.

        System messages stay, and so does the last exchange's end. A call and its return go or stay
        together, and what is left begins with the user.

        Args:
            fits: Whether a conversation is short enough, for instance
                `lambda c: generator.count_tokens(c) < 8000`.
            policy: What goes first.

        Raises:
            InputError: Nothing that may go is left, and it still does not fit.
        """
        system = [message for message in self.messages if isinstance(message, SystemMessage)]
        units = _units(self.messages)
        while True:
            trimmed = Conversation(*system, *(message for unit in units for message in unit))
            if fits(trimmed):
                return trimmed
            first = _first_exchange(units) if policy == "middle" else 0
            if first >= len(units) - 1:
                first = 0
            if len(units) <= 1:
                raise InputError("The conversation's last message alone does not fit.")
            del units[first]
            while (
                len(units) > 1
                and first < len(units) - 1
                and not isinstance(units[first][0], UserMessage)
            ):
                del units[first]

    def to_json(self) -> str:
        """The conversation as JSON, with a version. Images are in it; their files are read.

        Raises:
            InputError: An image's file cannot be read, or is no picture.
        """
        written = [_write_message(message) for message in self.messages]
        return json.dumps({"version": VERSION, "messages": written}, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> Conversation:
        """Read what `to_json` wrote.

        Raises:
            InputError: It is not that, or of a later version.
        """
        try:
            read: dict[str, Any] = json.loads(text)
            version = read["version"]
            if version != VERSION:
                raise InputError(
                    f"The conversation is of version {version!r}; this package reads {VERSION}.",
                    hint="Upgrade gemma-structured.",
                )
            return cls(*map(_read_message, read["messages"]))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"The text is not a saved conversation: {type(error).__name__}."
            ) from None

    def save(self, path: str | Path) -> None:
        """Write it to a file; a crash in between leaves the file as it was."""
        target = Path(path)
        fresh = target.with_name(f"{target.name}.new")
        fresh.write_text(self.to_json(), encoding="utf-8")
        fresh.replace(target)

    @classmethod
    def load(cls, path: str | Path) -> Conversation:
        """Read it from a file.

        Raises:
            InputError: The file holds no saved conversation.
        """
        return cls.from_json(Path(path).read_bytes())


class ConversationStore:
    """Conversations in a SQLite file, by name. Thread-safe, and safe between processes.

    ```python
    keep = gs.ConversationStore("chats.db").keeper("alice")
    agent.run("Hello", keep=keep)  # a crash loses no turn
    ```

    Args:
        path: The file; made if need be.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        with closing(self._connect()) as connection, connection:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS conversations (name TEXT PRIMARY KEY, json TEXT)"
            )

    def get(self, name: str) -> Conversation:
        """The conversation of a name; an empty one if there is none.

        Raises:
            InputError: What is stored cannot be read.
        """
        with closing(self._connect()) as connection:
            query = "SELECT json FROM conversations WHERE name = ?"
            row = connection.execute(query, (name,)).fetchone()
        return Conversation() if row is None else Conversation.from_json(row[0])

    def put(self, name: str, conversation: Conversation) -> None:
        """Store a conversation in place of the one of that name."""
        with closing(self._connect()) as connection, connection:
            query = "INSERT OR REPLACE INTO conversations VALUES (?, ?)"
            connection.execute(query, (name, conversation.to_json()))

    def delete(self, name: str) -> None:
        """Forget a conversation."""
        with closing(self._connect()) as connection, connection:
            connection.execute("DELETE FROM conversations WHERE name = ?", (name,))

    def names(self) -> list[str]:
        """The names of all conversations, sorted."""
        with closing(self._connect()) as connection:
            rows = connection.execute("SELECT name FROM conversations ORDER BY name").fetchall()
        return [str(row[0]) for row in rows]

    def keeper(self, name: str) -> Callable[[Conversation], None]:
        """A function that stores each state of one conversation, for `Agent.run(keep=…)`."""
        return lambda conversation: self.put(name, conversation)

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, timeout=30.0)


def _units(messages: Sequence[Message]) -> list[list[Message]]:
    """Messages that go or stay together, without the system's."""
    units: list[list[Message]] = []
    for message in messages:
        if isinstance(message, SystemMessage):
            continue
        if isinstance(message, ToolMessage) and units:
            units[-1].append(message)
        else:
            units.append([message])
    return units


def _first_exchange(units: list[list[Message]]) -> int:
    """Where the second exchange begins."""
    starts = [n for n, unit in enumerate(units) if isinstance(unit[0], UserMessage)]
    return starts[1] if len(starts) > 1 else 0


def _write_message(message: Message) -> dict[str, Any]:
    role = {"role": _ROLES[type(message)]}
    if isinstance(message, UserMessage):
        return {**role, "texts": list(map(_write_part, message.parts))}
    written = {**role, **asdict(message)}
    for call in written.get("tool_calls", ()):
        del call["typed"]
    return written


def _write_part(part: str | Image) -> object:
    return {"image": part.url} if isinstance(part, Image) else part


def _read_part(written: object) -> str | Image:
    """A text or an image; never a file's path, which whoever wrote the JSON could choose."""
    if not isinstance(written, dict):
        return _text(written)
    url = _text(cast("dict[str, object]", written)["image"])
    return Image.from_data_url(url) if url.startswith("data:") else Image(url)


def _read_message(written: dict[str, Any]) -> Message:
    match written["role"]:
        case "system":
            return SystemMessage(_text(written["text"]))
        case "user":
            return UserMessage(*map(_read_part, written["texts"]))
        case "assistant":
            calls = tuple(
                ToolCall(_text(each["name"]), dict(each["written"]), _text(each["id"]))
                for each in written["tool_calls"]
            )
            thinking = written["thinking"]
            return AssistantMessage(
                _text(written["text"]), None if thinking is None else _text(thinking), calls
            )
        case "tool":
            return ToolMessage(*(ToolReturn(**each) for each in written["returns"]))
        case _:
            raise ValueError("an unknown role")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value
