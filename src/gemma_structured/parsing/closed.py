"""Which parts of a growing value are complete."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gemma_structured.types import JsonValue

__all__ = ["ClosedLog", "ClosedPaths", "ClosedValue", "Path"]

T = TypeVar("T")

Path: TypeAlias = tuple[str | int, ...]
"""Keys and indexes from the root of a value; the root's own is `()`."""


class ClosedValue(NamedTuple):
    """A value that is complete and will not change, and where it stands."""

    path: Path
    value: JsonValue


class ClosedLog:
    """The closed values in the order of closing; it only grows."""

    __slots__ = ("_events", "_index")

    def __init__(self) -> None:
        self._events: list[ClosedValue] = []
        self._index: dict[object, int] = {}

    @property
    def events(self) -> Sequence[ClosedValue]:
        """What has been added, in that order."""
        return self._events

    def add(self, path: Path, value: JsonValue) -> None:
        """Log that the value at `path`, which is not logged yet, is complete."""
        self._index[path] = len(self._events)
        self._events.append(ClosedValue(path, value))

    def position(self, path: object) -> int | None:
        """How many values closed before the one at `path`; `None` if it has not closed."""
        return self._index.get(path)

    def paths(self) -> ClosedPaths:
        """The paths so far, as a set that does not grow; takes constant time."""
        return ClosedPaths(self, len(self._events))


class ClosedPaths(AbstractSet[Path]):
    """An immutable set: the first paths of a log that only grows.

    It equals, and hashes like, the `frozenset` of the same paths. A `frozenset` for each piece of
    a streamed answer would take time quadratic in the answer's length.
    """

    __slots__ = ("_log", "_size")

    def __init__(self, log: ClosedLog, size: int) -> None:
        self._log = log
        self._size = size

    def __contains__(self, path: object) -> bool:
        position = self._log.position(path)
        return position is not None and position < self._size

    def __iter__(self) -> Iterator[Path]:
        return (event.path for event in islice(self._log.events, self._size))

    def __len__(self) -> int:
        return self._size

    def __hash__(self) -> int:
        return self._hash()

    def __repr__(self) -> str:
        return f"ClosedPaths({{{', '.join(map(repr, self))}}})"

    @classmethod
    def _from_iterable(cls, it: Iterable[T]) -> frozenset[T]:
        """What `&`, `|` and `-` make (see `collections.abc.Set`)."""
        return frozenset(it)
