"""The complement of a schema: exact, or more than it and marked so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gemma_structured.schema.normalize.failing import FAILING, Failure
from gemma_structured.schema.normalize.kinds import ALL_TYPES, atoms
from gemma_structured.schema.normalize.node import Node, Origin, Schema, all_of, any_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gemma_structured.schema.normalize.result import Residual

__all__ = ["Complements"]

_MAX_PAIRS: Final = 28


class Complements:
    """Complements of schemas, each made once, so that recursion ends.

    Children are wrapped in `not` and taken apart when they are reached.

    Args:
        definition: The schema behind the name in a `$ref`.
    """

    def __init__(self, definition: Callable[[str], Schema]) -> None:
        self.definition = definition
        self._made: dict[tuple[int, Residual], Schema] = {}
        self._kept: list[Schema] = []

    def of(self, schema: Schema, reason: Residual) -> Schema:
        """What does not satisfy a schema.

        Args:
            schema: The schema.
            reason: The keyword of the original schema that asks for it, named where it is inexact.
        """
        if isinstance(schema, bool):
            return not schema
        if schema.relaxed:  # the complement of more than the schema would be too little
            return Node({}, Origin(*reason), (reason,))
        key = (id(schema), reason)
        if key not in self._made:
            self._kept.append(schema)  # so that its identity is not given to another
            self._made[key] = any_of(self._options(schema, reason), Origin(*reason))
        return self._made[key]

    def _options(self, node: Node, reason: Residual) -> Iterator[Schema]:
        """For each keyword, what fails it."""
        origin = Origin(*reason)
        types = atoms(node["type"]) if "type" in node else ALL_TYPES
        if types != ALL_TYPES:
            yield Node({"type": tuple(sorted(ALL_TYPES - types))}, origin)
        for keyword, argument in node.items():
            combined = _COMBINED.get(keyword)
            if combined is not None:
                yield from combined(self, argument, node, reason)
                continue
            if keyword in FAILING:
                owner, failing = FAILING[keyword]
                if types & atoms((owner,)):
                    yield from failing(argument, node, Failure(owner, reason))


def _not(_c: Complements, argument: Schema, _n: Node, _reason: Residual) -> Iterator[Schema]:
    yield argument


def _ref(made: Complements, argument: str, _n: Node, reason: Residual) -> Iterator[Schema]:
    yield Node({"not": made.definition(argument)}, Origin(*reason))


def _all_of(
    made: Complements, argument: list[Schema], _n: Node, reason: Residual
) -> Iterator[Schema]:
    for one in argument:
        yield made.of(one, reason)


def _any_of(
    made: Complements, argument: list[Schema], _n: Node, reason: Residual
) -> Iterator[Schema]:
    yield all_of([made.of(one, reason) for one in argument], Origin(*reason))


def _one_of(
    made: Complements, argument: list[Schema], node: Node, reason: Residual
) -> Iterator[Schema]:
    """None of the options, or two of them."""
    yield from _any_of(made, argument, node, reason)
    pairs = [(one, two) for i, one in enumerate(argument) for two in argument[:i]]
    if len(pairs) > _MAX_PAIRS:
        yield Node({}, Origin(*reason), (reason,))
    else:
        for pair in pairs:
            yield all_of(pair, Origin(*reason))


def _if(made: Complements, argument: Schema, node: Node, reason: Residual) -> Iterator[Schema]:
    origin = Origin(*reason)
    yield all_of([argument, made.of(node.get("then", True), reason)], origin)
    yield all_of([made.of(argument, reason), made.of(node.get("else", True), reason)], origin)


def _dependent_schemas(
    made: Complements, argument: dict[str, Schema], _n: Node, reason: Residual
) -> Iterator[Schema]:
    origin = Origin(*reason)
    for name, schema in argument.items():
        present = Node({"type": ("object",), "required": [name]}, origin)
        yield all_of([present, made.of(schema, reason)], origin)


def _enum(_c: Complements, argument: list[Any], node: Node, reason: Residual) -> Iterator[Schema]:
    yield Node({"not": Node({"enum": argument}, node.origin)}, Origin(*reason))


def _pattern(_c: Complements, argument: str, node: Node, reason: Residual) -> Iterator[Schema]:
    literal = Node({"pattern": argument}, node.origin)
    yield Node({"type": ("string",), "not": literal}, Origin(*reason))


_COMBINED: Final[dict[str, Callable[[Complements, Any, Node, Residual], Iterator[Schema]]]] = {
    "not": _not,
    "$ref": _ref,
    "allOf": _all_of,
    "anyOf": _any_of,
    "oneOf": _one_of,
    "if": _if,
    "dependentSchemas": _dependent_schemas,
    "enum": _enum,
    "pattern": _pattern,
}
