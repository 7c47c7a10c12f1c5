"""Takes conjunctions apart into alternatives: the heart of the normaliser."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from gemma_structured.exceptions import SchemaError
from gemma_structured.schema.normalize.complement import Complements
from gemma_structured.schema.normalize.disjoint import Disjointness
from gemma_structured.schema.normalize.evaluate import Evaluator
from gemma_structured.schema.normalize.node import Conj, Node, Schema
from gemma_structured.schema.normalize.passes import NODE_PASSES
from gemma_structured.schema.normalize.shape import Shape, read_shape
from gemma_structured.schema.normalize.tidy import tidy

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jsonschema import FormatChecker

    from gemma_structured.schema.normalize.limits import Limits
    from gemma_structured.schema.normalize.load import Loader
    from gemma_structured.schema.normalize.result import Residual

__all__ = ["Solver", "Vertex"]

_COMBINING: Final = frozenset({"allOf", "anyOf", "$ref"})


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


class _ReturnError(Exception):
    """A subschema is asked for while it is being taken apart."""


@dataclass(slots=True)
class _Parts:
    """A conjunction taken apart: nodes of plain keywords, and the choices beside them."""

    flat: list[Node] = field(default_factory=list)
    relaxed: list[Residual] = field(default_factory=list)
    choices: list[tuple[Node, list[Schema]]] = field(default_factory=list)


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
        self._plain: dict[int, tuple[Node, Schema]] = {}
        self._flat: dict[int, tuple[Node, Node]] = {}

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
                raise _ReturnError
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
        except _ReturnError:
            return False

    def known_shapes(self, conj: Conj) -> Sequence[Shape] | None:
        """The shapes whose union a conjunction is; `None` while it is being taken apart."""
        try:
            return self.shapes(self.vertex(conj))
        except _ReturnError:
            return None

    def _solve(self, vertex: Vertex) -> list[Shape | Vertex]:
        target = self._target(vertex.conj)
        if target is not None:
            return [self.vertex((target,))]
        parts = _Parts()
        if not self._take_apart(vertex.conj, parts):
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

    def _target(self, conj: Conj) -> Schema | None:
        """Where a lone reference leads."""
        seen: set[str] = set()
        schema: Schema = conj[0] if len(conj) == 1 else True
        while isinstance(schema, Node) and schema.keys() == {"$ref"}:
            if schema["$ref"] in seen:
                raise _circular(schema)
            seen.add(schema["$ref"])
            schema = self.definition(schema["$ref"])
        return schema if seen else None

    def _take_apart(self, conj: Conj, parts: _Parts) -> bool:
        """Gather the parts of a conjunction; false if nothing satisfies it."""
        pending: list[tuple[Schema, tuple[str, ...]]] = [(schema, ()) for schema in reversed(conj)]
        seen: set[int] = set()
        while pending:
            given, chain = pending.pop()
            schema = self._without_logic(given) if isinstance(given, Node) else given
            if schema is False:
                return False
            if schema is True or id(schema) in seen:
                continue
            seen.add(id(schema))
            parts.relaxed += schema.relaxed
            inner: list[tuple[Schema, tuple[str, ...]]] = []
            for step in self._steps(schema):
                if isinstance(step, str):
                    if step in chain:
                        raise _circular(schema)
                    inner.append((self.definition(step), (*chain, step)))
                elif isinstance(step, list):
                    parts.choices.append((schema, step))
                elif step is self._flat.get(id(schema), (None, None))[1]:
                    parts.flat.append(step)
                else:
                    inner.append((step, chain))
            pending.extend(reversed(inner))
        return True

    def _steps(self, node: Node) -> Iterator[Schema | str | list[Schema]]:
        """Its plain keywords as one node, its conditions, references and choices, as they are written."""
        told = False
        for keyword, argument in node.items():
            if keyword == "allOf":
                yield from argument
            elif keyword in _COMBINING:
                yield argument
            elif not told:
                told = True
                yield self._flat_part(node)

    def _flat_part(self, node: Node) -> Node:
        if id(node) not in self._flat:
            combining = not _COMBINING.isdisjoint(node)
            self._flat[id(node)] = (node, node.without(*_COMBINING) if combining else node)
        return self._flat[id(node)][1]

    def _without_logic(self, node: Node) -> Schema:
        """The node after the passes: only plain keywords, and conditions, choices and references."""
        if id(node) not in self._plain:
            if id(node) in self._open:
                raise _ReturnError
            self._open.add(id(node))
            try:
                self._plain[id(node)] = (node, self._rewritten(node))
            finally:
                self._open.discard(id(node))
        return self._plain[id(node)][1]

    def _rewritten(self, node: Node) -> Schema:
        schema: Schema = node
        for keywords, rewrite in NODE_PASSES:
            if isinstance(schema, Node) and not keywords.isdisjoint(schema):
                schema = rewrite(schema, self)
        return schema

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
        except _ReturnError:
            raise _circular(owner) from None

    def _distribute(
        self, found: list[Shape], owner: Node, options: list[Schema], vertex: Vertex
    ) -> list[Shape]:
        """Each shape so far with each option; the choice is left out if that is too much."""
        combined: list[Shape] = []
        most = max(self.limits.alternatives, len(options))
        for option in options:
            try:
                shapes = self.shapes(self.vertex((option,)))
            except _ReturnError:
                raise _circular(owner) from None
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


def _circular(schema: Schema) -> SchemaError:
    return SchemaError(
        "It refers to itself without a step into a value, so that it says nothing.",
        path=schema.origin.pointer if isinstance(schema, Node) else "",
        keyword="$ref",
        hint="Break the circle of references.",
    )
