"""`unevaluatedProperties` and `unevaluatedItems`: what no schema in place has looked at."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Final

from gemma_structured.schema.normalize.node import Node, Origin, Schema, all_of, any_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gemma_structured.schema.normalize.passes.context import Context

__all__ = ["unevaluated"]

_MAX_CASES: Final = 64
_MAX_SUBSETS: Final = 4
_MAX_DEPTH: Final = 40


class _UnknownError(Exception):
    """What has been evaluated cannot be told, or in too many ways."""


@dataclass(frozen=True, slots=True)
class _Case:
    """One way in which the schemas in place may hold.

    Attributes:
        conditions: What holds in this case, beyond what always does.
        names: The properties that are evaluated then, by name and by pattern.
        items: How many first items are; `None` if all are.
        all_properties: Whether every property is.
        some_items: Whether `contains` evaluates some items more.
    """

    conditions: tuple[Schema, ...] = ()
    names: frozenset[str] = frozenset()
    patterns: frozenset[str] = frozenset()
    items: int | None = 0
    all_properties: bool = False
    some_items: bool = False

    def and_(self, other: _Case) -> _Case:
        items = None if self.items is None or other.items is None else max(self.items, other.items)
        return _Case(
            (*self.conditions, *other.conditions),
            self.names | other.names,
            self.patterns | other.patterns,
            items,
            self.all_properties or other.all_properties,
            self.some_items or other.some_items,
        )


def unevaluated(node: Node, context: Context) -> Schema:
    """Rewrite into `additionalProperties` and `items`, case by case.

    A case is a set of subschemas (of `anyOf`, `oneOf`, `if`, `dependentSchemas`) that hold
    together. Where there are too many cases, or `contains` evaluates items, the keyword is left to
    validation.
    """
    rest = node.without("unevaluatedProperties", "unevaluatedItems")
    origin = Origin(node.origin.pointer, node.origin.keyword)
    lost = tuple(node.origin.of(k) for k in node if k.startswith("unevaluated"))
    try:
        cases = [_closed(case, node, origin) for case in _cases(rest, context, 0)]
    except _UnknownError:
        return Node(rest, rest.origin, (*rest.relaxed, *lost))
    return rest.with_conditions(any_of(cases, origin))


def _closed(case: _Case, node: Node, origin: Origin) -> Schema:
    """What holds in a case, and that nothing else is there (or is as `unevaluated…` says)."""
    conditions = list(case.conditions)
    if not case.all_properties and node.get("unevaluatedProperties", True) is not True:
        kind = Origin(origin.pointer, origin.keyword or "unevaluatedProperties")
        keywords = {
            "properties": dict.fromkeys(sorted(case.names), True),
            "patternProperties": dict.fromkeys(sorted(case.patterns), True),
            "additionalProperties": node["unevaluatedProperties"],
        }
        conditions.append(Node(keywords, kind))
    if case.items is not None and node.get("unevaluatedItems", True) is not True:
        if case.some_items:
            raise _UnknownError
        kind = Origin(origin.pointer, origin.keyword or "unevaluatedItems")
        keywords = {"prefixItems": [True] * case.items, "items": node["unevaluatedItems"]}
        conditions.append(Node(keywords, kind))
    return all_of(conditions, origin)


def _cases(schema: Schema, context: Context, depth: int) -> Iterator[_Case]:
    """The ways in which a schema may hold, each with what it then evaluates."""
    if depth > _MAX_DEPTH:
        raise _UnknownError
    if isinstance(schema, bool):
        if schema:
            yield _Case()
        return
    found = [_own(schema)]
    for group in _groups(schema, context, depth):
        choices = list(group)
        found = [case.and_(choice) for case in found for choice in choices]
        if len(found) > _MAX_CASES:
            raise _UnknownError
    yield from found


def _own(node: Node) -> _Case:
    """What a node's own keywords evaluate."""
    every = "additionalProperties" in node or "unevaluatedProperties" in node
    all_items = "items" in node or "unevaluatedItems" in node
    return _Case(
        (),
        frozenset(node.get("properties", ())),
        frozenset(node.get("patternProperties", ())),
        None if all_items else len(node.get("prefixItems", ())),
        every,
        node.get("contains", False) is not False,
    )


def _groups(node: Node, context: Context, depth: int) -> Iterator[Iterable[_Case]]:
    """For each combining keyword, the cases among which it chooses."""
    if "$ref" in node:
        yield _cases(context.definition(node["$ref"]), context, depth + 1)
    for one in node.get("allOf", ()):
        yield _cases(one, context, depth + 1)
    if "anyOf" in node:
        yield _subsets(node["anyOf"], node, context, depth)
    if "oneOf" in node:
        yield (c for one in node["oneOf"] for c in _given(one, context, depth))
    if "if" in node:
        yield _conditional(node, context, depth)
    for name, schema in node.get("dependentSchemas", {}).items():
        present = Node({"type": ("object",), "required": [name]}, node.origin)
        absent = Node({"properties": {name: False}}, node.origin)
        held = [case.and_(_Case((present,))) for case in _cases(schema, context, depth + 1)]
        yield [_Case((absent,)), *held]


def _given(schema: Schema, context: Context, depth: int) -> Iterator[_Case]:
    """The cases of a schema, with itself as a condition."""
    for case in _cases(schema, context, depth + 1):
        yield case.and_(_Case((schema,)))


def _subsets(options: list[Schema], node: Node, context: Context, depth: int) -> Iterator[_Case]:
    """The cases of `anyOf`: every set of options that may hold together."""
    given = [list(_given(option, context, depth)) for option in options]
    tells = [any(_tells(case) for case in cases) for cases in given]
    telling = [cases for cases, tell in zip(given, tells, strict=True) if tell]
    silent = [option for option, tell in zip(options, tells, strict=True) if not tell]
    if len(telling) > _MAX_SUBSETS:
        raise _UnknownError
    if silent:
        yield _Case((any_of(silent, node.origin),))
    for size in range(1, len(telling) + 1):
        for chosen in combinations(telling, size):
            merged = [_Case()]
            for cases in chosen:
                merged = [one.and_(case) for one in merged for case in cases]
            yield from merged


def _tells(case: _Case) -> bool:
    return bool(
        case.names or case.patterns or case.items != 0 or case.all_properties or case.some_items
    )


def _conditional(node: Node, context: Context, depth: int) -> Iterator[_Case]:
    for case in _given(node["if"], context, depth):
        for then in _cases(node.get("then", True), context, depth + 1):
            yield case.and_(then)
    refused = _Case((context.complement(node["if"], node, "if"),))
    for otherwise in _cases(node.get("else", True), context, depth + 1):
        yield refused.and_(otherwise)
