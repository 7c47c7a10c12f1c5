"""The prefix store: what many prompts begin with is computed once.

An instruction with its schema and examples is the same for every document. Its KV cache is kept as
a snapshot under its token ids, and a row for the next prompt starts from the longest one that the
prompt begins with. The least recently used snapshots go when the store is full.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cachetools import LRUCache

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gemma_structured.decoding.session import Snapshot

__all__ = ["PrefixStore"]


class PrefixStore:
    """Snapshots by the token ids that they stand for, bounded in bytes.

    Args:
        max_bytes: The most memory that snapshots may hold together; 0 keeps none.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._snapshots: LRUCache[tuple[int, ...], Snapshot] = LRUCache(
            maxsize=max_bytes, getsizeof=lambda snapshot: snapshot.nbytes
        )

    @property
    def nbytes(self) -> int:
        """Memory that the snapshots hold."""
        return int(self._snapshots.currsize)

    def __len__(self) -> int:
        return len(self._snapshots)

    def __contains__(self, token_ids: Sequence[int]) -> bool:
        return tuple(token_ids) in self._snapshots

    def longest(self, token_ids: Sequence[int]) -> Snapshot | None:
        """The longest snapshot that a prompt begins with, and that leaves it at least one token."""
        ids = tuple(token_ids)
        found = max(
            (key for key in self._snapshots if len(key) < len(ids) and ids[: len(key)] == key),
            key=len,
            default=None,
        )
        return None if found is None else self._snapshots[found]

    def add(self, token_ids: Sequence[int], snapshot: Snapshot) -> None:
        """Keep a snapshot; one that is larger than the whole store is not kept."""
        if snapshot.nbytes <= self.max_bytes:
            self._snapshots[tuple(token_ids)] = snapshot

    def clear(self) -> None:
        """Forget all snapshots."""
        self._snapshots.clear()
