"""Refuses the JSON Schemas on which llguidance would spend minutes and gigabytes.

Its own limits bound what follows a compilation, but not two things in it: the intersection of `n`
regular expressions is searched in time 3ⁿ, and the `n` patterns of `patternProperties` are compared
each with each.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from gemma_structured.exceptions import GrammarError, SchemaError
from gemma_structured.schema.json_schema import JsonSchema
from gemma_structured.types import pointer

if TYPE_CHECKING:
    from gemma_structured.schema.json_schema import Schema
    from gemma_structured.schema.llguidance_limits import LLGuidanceLimits
    from gemma_structured.types import JsonValue

__all__ = ["check_schema_size"]

_TEXT_KEYWORDS: Final = ("pattern", "format")


def check_schema_size(schema: Schema, limits: LLGuidanceLimits) -> None:
    """Refuse a schema that cannot be compiled in bounded time.

    Raises:
        GrammarError: Too many patterns must hold for one string, or name the keys of one object, or
            a reference leads nowhere.
    """
    try:
        _check(JsonSchema.trusted(schema), limits)
    except RecursionError:
        raise GrammarError(
            "The schema nests too deeply, or chains too many references.",
            hint="Define deep parts under `$defs`.",
        ) from None


def _check(whole: JsonSchema, limits: LLGuidanceLimits) -> None:
    counter = _PatternCounter(whole)
    for path, node in whole.walk():
        if isinstance(node, bool):
            continue
        where = pointer(path) or "(root)"
        keys = node.get("patternProperties")
        if isinstance(keys, dict) and len(keys) > limits.max_pattern_properties:
            raise limits.passed(
                f"{where}: one object has {len(keys)} patternProperties",
                "max_pattern_properties",
                "Join patterns whose schemas are alike by `|`.",
                needed=len(keys),
            )
        if (patterns := len(counter.count(node))) > limits.max_patterns:
            raise limits.passed(
                f"{where}: {patterns} patterns and formats must hold for one string",
                "max_patterns",
                "Write them as one pattern.",
                needed=patterns,
            )


class _PatternCounter:
    """Gathers the constraints on text that may have to hold at once."""

    def __init__(self, whole: JsonSchema) -> None:
        self._whole = whole
        self._known: dict[int, frozenset[str]] = {}

    def count(self, node: JsonValue) -> frozenset[str]:
        """The distinct constraints of a subschema and of what it is conjoined with."""
        if not isinstance(node, dict):
            return frozenset()
        known = self._known.get(id(node))
        if known is None:
            self._known[id(node)] = frozenset()  # a cycle adds nothing new
            known = self._known[id(node)] = self._gather(node)
        return known

    def _gather(self, node: dict[str, JsonValue]) -> frozenset[str]:
        found = {json.dumps([name, node[name]]) for name in _TEXT_KEYWORDS if name in node}
        ref = node.get("$ref")
        if isinstance(ref, str):
            found |= self.count(self._resolve(ref))
        for part in _list(node.get("allOf")):
            found |= self.count(part)
        for keyword in ("anyOf", "oneOf"):
            found |= max((self.count(o) for o in _list(node.get(keyword))), key=len, default=set())
        return frozenset(found)

    def _resolve(self, ref: str) -> Schema:
        try:
            return self._whole.resolve(ref)
        except SchemaError as error:
            raise GrammarError(str(error)) from None


def _list(value: JsonValue) -> list[JsonValue]:
    return value if isinstance(value, list) else []
