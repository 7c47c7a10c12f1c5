"""Refuses the Lark grammars on which llguidance would spend minutes: see `schema_size`."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

from gemma_structured.exceptions import GrammarError
from gemma_structured.schema.schema_size import check_schema_size

if TYPE_CHECKING:
    from gemma_structured.schema.llguidance_limits import LLGuidanceLimits

__all__ = ["check_lark_size"]

_OPAQUE: Final = re.compile(
    r'"(?:\\.|[^"\\\n])*"? | /(?:\\.|[^/\\\n])+/? | (?://|\#)[^\n]* | (?P<json>%json\s*)(?=\{)',
    re.VERBOSE,
)
"""What no `&` is looked for in: a text, a regular expression, a comment, a JSON Schema."""
_DEFINITION: Final = re.compile(r"^[ \t]*[?!]*([A-Za-z_]\w*+)[^:\n]*+:", re.MULTILINE)
_TERMINAL: Final = re.compile(r"\b[A-Z_][A-Z0-9_]*\b")


def check_lark_size(source: str, limits: LLGuidanceLimits) -> None:
    """Refuse a grammar that cannot be compiled in bounded time.

    Raises:
        GrammarError: A terminal intersects too many, or is made of a chain of too many, or a JSON
            Schema in the grammar is too large.
    """
    bodies = _definitions(_plain_parts(source, limits))
    counter = _IntersectionCounter(bodies)
    for name, body in bodies.items():
        if "&" not in body:
            continue
        try:
            count = counter.count(name)
        except RecursionError:
            raise GrammarError(f"Too long a chain of terminals makes up {name}.") from None
        if count > limits.max_intersections:
            raise limits.passed(
                f"The terminal {name}, with those that it is made of, has {count} intersections",
                "max_intersections",
                "Write them as one regular expression.",
                needed=count,
            )


def _plain_parts(source: str, limits: LLGuidanceLimits) -> str:
    """The grammar without what is opaque; the JSON Schemas in it are checked on the way."""
    parts: list[str] = []
    end = 0
    while (found := _OPAQUE.search(source, end)) is not None:
        parts.append(source[end : found.start()])
        end = found.end()
        if found["json"]:
            try:
                schema, end = json.JSONDecoder().raw_decode(source, end)
            except (ValueError, RecursionError):
                continue  # llguidance says what is wrong with it
            check_schema_size(schema, limits)
    return "".join([*parts, source[end:]])


def _definitions(text: str) -> dict[str, str]:
    """What each name stands for. Nested grammars may have a name in common: both count."""
    bodies: dict[str, list[str]] = {}
    _, *definitions = _DEFINITION.split(text)
    for name, body in zip(definitions[::2], definitions[1::2], strict=True):
        bodies.setdefault(name, []).append(body)
    return {name: " ".join(parts) for name, parts in bodies.items()}


class _IntersectionCounter:
    """Counts the intersections in a definition and in the terminals that it is made of."""

    def __init__(self, bodies: dict[str, str]) -> None:
        self._bodies = bodies
        self._known: dict[str, int] = {}

    def count(self, name: str) -> int:
        """The intersections that are searched at once."""
        if name not in self._known:
            self._known[name] = 0  # llguidance refuses a terminal that is made of itself
            body = self._bodies.get(name, "")
            parts = [self.count(part) for part in _TERMINAL.findall(body)]
            own = body.count("&")
            self._known[name] = own + sum(parts) if own else max(parts, default=0)
        return self._known[name]
