"""Judges an answer while it comes, and says where the value began that cannot stand."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from gemma_structured.parsing.partial import JsonValueParser

if TYPE_CHECKING:
    from gemma_structured.parsing.partial import Path, ValueParser
    from gemma_structured.schema.residual import ResidualChecks

__all__ = ["CheckedValue", "Fault", "JsonChecker", "PieceChecker"]


class Fault(NamedTuple):
    """A value that cannot stand where it is.

    Attributes:
        start: The number of the piece in which it begins.
        root: The number of the piece in which the whole begins that it is part of.
        alike: The first and the last piece of each earlier value that could not stand there either,
            since all of them must differ.
    """

    start: int
    root: int
    alike: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class _Open:
    """A value that is being written."""

    start: int
    is_checked: bool


class CheckedValue:
    """One value that is being written, checked as its parts close.

    Args:
        parser: Reads it.
        checks: What it is checked for.
    """

    def __init__(self, parser: ValueParser, checks: ResidualChecks) -> None:
        self.parser = parser
        self._follower = checks.follow()
        self._root = 0
        self._seen = 0
        self._open: dict[Path, _Open] = {}
        self._items: dict[Path, list[tuple[int, int]]] = {}

    def look(self, number: int, *, known: bool = False) -> Fault | None:
        """Judge what a piece has closed, once the parser has read it.

        Args:
            number: The piece's number.
            known: Whether it was judged before, and found to stand.
        """
        if not self._seen and not self._open:
            self._root = number
        if self.parser.is_broken:
            return Fault(number, self._root)
        events = self.parser.closed_events
        while self._seen < len(events):
            path, value = events[self._seen]
            self._seen += 1
            begun = self._open.pop(path, None)
            start = number if begun is None else begun.start
            if not self._follower.close(path, value, known=known):
                differ = self._follower.must_differ(path)
                alike = self._items.get(path[:-1], []) if differ else []
                return Fault(start, self._root, tuple(alike))
            if path and isinstance(path[-1], int):
                self._items.setdefault(path[:-1], []).append((start, number))
            self._items.pop(path, None)
        for path in self.parser.open_paths:
            if path not in self._open:
                self._open[path] = _Open(number, self._follower.is_checked(path))
        return None

    @property
    def first_checked(self) -> int | None:
        """The number of the piece in which the first open value begins that is still judged."""
        return min((o.start for o in self._open.values() if o.is_checked), default=None)


class PieceChecker(ABC):
    """Judges a text that comes in pieces, one for each token; pieces can be taken back.

    It is what `gemma_structured.decoding.retries.ValueChecker` asks for.
    """

    def __init__(self) -> None:
        self._pieces: list[str] = []

    def read(self, piece: str) -> Fault | None:
        """Read the next piece; say whether a value in it cannot stand."""
        self._pieces.append(piece)
        return self._read(piece, len(self._pieces) - 1, known=False)

    def rewind(self, count: int) -> None:
        """Forget all but the first pieces, which were found to stand."""
        del self._pieces[count:]
        self._begin()
        for number, piece in enumerate(self._pieces):
            self._read(piece, number, known=True)

    @property
    def settled(self) -> int:
        """How many of the first pieces no judgement will ask to be taken back."""
        return len(self._pieces)

    @abstractmethod
    def finish(self) -> Fault | None:
        """Say that the text has ended, which closes what only its end could close."""

    @abstractmethod
    def _begin(self) -> None:
        """Forget everything."""

    @abstractmethod
    def _read(self, piece: str, number: int, *, known: bool) -> Fault | None:
        """Read one piece."""


class JsonChecker(PieceChecker):
    """Judges an answer that is JSON and nothing else.

    Args:
        checks: What it is checked for.
    """

    def __init__(self, checks: ResidualChecks) -> None:
        super().__init__()
        self._checks = checks
        self._begin()

    def finish(self) -> Fault | None:
        """Say that the text has ended, which closes a number that is all there is."""
        self._value.parser.finish()
        return self._value.look(len(self._pieces))

    @property
    def settled(self) -> int:
        """How many of the first pieces no judgement will ask to be taken back."""
        first = self._value.first_checked
        return len(self._pieces) if first is None else first

    def _begin(self) -> None:
        self._parser = JsonValueParser()
        self._value = CheckedValue(self._parser, self._checks)

    def _read(self, piece: str, number: int, *, known: bool) -> Fault | None:
        self._parser.feed(piece)
        return self._value.look(number, known=known)
