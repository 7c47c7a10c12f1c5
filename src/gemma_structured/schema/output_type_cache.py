"""Keeps what was made of a type, as long as it is among the last ones used."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

from cachetools import LRUCache

__all__ = ["OutputTypeCache"]

V = TypeVar("V")
_SIZE = 256


class OutputTypeCache(Generic[V]):
    """A bounded, thread-safe cache by type.

    Types that are equal but written differently (`A | B` and `B | A`) are kept apart, since models
    are asked for what is written. What cannot be hashed is not kept.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: LRUCache[object, V] = LRUCache(_SIZE)

    def get(self, spec: object) -> V | None:
        """What is kept for a type."""
        try:
            with self._lock:
                return self._kept.get(_key(spec))
        except TypeError:
            return None

    def put(self, spec: object, made: V) -> V:
        """Keep what was made, unless another thread was faster: then that is returned."""
        try:
            with self._lock:
                return self._kept.setdefault(_key(spec), made)
        except TypeError:
            return made


def _key(spec: object) -> object:
    return (type(spec), spec, repr(spec))
