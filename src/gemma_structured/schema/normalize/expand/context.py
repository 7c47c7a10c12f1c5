"""What an expansion may ask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gemma_structured.schema.normalize.evaluate import Evaluator
    from gemma_structured.schema.normalize.limits import Limits
    from gemma_structured.schema.normalize.node import Conj, Schema
    from gemma_structured.schema.normalize.result import Residual
    from gemma_structured.schema.normalize.shape import Shape
    from gemma_structured.schema.normalize.solve import Vertex

__all__ = ["Expansion", "Surroundings"]


class Surroundings(Protocol):
    """The rest of the schema, as an expansion sees it."""

    @property
    def limits(self) -> Limits:
        """Where to relax."""
        ...

    @property
    def evaluator(self) -> Evaluator:
        """Tells whether a value satisfies a node."""
        ...

    def vertex(self, conj: Conj) -> Vertex:
        """The vertex of a conjunction."""
        ...

    def are_disjoint(self, one: Conj, two: Conj) -> bool:
        """Whether it is proved that no value satisfies both."""
        ...

    def known_shapes(self, conj: Conj) -> Sequence[Shape] | None:
        """The shapes whose union a conjunction is; `None` where they are not known."""
        ...

    def opposite(self, schema: Schema, reason: Residual) -> Schema:
        """What does not satisfy a schema, or more, and then the reason is named."""
        ...


Expansion: TypeAlias = "Callable[[Shape, Surroundings], list[Shape]]"
"""Rewrites a shape into shapes whose union it is, or more, and says so in `relaxed`."""
