"""`InvokeValueParser`: the arguments of a call written as tags, followed while they are written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from gemma_structured.parsing.closed import ClosedLog, ClosedPaths, ClosedValue, Path
from gemma_structured.parsing.partial import JsonValueParser

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gemma_structured.types import JsonValue

__all__ = ["END", "InvokeValueParser", "ParameterKind"]

END: Final = "</parameter>"
"""What closes a parameter."""

ParameterKind: TypeAlias = Literal["text", "text or null", "json"]
"""How a parameter is written."""

_OPEN: Final = '\n<parameter name="'
_CLOSE: Final = "\n</invoke>"
_LONGEST_SIGN: Final = len("null") + len(END)


class InvokeValueParser:
    r"""A `ValueParser` for `\n<parameter name="k">v</parameter>…\n</invoke>`.

    Args:
        kinds: How each parameter is written; those that are not named are JSON.

    Attributes:
        is_broken: The text is not of this form; nothing changes any more.
    """

    __slots__ = ("_held", "_json", "_key", "_kinds", "_log", "_read", "_value", "is_broken")

    def __init__(self, kinds: Mapping[str, ParameterKind]) -> None:
        self._kinds = kinds
        self._log = ClosedLog()
        self._value: dict[str, JsonValue] = {}
        self._held = ""
        self._key: str | None = None
        self._json: JsonValueParser | None = None
        self._read = 0
        self.is_broken = False

    @property
    def value(self) -> JsonValue:
        """The parameters so far, the one that is being written among them."""
        if self._key is None:
            return dict(self._value)
        shown = self._json.value if self._json is not None else self._text_so_far()
        return {**self._value, self._key: shown}

    @property
    def closed(self) -> ClosedPaths:
        """The paths whose values are complete."""
        return self._log.paths()

    @property
    def closed_events(self) -> Sequence[ClosedValue]:
        """Every closed value in the order of closing."""
        return self._log.events

    @property
    def open_paths(self) -> Sequence[Path]:
        """The paths of the values that have begun and are not complete."""
        if self._is_closed:
            return []
        if self._key is None:
            return [()]
        below = self._json.open_paths if self._json is not None else [()]
        return [(), *((self._key, *path) for path in below)]

    @property
    def _is_closed(self) -> bool:
        return self._log.position(()) is not None

    def feed(self, delta: str) -> None:
        """Read the next piece of the text."""
        self.is_broken = self.feed_value(delta) < len(delta) or self.is_broken

    def feed_value(self, delta: str) -> int:
        """Read the next piece; say how many of its characters belong to the call."""
        self._held += delta
        while not (self.is_broken or self._is_closed) and self._step():
            """As long as something becomes clear."""
        rest = len(self._held) if self._is_closed else 0
        return len(delta) - rest

    def finish(self) -> None:
        """Say that the text has ended: without its closing tag, a call stays open."""

    def _step(self) -> bool:
        if self._key is None:
            return self._read_tag()
        return self._read_text(self._key) if self._json is None else self._read_json(self._key)

    def _read_tag(self) -> bool:
        """Read the tag of the next parameter, or the one that ends the call."""
        if self._held.startswith(_CLOSE):
            self._held = self._held.removeprefix(_CLOSE)
            self._log.add((), dict(self._value))
            return True
        name, closing, rest = self._held.removeprefix(_OPEN).partition('">')
        if not self._held.startswith(_OPEN):
            self.is_broken = not any(sign.startswith(self._held) for sign in (_OPEN, _CLOSE))
            return False
        if not closing:
            return False
        kind = self._kinds.get(name, "json")
        if kind == "text or null":
            if len(rest) < _LONGEST_SIGN and f"null{END}".startswith(rest):
                return False  # it is not clear yet which of the two
            kind = "json" if rest.startswith(('"', f"null{END}")) else "text"
        self.is_broken = name in self._value
        self._key, self._held, self._read = name, rest, 0
        self._json = JsonValueParser() if kind == "json" else None
        return True

    def _read_text(self, key: str) -> bool:
        text, closing, rest = self._held.partition(END)
        if not closing:
            return False
        self._held = rest
        self._close(key, text)
        return True

    def _read_json(self, key: str) -> bool:
        parser = self._json
        assert parser is not None
        if () not in parser.closed:
            self._held = self._held[parser.feed_value(self._held) :]
            if self._held.startswith(END[0]):
                parser.finish()  # a number ends with the tag
            self._log_json(key, parser)
        if () not in parser.closed or not self._held.startswith(END):
            broken = () in parser.closed and not END.startswith(self._held)
            self.is_broken = parser.is_broken or broken
            return False
        self._held = self._held.removeprefix(END)
        self._close(key, parser.value, logged=True)
        return True

    def _log_json(self, key: str, parser: JsonValueParser) -> None:
        """Log what has closed in a parameter."""
        for path, value in parser.closed_events[self._read :]:
            self._log.add((key, *path), value)
        self._read = len(parser.closed_events)

    def _close(self, key: str, value: JsonValue, *, logged: bool = False) -> None:
        self._value[key] = value
        self._key = self._json = None
        if not logged:
            self._log.add((key,), value)

    def _text_so_far(self) -> str:
        """The text of the open parameter, less what may be the beginning of its closing tag."""
        held = self._held
        cut = next((n for n in range(len(END) - 1, 0, -1) if held.endswith(END[:n])), 0)
        return held[: len(held) - cut]
