"""Where in a schema its residual keywords stand: at which values there is something to check."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final, cast

from referencing.exceptions import Unresolvable

from gemma_structured.schema.residual.applied import applied, changes_draft

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from jsonschema.protocols import Validator

    from gemma_structured.schema.dialect import Dialect
    from gemma_structured.types import JsonValue

__all__ = ["MAX_BRANCHES", "Places"]

_MEMBERS: Final = frozenset(
    {
        "additionalItems",
        "additionalProperties",
        "items",
        "patternProperties",
        "prefixItems",
        "properties",
    }
)
_IN_PLACE: Final = frozenset({"$ref", "allOf", "anyOf", "oneOf"})
_FOLLOWED: Final = _MEMBERS | _IN_PLACE
_DYNAMIC: Final = ("$dynamicRef", "$recursiveRef")

MAX_BRANCHES: Final = 64
"""More alternatives than these are not followed; the value that they are of is checked whole."""


class Places:
    """Which subschemas have something to check, of a value itself or of one in it.

    A keyword that speaks of the members of its value in a way that only the whole decides
    (`contains`, `not`, `if`) has to be checked at that value, as have those below it. `uniqueItems`
    is checked item by item, and the value need not be waited for.

    Args:
        root: The validator of the whole schema.
        dialect: Its draft.
        residual: The residual keywords: JSON Pointers into the schema, and keywords.
    """

    def __init__(
        self, root: Validator, dialect: Dialect, residual: Iterable[tuple[str, str]]
    ) -> None:
        self._kept: dict[int, JsonValue] = {}  # so that no other object can get one of the ids
        self._in_place: dict[int, list[int]] = defaultdict(list)
        self._whole: dict[int, list[int]] = defaultdict(list)
        self._parents: dict[int, list[int]] = defaultdict(list)
        self._draw(root, dialect)
        found = self._find(root, residual)
        self._everywhere = found is None
        keywords = found or {}
        dynamic = self._dynamic()
        self._below = _spread({*keywords, *dynamic}, self._parents)
        here = {holder for holder, held in keywords.items() if held != {"uniqueItems"}} | dynamic
        here |= {parent for child in self._below for parent in self._whole[child]}
        self._here = _spread(here, self._in_place)

    def here(self, schema: JsonValue) -> bool:
        """Whether a value that a schema applies to is to be checked against it once it closes."""
        return schema is False or self._everywhere or id(schema) in self._here

    def below(self, schema: JsonValue) -> bool:
        """Whether such a value, or one in it, is to be checked."""
        return self._everywhere or id(schema) in self._below

    def _draw(self, root: Validator, dialect: Dialect) -> None:
        """Find every subschema that is reached, and by whom it is applied."""
        pending = [root]
        while pending:
            validator = pending.pop()
            node = cast("JsonValue", validator.schema)
            if not isinstance(node, dict) or id(node) in self._kept:
                continue
            self._kept[id(node)] = node
            foreign = changes_draft(validator, dialect)
            for keyword, child in applied(validator, dialect):
                target = id(child.schema)
                self._parents[target].append(id(node))
                if keyword in _IN_PLACE and not foreign:
                    self._in_place[target].append(id(node))
                if foreign or keyword not in _FOLLOWED or _count(node, keyword) > MAX_BRANCHES:
                    self._whole[target].append(id(node))
                pending.append(child)

    def _dynamic(self) -> set[int]:
        """Those with a reference that may lead anywhere."""
        return {
            key
            for key, node in self._kept.items()
            if isinstance(node, dict) and any(keyword in node for keyword in _DYNAMIC)
        }

    def _find(
        self, root: Validator, residual: Iterable[tuple[str, str]]
    ) -> dict[int, set[str]] | None:
        """The subschemas that hold residual keywords, and which; `None` if one is not found."""
        found: dict[int, set[str]] = {}
        for pointer, keyword in residual:
            node = _look_up(root, pointer)
            if id(node) not in self._kept:
                return None
            found.setdefault(id(node), set()).add(keyword)
        return found


def _count(node: dict[str, JsonValue], keyword: str) -> int:
    """How many alternatives a keyword has."""
    options = node.get(keyword) if keyword in {"anyOf", "oneOf"} else None
    return len(options) if isinstance(options, list) else 0


def _look_up(root: Validator, pointer: str) -> JsonValue:
    """What a pointer of a residual keyword leads to; `None` if that cannot be told."""
    if pointer and not pointer.startswith("/"):
        try:
            return cast("Any", root)._resolver.lookup(pointer).contents  # type: ignore[no-any-return]  # noqa: SLF001
        except (Unresolvable, ValueError):
            return None
    found = cast("JsonValue", root.schema)
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(found, dict) and name in found:
            found = found[name]
        elif isinstance(found, list) and name.isdecimal() and int(name) < len(found):
            found = found[int(name)]
        else:
            return None
    return found


def _spread(sources: set[int], parents: Mapping[int, list[int]]) -> set[int]:
    """All that leads to one of the sources."""
    found, pending = set(sources), list(sources)
    while pending:
        for parent in parents.get(pending.pop(), ()):
            if parent not in found:
                found.add(parent)
                pending.append(parent)
    return found
