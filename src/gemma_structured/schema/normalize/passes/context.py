"""What a pass may ask while it works on a node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemma_structured.schema.normalize.node import Conj, Node, Schema

__all__ = ["Context", "NodePass"]


class Context(Protocol):
    """The rest of the schema, as a pass sees it."""

    def definition(self, name: str) -> Schema:
        """The schema behind the name in a `$ref`."""
        ...

    def are_disjoint(self, one: Conj, two: Conj) -> bool:
        """Whether it is proved that no value satisfies both."""
        ...

    def complement(self, schema: Schema, node: Node, keyword: str) -> Schema:
        """What does not satisfy a schema, or more; for a keyword of a node, which is then named."""
        ...


NodePass: TypeAlias = "Callable[[Node, Context], Schema]"
"""Rewrites a node into one that admits the same values, or more and says so in `relaxed`."""
