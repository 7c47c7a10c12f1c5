"""Equality of JSON values as JSON Schema has it: `1` is `1.0`, and `true` is not `1`."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

from cachetools import LRUCache

if TYPE_CHECKING:
    from gemma_structured.types import JsonValue

__all__ = ["EnumCache", "instance_key"]

_KEPT_ENUMS = 512


def instance_key(value: JsonValue) -> str:
    """A text that two JSON values share exactly if they are equal."""
    if isinstance(value, str):
        return json.dumps(value)
    return json.dumps(_plain(value), sort_keys=True)


def _plain(value: JsonValue) -> JsonValue:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


class EnumCache:
    """The keys of the options of enums, so that 10,000 options are not compared one by one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: LRUCache[int, tuple[list[JsonValue], frozenset[str]]] = LRUCache(_KEPT_ENUMS)

    def keys_of(self, options: list[JsonValue]) -> frozenset[str]:
        """The keys of the options; the list must not change."""
        with self._lock:
            kept = self._kept.get(id(options))
            if kept is None or kept[0] is not options:
                kept = (options, frozenset(map(instance_key, options)))
                self._kept[id(options)] = kept
            return kept[1]
