"""`RadixTree`: values under sequences of token ids, found by what the sequences have in common.

An edge holds the ids up to where two sequences part (https://en.wikipedia.org/wiki/Radix_tree), so
a search takes time in the length of what is looked for and not in the number of values.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["RadixTree"]

V = TypeVar("V")

_STRIDE = 256
"""Ids that are compared at once."""


class RadixTree(Generic[V]):
    """A map from sequences of token ids to values, neither of them empty or `None`."""

    def __init__(self) -> None:
        self._root: _Node[V] = _Node((), None)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def put(self, token_ids: Sequence[int], value: V) -> None:
        """Keep a value, in place of the one that was there."""
        node, rest = self._root, tuple(token_ids)
        while rest:
            child = node.children.get(rest[0])
            if child is None:
                child = _Node(rest, node)
                node.children[rest[0]] = child
            shared = _in_common(child.edge, rest)
            if shared < len(child.edge):
                child = child.split(shared)
            node, rest = child, rest[shared:]
        self._count += node.value is None
        node.value = value

    def remove(self, token_ids: Sequence[int]) -> None:
        """Forget the value of a sequence.

        Raises:
            KeyError: It has none.
        """
        node, rest = self._root, tuple(token_ids)
        while rest:
            child = node.children.get(rest[0])
            if child is None or rest[: len(child.edge)] != child.edge:
                raise KeyError("Nothing is kept under these ids.")
            node, rest = child, rest[len(child.edge) :]
        if node.value is None:
            raise KeyError("Nothing is kept under these ids.")
        node.value = None
        self._count -= 1
        node.tidy()

    def nearest(self, token_ids: Sequence[int]) -> Iterator[tuple[int, V]]:
        """All values, those first whose sequences have most in common with some ids at their start.

        Yields:
            How many ids are in common, and the value. Of those with equally many, the shorter ones
            come first.
        """
        node, rest, shared = self._root, tuple(token_ids), 0
        path: list[tuple[int, _Node[V]]] = [(0, node)]
        while rest and (child := node.children.get(rest[0])) is not None:
            common = _in_common(child.edge, rest)
            shared += common
            path.append((shared, child))
            if common < len(child.edge):
                break
            node, rest = child, rest[common:]
        seen: _Node[V] | None = None
        for common, node in reversed(path):
            for value in node.values(without=seen):
                yield common, value
            seen = node


class _Node(Generic[V]):
    """The ids on the way to here from the node above, and what is kept here."""

    __slots__ = ("children", "edge", "parent", "value")

    def __init__(self, edge: tuple[int, ...], parent: _Node[V] | None) -> None:
        self.edge = edge
        self.parent = parent
        self.children: dict[int, _Node[V]] = {}
        self.value: V | None = None

    def split(self, length: int) -> _Node[V]:
        """Put a node into the way to here; this one stays below it."""
        assert self.parent is not None
        upper = _Node(self.edge[:length], self.parent)
        self.parent.children[self.edge[0]] = upper
        self.edge, self.parent = self.edge[length:], upper
        upper.children[self.edge[0]] = self
        return upper

    def tidy(self) -> None:
        """Drop the node if it leads nowhere; join it with its only child if it branches nowhere."""
        if self.parent is None or self.value is not None or len(self.children) > 1:
            return
        above = self.parent
        if not self.children:
            del above.children[self.edge[0]]
            above.tidy()
            return
        (child,) = self.children.values()
        above.children[self.edge[0]] = child
        child.edge, child.parent = self.edge + child.edge, above

    def values(self, *, without: _Node[V] | None) -> Iterator[V]:
        """What is kept here and below, level by level, except under one node."""
        nodes: deque[_Node[V]] = deque([self])
        while nodes:
            node = nodes.popleft()
            if node.value is not None:
                yield node.value
            nodes.extend(child for child in node.children.values() if child is not without)


def _in_common(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    """How many ids two sequences have in common at their start."""
    most = min(len(one), len(other))
    for start in range(0, most, _STRIDE):
        stop = min(start + _STRIDE, most)
        if one[start:stop] != other[start:stop]:
            return next(at for at in range(start, stop) if one[at] != other[at])
    return most
