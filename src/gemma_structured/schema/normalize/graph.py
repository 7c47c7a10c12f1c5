"""Draws up every vertex that can be reached, and finds those that nothing satisfies."""

from __future__ import annotations

from collections import deque
from math import inf
from typing import TYPE_CHECKING

from gemma_structured.schema.normalize.expand import EXPANSIONS
from gemma_structured.schema.normalize.node import Node
from gemma_structured.schema.normalize.sketch import Sketch, sketch
from gemma_structured.schema.normalize.solve import Vertex

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gemma_structured.schema.normalize.result import Residual
    from gemma_structured.schema.normalize.shape import Shape
    from gemma_structured.schema.normalize.solve import Solver

__all__ = ["Graph"]


class Graph:
    """The vertices that are reached from a root, each as its options.

    Attributes:
        root: Where it starts.
        options: By vertex, sketches and vertices to go on at, one of which holds.
        alive: The vertices that some finite value satisfies.
    """

    def __init__(self, root: Vertex, solver: Solver) -> None:
        self.root = root
        self._solver = solver
        self.options: dict[Vertex, list[Sketch | Vertex]] = {}
        pending = [root]
        while pending:
            vertex = pending.pop()
            if vertex not in self.options:
                self.options[vertex] = self._draw(vertex)
                for option in self.options[vertex]:
                    pending += [option] if isinstance(option, Vertex) else option.children()
        self.alive = self._find_alive()

    def _draw(self, vertex: Vertex) -> list[Sketch | Vertex]:
        found: list[Sketch | Vertex] = []
        for alternative in self._solver.alternatives(vertex):
            if isinstance(alternative, Vertex):
                found.append(alternative)
            else:
                found += self._sketches(alternative, vertex)
        return found

    def _sketches(self, shape: Shape, vertex: Vertex) -> list[Sketch]:
        shapes = [shape]
        for expand in EXPANSIONS:
            shapes = [one for each in shapes for one in expand(each, self._solver)]
        tidied = (self._solver.tidy(one, vertex.conflicts) for one in shapes)
        return [sketch(one, self._solver) for one in tidied if one is not None]

    def _find_alive(self) -> frozenset[Vertex]:
        """The least set of vertices that have a finite value: all others wait for one another."""
        waiting: dict[Vertex, set[Vertex]] = {}
        for vertex, options in self.options.items():
            for option in options:
                for child in [option] if isinstance(option, Vertex) else option.children():
                    waiting.setdefault(child, set()).add(vertex)
        alive: set[Vertex] = set()
        pending = list(self.options)
        while pending:
            vertex = pending.pop()
            if vertex not in alive and any(
                _lives(option, alive) for option in self.options[vertex]
            ):
                alive.add(vertex)
                pending.extend(waiting.get(vertex, ()))
        return frozenset(alive)

    def reasons(self, vertex: Vertex) -> tuple[Residual, ...]:
        """Keywords that contradict each other, so that nothing satisfies a vertex.

        Returns:
            None of them if no keywords do, and a value would have to hold another without end.
        """
        pending: deque[tuple[Vertex, tuple[Residual, ...]]] = deque([(vertex, ())])
        seen = {vertex}
        at_fault: tuple[Residual, ...] = ()
        while pending:
            one, above = pending.popleft()
            for conflict in one.conflicts:
                if conflict:
                    return conflict
            places = _places(one) or above
            options = self.options.get(one, ())
            waits = [[v for v in _awaited(o) if v not in self.alive] for o in options]
            if not at_fault and not (waits and all(waits)):
                at_fault = places
            for child in dict.fromkeys(child for wait in waits for child in wait):
                if child not in seen:
                    seen.add(child)
                    pending.append((child, places))
        return at_fault


def _places(vertex: Vertex) -> tuple[Residual, ...]:
    """Where in the original schema the keywords of a vertex stand."""
    nodes = [node for node in vertex.conj if isinstance(node, Node)]
    found = dict.fromkeys(node.origin.of(keyword) for node in nodes for keyword in node)
    return tuple(sorted(found, key=lambda place: place.keyword == "type"))


def _awaited(option: Sketch | Vertex) -> Iterator[Vertex]:
    """The vertices without a value of which an option may have none."""
    if isinstance(option, Vertex):
        yield option
        return
    required = option.object.get("required", ())
    yield from (option.properties[name] for name in required)
    if option.object.get("minProperties", 0) > len(required):
        yield from (*option.properties.values(), *option.patterns.values())
        yield from () if option.rest is None else (option.rest,)
    least = option.array.get("minItems", 0)
    yield from option.prefix[:least]
    if option.items is not None and least > len(option.prefix):
        yield option.items


def _lives(option: Sketch | Vertex, alive: set[Vertex]) -> bool:
    return option in alive if isinstance(option, Vertex) else bool(living_types(option, alive))


def living_types(option: Sketch, alive: set[Vertex] | frozenset[Vertex]) -> list[str]:
    """The types of a sketch of which there is a value; of listed values, `enum`."""
    if option.values is not None:
        return ["enum"]
    return [name for name in option.types if _has_value(option, name, alive)]


def _has_value(option: Sketch, name: str, alive: set[Vertex] | frozenset[Vertex]) -> bool:
    if name == "object":
        required = option.object.get("required", ())
        least = option.object.get("minProperties", 0)
        return all(option.properties[one] in alive for one in required) and (
            least <= len(required) or least <= _most_properties(option, alive)
        )
    if name == "array":
        least = option.array.get("minItems", 0)
        items = option.items is None or option.items in alive
        first = all(one in alive for one in option.prefix[:least])
        return first and (items or least <= len(option.prefix))
    return True


def _most_properties(option: Sketch, alive: set[Vertex] | frozenset[Vertex]) -> float:
    """How many properties an object may have."""
    if (
        option.rest is None
        or option.rest in alive
        or not alive.isdisjoint(option.patterns.values())
    ):
        return inf
    return sum(one in alive for one in option.properties.values())
