"""The prefix store: what many prompts begin with is computed once.

An instruction with its schema and examples is the same for every document, and the next turn of a
conversation begins with all of its earlier ones. Their KV cache is kept as snapshots under their
token ids. A row for the next prompt starts from the snapshot that has most in common with it: one
that goes on otherwise is rewound to where they part, as far as its windows allow. The least
recently used snapshots go when the store is full.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from gemma_structured.decoding.radix_tree import RadixTree

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gemma_structured.decoding.session import Snapshot

__all__ = ["PrefixStore"]

_LEAST_PART = 16
"""Tokens below which a part of a snapshot is not worth its copy: every prompt opens with some."""


class PrefixStore:
    """Snapshots by the token ids that they stand for, bounded in bytes.

    Args:
        max_bytes: The most memory that snapshots may hold together; 0 keeps none.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._nbytes = 0
        self._snapshots: OrderedDict[tuple[int, ...], Snapshot] = OrderedDict()
        self._tree: RadixTree[tuple[int, ...]] = RadixTree()

    @property
    def nbytes(self) -> int:
        """Memory that the snapshots hold."""
        return self._nbytes

    def __len__(self) -> int:
        return len(self._snapshots)

    def __contains__(self, token_ids: Sequence[int]) -> bool:
        return tuple(token_ids) in self._snapshots

    def wants(self, token_ids: Sequence[int]) -> bool:
        """Whether a snapshot of these tokens would be kept; if not, none need be taken."""
        return self.max_bytes > 0 and len(token_ids) > 0 and token_ids not in self

    def longest(self, token_ids: Sequence[int]) -> Snapshot | None:
        """A snapshot of the most first tokens of a prompt that leaves it at least one token."""
        room = len(token_ids) - 1
        for shared, key in self._tree.nearest(token_ids):
            snapshot = self._snapshots[key]
            length = min(shared, room)
            beyond = snapshot.length - length
            if length < (_LEAST_PART if beyond else 1) or beyond > snapshot.rewindable:
                continue
            self._snapshots.move_to_end(key)
            return snapshot.rewound(beyond) if beyond else snapshot
        return None

    def add(self, token_ids: Sequence[int], snapshot: Snapshot) -> None:
        """Keep a snapshot; one that is larger than the whole store is not kept."""
        key = tuple(token_ids)
        if not key or snapshot.nbytes > self.max_bytes:
            return
        if key in self._snapshots:
            self._drop(key)
        self._snapshots[key] = snapshot
        self._tree.put(key, key)
        self._nbytes += snapshot.nbytes
        while self._nbytes > self.max_bytes:
            self._drop(next(iter(self._snapshots)))

    def clear(self) -> None:
        """Forget all snapshots."""
        for key in list(self._snapshots):
            self._drop(key)

    def _drop(self, key: tuple[int, ...]) -> None:
        self._nbytes -= self._snapshots.pop(key).nbytes
        self._tree.remove(key)
