"""The complement of a schema: exact, or more than it and marked so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gemma_structured.schema.normalize.failing import FAILING, Failure
from gemma_structured.schema.normalize.node import Node, Origin, Schema, all_of, any_of
from gemma_structured.schema.normalize.kinds import ALL_TYPES, atoms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gemma_structured.schema.normalize.result import Residual

__all__ = ["Complements"]

_PAIRS: Final = 28


class Complements:
    """Complements of schemas, each made once, so that recursion ends.

    Children are wrapped in `not` and taken apart when they are reached.

    Args:
        definition: The schema behind the name in a `$ref`.
    """

    def __init__(self, definition: Callable[[str], Schema]) -> None:
        self._definition = definition
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

    def _not(self, argument: Schema, _node: Node, _reason: Residual) -> Iterator[Schema]:
        yield argument

    def _ref(self, argument: str, _node: Node, reason: Residual) -> Iterator[Schema]:
        yield Node({"not": self._definition(argument)}, Origin(*reason))

    def _all_of(self, argument: list[Schema], _node: Node, reason: Residual) -> Iterator[Schema]:
        for one in argument:
            yield self.of(one, reason)

    def _any_of(self, argument: list[Schema], _node: Node, reason: Residual) -> Iterator[Schema]:
        yield all_of([self.of(one, reason) for one in argument], Origin(*reason))

    def _one_of(self, argument: list[Schema], _node: Node, reason: Residual) -> Iterator[Schema]:
        """None of the options, or two of them."""
        yield from self._any_of(argument, _node, reason)
        pairs = [(a, b) for i, a in enumerate(argument) for b in argument[:i]]
        if len(pairs) > _PAIRS:
            yield Node({}, Origin(*reason), (reason,))
        else:
            for pair in pairs:
                yield all_of(pair, Origin(*reason))

    def _if(self, argument: Schema, node: Node, reason: Residual) -> Iterator[Schema]:
        origin = Origin(*reason)
        yield all_of([argument, self.of(node.get("then", True), reason)], origin)
        yield all_of([self.of(argument, reason), self.of(node.get("else", True), reason)], origin)

    def _dependent_schemas(
        self, argument: dict[str, Schema], _node: Node, reason: Residual
    ) -> Iterator[Schema]:
        origin = Origin(*reason)
        for name, schema in argument.items():
            present = Node({"type": ("object",), "required": [name]}, origin)
            yield all_of([present, self.of(schema, reason)], origin)

    def _enum(self, _argument: list[Any], node: Node, reason: Residual) -> Iterator[Schema]:
        literal = Node({"enum": node["enum"]}, node.origin)
        yield Node({"not": literal}, Origin(*reason))

    def _pattern(self, _argument: str, node: Node, reason: Residual) -> Iterator[Schema]:
        literal = Node({"pattern": node["pattern"]}, node.origin)
        yield Node({"type": ("string",), "not": literal}, Origin(*reason))

    def _unknown(self, _argument: object, _node: Node, reason: Residual) -> Iterator[Schema]:
        yield Node({}, Origin(*reason), (reason,))


_COMBINED: Final[dict[str, Callable[[Complements, Any, Node, Residual], Iterator[Schema]]]] = {
    "not": Complements._not,  # noqa: SLF001 - a table of this class's own methods
    "$ref": Complements._ref,  # noqa: SLF001
    "allOf": Complements._all_of,  # noqa: SLF001
    "anyOf": Complements._any_of,  # noqa: SLF001
    "oneOf": Complements._one_of,  # noqa: SLF001
    "if": Complements._if,  # noqa: SLF001
    "dependentSchemas": Complements._dependent_schemas,  # noqa: SLF001
    "enum": Complements._enum,  # noqa: SLF001
    "pattern": Complements._pattern,  # noqa: SLF001
}
