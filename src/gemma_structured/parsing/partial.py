"""Streamed text → the value so far, and which parts of it are final."""

from __future__ import annotations

import enum
import re
from typing import TYPE_CHECKING, Final, Protocol

from gemma_structured.exceptions import InputError
from gemma_structured.parsing.closed import ClosedLog, ClosedPaths, ClosedValue, Path
from gemma_structured.parsing.json_tokens import (
    MISSING,
    Missing,
    ScalarReader,
    StringReader,
    begin_scalar,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet

    from gemma_structured.types import JsonValue

__all__ = [
    "ClosedPaths",
    "ClosedValue",
    "JsonValueParser",
    "Path",
    "TextValueParser",
    "ValueParser",
]

MAX_DEPTH: Final = 512
"""Arrays and objects inside one another that a parser follows."""

_WHITESPACE = re.compile(r"[ \t\n\r]+")


class ValueParser(Protocol):
    """Follows a value while it is being written.

    Feeding takes time linear in the text, however it is cut. A parser does not judge: at text that
    it cannot follow it stops, and the value stays what it was. Validation says what is wrong.
    """

    @property
    def value(self) -> JsonValue:
        """What there is of the value; `None` before its first character.

        Later text does not change a value that was read here. Its closed parts are shared with the
        next one and its open parts are copied, so it must not be written to.
        """
        ...

    @property
    def closed(self) -> AbstractSet[Path]:
        """The paths whose values are complete; later text does not change this set."""
        ...

    @property
    def closed_events(self) -> Sequence[ClosedValue]:
        """Every closed value in the order of closing, children before parents; it grows."""
        ...

    @property
    def open_paths(self) -> Sequence[Path]:
        """The paths of the values that have begun and are not complete, parents before children."""
        ...

    @property
    def is_broken(self) -> bool:
        """Whether the text is not of the parser's language; nothing changes any more."""
        ...

    def feed(self, delta: str) -> None:
        """Read the next piece of the text.

        Raises:
            InputError: The text was said to be finished.
        """
        ...

    def finish(self) -> None:
        """Say that the text has ended, which closes what only its end could close."""
        ...


class TextValueParser:
    """A `ValueParser` for outputs that are text: a regex, a choice, a Lark grammar.

    The text is the value; it closes when it ends.
    """

    __slots__ = ("_log", "_parts")

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._log = ClosedLog()

    @property
    def value(self) -> str:
        """The text so far."""
        if len(self._parts) > 1:
            self._parts = ["".join(self._parts)]
        return self._parts[0] if self._parts else ""

    @property
    def closed(self) -> AbstractSet[Path]:
        """The root's path once the text has ended, and nothing before."""
        return self._log.paths()

    @property
    def closed_events(self) -> Sequence[ClosedValue]:
        """The whole text, once it has ended."""
        return self._log.events

    @property
    def open_paths(self) -> Sequence[Path]:
        """The root's path, until the text has ended."""
        return [] if self._log.events else [()]

    @property
    def is_broken(self) -> bool:
        """Never: any text is one."""
        return False

    def feed(self, delta: str) -> None:
        """Read the next piece of the text.

        Raises:
            InputError: The text was said to be finished.
        """
        _refuse_after_end(finished=bool(self._log.events))
        self._parts.append(delta)

    def finish(self) -> None:
        """Say that the text has ended."""
        if not self._log.events:
            self._log.add((), self.value)


class _Expected(enum.Enum):
    """What may stand at the next place between scalars."""

    VALUE = enum.auto()
    ITEM_OR_END = enum.auto()
    KEY = enum.auto()
    KEY_OR_END = enum.auto()
    COLON = enum.auto()
    COMMA_OR_END = enum.auto()
    NOTHING = enum.auto()


_CLOSING: Final = {  # whether it ends an object, and where it may stand
    "]": (False, {_Expected.ITEM_OR_END, _Expected.COMMA_OR_END}),
    "}": (True, {_Expected.KEY_OR_END, _Expected.COMMA_OR_END}),
}


class _Frame:
    """An array or object that is being written: its closed members and where the next one goes."""

    __slots__ = ("container", "key", "path")

    def __init__(self, container: list[JsonValue] | dict[str, JsonValue], path: Path) -> None:
        self.container = container
        self.path = path
        self.key = ""

    @property
    def is_object(self) -> bool:
        """Whether its members have keys."""
        return isinstance(self.container, dict)

    @property
    def member_path(self) -> Path:
        """The path of the member that is being written."""
        key = len(self.container) if isinstance(self.container, list) else self.key
        return (*self.path, key)

    def put(self, member: JsonValue) -> None:
        """Add the member that was being written."""
        if isinstance(self.container, list):
            self.container.append(member)
        else:
            self.container[self.key] = member

    def shown_with(self, member: JsonValue | Missing) -> JsonValue:
        """A copy of the container with a member that is still open."""
        shown = _Frame(self.container.copy(), self.path)
        shown.key = self.key
        if member is not MISSING:
            shown.put(member)
        return shown.container


class JsonValueParser:
    """A `ValueParser` for JSON text (RFC 8259).

    A number closes when something follows it, or at the root when the text ends; while it is open,
    the longest number that its digits begin with is shown. `true`, `false` and `null` show when
    they are whole, a key when something of its value does. What strict validation refuses anyway
    is not followed: `NaN`, numbers beyond the floats, a key twice in one object, text after the
    value, more than 512 levels.

    Attributes:
        is_broken: The text is not such JSON; nothing changes any more.
    """

    __slots__ = ("_expected", "_finished", "_frames", "_log", "_root", "_scalar", "is_broken")

    is_broken: bool

    def __init__(self) -> None:
        self._root: JsonValue | Missing = MISSING
        self._frames: list[_Frame] = []
        self._scalar: ScalarReader | None = None
        self._expected = _Expected.VALUE
        self._log = ClosedLog()
        self._finished = False
        self.is_broken = False

    @property
    def value(self) -> JsonValue:
        """What there is of the value; `None` before its first character."""
        shown = self._root
        if self._scalar is not None and self._expected in {_Expected.VALUE, _Expected.ITEM_OR_END}:
            shown = self._scalar.value
        for frame in reversed(self._frames):
            shown = frame.shown_with(shown)
        return None if shown is MISSING else shown

    @property
    def closed(self) -> AbstractSet[Path]:
        """The paths whose values are complete; later text does not change this set."""
        return self._log.paths()

    @property
    def closed_events(self) -> Sequence[ClosedValue]:
        """Every closed value in the order of closing, children before parents; it grows."""
        return self._log.events

    @property
    def open_paths(self) -> Sequence[Path]:
        """The paths of the values that have begun and are not complete, parents before children."""
        paths = [frame.path for frame in self._frames]
        if self._scalar is not None and self._expected in {_Expected.VALUE, _Expected.ITEM_OR_END}:
            paths.append(self._frames[-1].member_path if self._frames else ())
        return paths

    def feed(self, delta: str) -> None:
        """Read the next piece of the text.

        Raises:
            InputError: The text was said to be finished.
        """
        at = self.feed_value(delta)
        while at < len(delta) and not self.is_broken:
            blank = _WHITESPACE.match(delta, at)
            self.is_broken = blank is None
            at = len(delta) if blank is None else blank.end()

    def feed_value(self, delta: str) -> int:
        """Read the next piece of a text in which something else follows the value.

        Returns:
            How many of its characters belong to the value; fewer than all once it is complete.

        Raises:
            InputError: The text was said to be finished.
        """
        _refuse_after_end(finished=self._finished)
        at = 0
        while at < len(delta) and not (self.is_broken or self._expected is _Expected.NOTHING):
            if self._scalar is not None:
                at = self._scalar.feed(delta, at)
                self._take_scalar(self._scalar)
            elif blank := self._blank(delta, at):
                at = blank.end()
            else:
                self._read_mark(delta[at])
                at += 1
        return at

    def _blank(self, delta: str, at: int) -> re.Match[str] | None:
        """White space that says nothing."""
        return _WHITESPACE.match(delta, at)

    def _begin_scalar(self, character: str) -> ScalarReader | None:
        """The reader of the scalar that begins with this character, if one does."""
        return begin_scalar(character)

    def _begin_key(self, character: str) -> ScalarReader | None:
        """The reader of the key that begins with this character, if one does."""
        return StringReader() if character == '"' else None

    def finish(self) -> None:
        """Say that the text has ended, which closes a number at the root.

        Inside an array or object the text ended too early, perhaps in the middle of the number.
        """
        self._finished = True
        if self._scalar is not None and not self._frames:
            self._scalar.finish()
            self._take_scalar(self._scalar)

    def _take_scalar(self, scalar: ScalarReader) -> None:
        """Go on after a scalar, if it is whole."""
        if scalar.is_broken:
            self.is_broken = True
        if not scalar.is_closed or (value := scalar.value) is MISSING:
            return
        self._scalar = None
        if self._expected in {_Expected.KEY, _Expected.KEY_OR_END}:
            self._take_key(str(value))
        else:
            self._close(value)

    def _take_key(self, key: str) -> None:
        frame = self._frames[-1]
        self.is_broken = key in frame.container
        frame.key = key
        self._expected = _Expected.COLON

    def _read_mark(self, character: str) -> None:
        """Read a character that stands between scalars, or begins one."""
        expected = self._expected
        if character in _CLOSING:
            self._end_container(character)
        elif expected in {_Expected.VALUE, _Expected.ITEM_OR_END}:
            self._begin_value(character)
        elif expected in {_Expected.KEY, _Expected.KEY_OR_END}:
            self._scalar = self._begin_key(character)
            self.is_broken = self._scalar is None
        elif expected is _Expected.COLON and character == ":":
            self._expected = _Expected.VALUE
        elif expected is _Expected.COMMA_OR_END and character == ",":
            in_object = self._frames[-1].is_object
            self._expected = _Expected.KEY if in_object else _Expected.VALUE
        else:
            self.is_broken = True

    def _begin_value(self, character: str) -> None:
        if character == "[":
            self._begin_container([], _Expected.ITEM_OR_END)
        elif character == "{":
            self._begin_container({}, _Expected.KEY_OR_END)
        else:
            self._scalar = self._begin_scalar(character)
            self.is_broken = self._scalar is None

    def _begin_container(
        self, container: list[JsonValue] | dict[str, JsonValue], expected: _Expected
    ) -> None:
        if len(self._frames) == MAX_DEPTH:
            self.is_broken = True
            return
        path = self._frames[-1].member_path if self._frames else ()
        self._frames.append(_Frame(container, path))
        self._expected = expected

    def _end_container(self, character: str) -> None:
        ends_object, places = _CLOSING[character]
        if self._expected in places and self._frames[-1].is_object is ends_object:
            self._close(self._frames.pop().container)
        else:
            self.is_broken = True

    def _close(self, value: JsonValue) -> None:
        """Put a complete value into its place."""
        if self._frames:
            frame = self._frames[-1]
            self._log.add(frame.member_path, value)
            frame.put(value)
            self._expected = _Expected.COMMA_OR_END
        else:
            self._log.add((), value)
            self._root = value
            self._expected = _Expected.NOTHING


def _refuse_after_end(*, finished: bool) -> None:
    if finished:
        raise InputError("The text was said to be finished.", hint="Feed a new parser.")
