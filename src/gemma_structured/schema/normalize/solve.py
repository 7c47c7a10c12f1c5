"""Takes conjunctions apart into alternatives: the heart of the normaliser."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from gemma_structured.schema.normalize.apart import Apart, ReturnError, circular
from gemma_structured.schema.normalize.complement import Complements
from gemma_structured.schema.normalize.disjoint import Disjointness
from gemma_structured.schema.normalize.evaluate import Evaluator
from gemma_structured.schema.normalize.node import Conj, Node, Schema
from gemma_structured.schema.normalize.shape import Shape, read_shape
from gemma_structured.schema.normalize.tidy import tidy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jsonschema import FormatChecker

    from gemma_structured.schema.normalize.limits import Limits
    from gemma_structured.schema.normalize.load import Loader
    from gemma_structured.schema.normalize.result import Residual

__all__ = ["Solver", "Vertex"]


@dataclass(slots=True, eq=False)
class Vertex:
    """A subschema of the result, as a vertex of a graph that may be cyclic.

    Attributes:
        conj: The nodes that all hold here.
        alternatives: Shapes, or vertices to go on at, one of which holds; `None` while unsolved.
        conflicts: Why alternatives fell away: keywords that contradict each other.
        relaxed: Keywords of the original schema that the alternatives do not say all of.
    """

    conj: Conj
    alternatives: tuple[Shape | Vertex, ...] | None = None
    conflicts: list[tuple[Residual, ...]] = field(default_factory=list)
    relaxed: tuple[Residual, ...] = ()


class Solver:
    """Solves vertices; it is the context that the passes work in.

    Args:
        loader: Reads definitions.
        limits: Where to relax.
        formats: What formats are asserted, for the values that the schema lists itself.
    """

    def __init__(self, loader: Loader, limits: Limits, formats: FormatChecker | None) -> None:
        self.limits = limits
        self.definition = loader.definition
        self.evaluator = Evaluator(loader.definition, formats)
        self._complements = Complements(loader.definition)
        self._disjointness = Disjointness(self.known_shapes, self.evaluator)
        self._vertices: dict[tuple[int, ...], Vertex] = {}
        self._open: set[int] = set()
        self._apart = Apart(self)

    def vertex(self, conj: Conj) -> Vertex:
        """The vertex of a conjunction: the same for the same nodes."""
        conj = tuple(schema for schema in conj if schema is not True)
        key = tuple(map(id, conj))
        if key not in self._vertices:
            made = self._vertices[key] = Vertex(conj)
            if len(self._vertices) > self.limits.vertices:
                made.alternatives = (_given_up(conj),)
        return self._vertices[key]

    def are_disjoint(self, one: Conj, two: Conj) -> bool:
        """Whether it is proved that no value satisfies both."""
        return self._disjointness.of(one, two)

    def complement(self, schema: Schema, node: Node, keyword: str) -> Schema:
        """What does not satisfy a schema, or more; the keyword of the node is named for it."""
        return self._complements.of(schema, node.origin.of(keyword))

    def opposite(self, schema: Schema, reason: Residual) -> Schema:
        """What does not satisfy a schema, or more; the reason is named for it."""
        return self._complements.of(schema, reason)

    def alternatives(self, vertex: Vertex) -> tuple[Shape | Vertex, ...]:
        """What a vertex may be.

        Raises:
            SchemaError: It refers to itself without a step into a value.
        """
        if vertex.alternatives is None:
            if id(vertex) in self._open:
                raise ReturnError
            self._open.add(id(vertex))
            try:
                vertex.alternatives = tuple(self._solve(vertex))
            finally:
                self._open.discard(id(vertex))
        return vertex.alternatives

    def shapes(self, vertex: Vertex) -> list[Shape]:
        """The shapes of a vertex, those of the vertices that it goes on at included."""
        found: list[Shape] = []
        for alternative in self.alternatives(vertex):
            found += [alternative] if isinstance(alternative, Shape) else self.shapes(alternative)
        return _mark(found, vertex.relaxed)

    def is_empty(self, conj: Conj) -> bool:
        """Whether it is already known that nothing satisfies a conjunction."""
        try:
            return False in conj or not self.shapes(self.vertex(conj))
        except ReturnError:
            return False

    def known_shapes(self, conj: Conj) -> Sequence[Shape] | None:
        """The shapes whose union a conjunction is; `None` while it is being taken apart."""
        try:
            return self.shapes(self.vertex(conj))
        except ReturnError:
            return None

    def _solve(self, vertex: Vertex) -> list[Shape | Vertex]:
        target = self._apart.target(vertex.conj)
        if target is not None:
            return [self.vertex((target,))]
        parts = self._apart.parts(vertex.conj)
        if parts is None:
            return []
        if not parts.flat and len(parts.choices) == 1:
            vertex.relaxed = tuple(parts.relaxed)
            return self._choice(parts.choices[0][1], vertex)
        base = read_shape(parts.flat[0]) if parts.flat else Shape()
        for node in parts.flat[1:]:
            base = base.meet(read_shape(node))
        (base,) = _mark([base], tuple(parts.relaxed))
        tidied = self.tidy(base, vertex.conflicts)
        found = [] if tidied is None else [tidied]
        for owner, options in sorted(parts.choices, key=lambda choice: len(choice[1])):
            found = self._distribute(found, owner, options, vertex)
        return list(found)

    def _choice(self, options: list[Schema], vertex: Vertex) -> list[Shape | Vertex]:
        """The alternatives of a choice with nothing beside it."""
        found: list[Shape | Vertex] = []
        for option in options:
            chosen = self.vertex((option,))
            if isinstance(option, Node) and option.keys() == {"$ref"}:
                found.append(chosen)
                continue
            found += self._alternatives_in(chosen, option)
            vertex.conflicts += chosen.conflicts
        return found

    def _alternatives_in(self, chosen: Vertex, owner: Schema) -> tuple[Shape | Vertex, ...]:
        try:
            return self.alternatives(chosen)
        except ReturnError:
            raise circular(owner) from None

    def _distribute(
        self, found: list[Shape], owner: Node, options: list[Schema], vertex: Vertex
    ) -> list[Shape]:
        """Each shape so far with each option; the choice is left out if that is too much."""
        combined: list[Shape] = []
        most = max(self.limits.alternatives, len(options))
        for option in options:
            try:
                shapes = self.shapes(self.vertex((option,)))
            except ReturnError:
                raise circular(owner) from None
            for shape in found:
                for one in shapes:
                    met = self.tidy(shape.meet(one), vertex.conflicts)
                    if met is not None:
                        combined.append(met)
                    if len(combined) > most:
                        return _mark(found, (owner.origin.of("anyOf"),))
        return combined

    def tidy(self, shape: Shape, conflicts: list[tuple[Residual, ...]]) -> Shape | None:
        """A shape without what it cannot be; `None` if nothing is left."""
        return tidy(shape, self, conflicts)


def _mark(shapes: list[Shape], relaxed: tuple[Residual, ...]) -> list[Shape]:
    """The shapes, with more of what they do not say."""
    return [
        replace(shape, relaxed=tuple(dict.fromkeys((*shape.relaxed, *relaxed))))
        if relaxed
        else shape
        for shape in shapes
    ]


def _given_up(conj: Conj) -> Shape:
    places = [node.origin.of(k) for node in conj if isinstance(node, Node) for k in node]
    return Shape(relaxed=tuple(dict.fromkeys(places)))
