"""Writes a graph as one JSON Schema: what is shared or recursive as definitions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gemma_structured.schema.normalize.graph import living_types
from gemma_structured.schema.normalize.node import Node
from gemma_structured.schema.normalize.solve import Vertex
from gemma_structured.schema.normalize.values import value_keywords

if TYPE_CHECKING:
    from gemma_structured.schema.normalize.graph import Graph
    from gemma_structured.schema.normalize.result import Residual
    from gemma_structured.schema.normalize.sketch import Sketch

__all__ = ["Emitter"]

_ALL: Final = ["null", "boolean", "number", "string", "array", "object"]
_LARGE_ENUM: Final = 8
_MAX_DEPTH: Final = 16
"""Levels of subschemas in one another; what is deeper becomes a definition. Engines recurse."""


class Emitter:
    """Writes a graph.

    Attributes:
        relaxed: The keywords that the schema does not say all of, in the order met.
        size: How many schema objects were written.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._names: dict[Vertex, str] = {}
        self._definitions: dict[str, Any] = {}
        self.relaxed: dict[Residual, None] = {}
        self.size = 0
        self._shared = set(_shared(graph))
        self._depth = 0

    def schema(self) -> dict[str, Any] | bool:
        """The whole schema."""
        root = self._child(self._graph.root)
        while len(self._definitions) < len(self._names):
            for vertex, name in list(self._names.items()):
                if name not in self._definitions:
                    self._definitions[name] = self._vertex(vertex)
        if isinstance(root, bool) or not self._definitions:
            return root
        return {**root, "$defs": self._definitions}

    def _child(self, vertex: Vertex) -> dict[str, Any] | bool:
        if vertex not in self._graph.alive:
            return False
        options = self._graph.options[vertex]
        if len(options) == 1 and isinstance(options[0], Vertex) and vertex not in self._shared:
            self.relaxed.update(dict.fromkeys(vertex.relaxed))
            return self._child(options[0])
        if vertex in self._shared:
            return {"$ref": f"#/$defs/{self._name(vertex)}"}
        if self._depth >= _MAX_DEPTH and _large(self._graph, vertex):
            self._shared.add(vertex)
            return self._child(vertex)
        self._depth += 1
        try:
            return self._vertex(vertex)
        finally:
            self._depth -= 1

    def _name(self, vertex: Vertex) -> str:
        if vertex not in self._names:
            nodes = [node for node in vertex.conj if isinstance(node, Node)]
            tail = nodes[0].origin.pointer.rpartition("/")[2] if nodes else ""
            base = "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "_" for c in tail)
            name, number = base or "root", 2
            while name in self._names.values():
                name, number = f"{base or 'root'}_{number}", number + 1
            self._names[vertex] = name
        return self._names[vertex]

    def _vertex(self, vertex: Vertex) -> dict[str, Any] | bool:
        self.relaxed.update(dict.fromkeys(vertex.relaxed))
        options: list[dict[str, Any]] = []
        for option in self._graph.options[vertex]:
            written = self._child(option) if isinstance(option, Vertex) else self._sketch(option)
            if written is True:
                return True
            if written is not False and written not in options:
                options.append(written)
        if not options:
            return False
        return options[0] if len(options) == 1 else {"anyOf": options}

    def _sketch(self, option: Sketch) -> dict[str, Any] | bool:
        types = living_types(option, self._graph.alive)
        if not types:
            return False
        self.size += 1
        self.relaxed.update(dict.fromkeys(option.relaxed))
        if option.values is not None:
            keywords, exact = value_keywords(option.values)
            if not exact:
                self.relaxed.update(dict.fromkeys(option.shape.relax("enum").relaxed))
            return keywords
        schema: dict[str, Any] = {}
        if types != _ALL:
            schema["type"] = types[0] if len(types) == 1 else types
        schema |= option.scalars
        if "array" in types:
            self._array(option, schema)
        if "object" in types:
            self._object(option, schema)
        return schema or True

    def _array(self, option: Sketch, schema: dict[str, Any]) -> None:
        schema |= option.array
        prefix = option.prefix
        dead = next((i for i, one in enumerate(prefix) if one not in self._graph.alive), None)
        if dead is not None:
            prefix = prefix[:dead]
            schema["maxItems"] = min(dead, schema.get("maxItems", dead))
        if prefix:
            schema["prefixItems"] = [self._child(one) for one in prefix]
        if option.items is not None and dead is None:
            items = self._child(option.items)
            if items is not True:
                schema["items"] = items

    def _object(self, option: Sketch, schema: dict[str, Any]) -> None:
        if option.properties:
            schema["properties"] = {n: self._child(one) for n, one in option.properties.items()}
        if option.patterns:
            schema["patternProperties"] = {p: self._child(v) for p, v in option.patterns.items()}
        if option.rest is not None:
            rest = self._child(option.rest)
            if rest is not True:
                schema["additionalProperties"] = rest
        schema |= option.object


def _shared(graph: Graph) -> frozenset[Vertex]:
    """The vertices that become definitions: recursive ones, and large ones that are met twice."""
    uses: dict[Vertex, int] = {}
    for vertex, options in graph.options.items():
        if vertex in graph.alive:
            for option in options:
                for child in [option] if isinstance(option, Vertex) else option.children():
                    uses[child] = uses.get(child, 0) + 1
    large = {v for v, count in uses.items() if count > 1 and v in graph.alive and _large(graph, v)}
    return frozenset(large | _recursive(graph))


def _large(graph: Graph, vertex: Vertex) -> bool:
    options = graph.options[vertex]
    if len(options) != 1:
        return True
    (option,) = options
    if isinstance(option, Vertex):
        return False
    listed = option.values is not None and len(option.values) > _LARGE_ENUM
    return listed or "pattern" in option.scalars or any(True for _ in option.children())


def _recursive(graph: Graph) -> set[Vertex]:
    """The vertices to which an edge leads back from below."""
    found: set[Vertex] = set()
    done: set[Vertex] = set()
    path: set[Vertex] = set()
    stack: list[tuple[Vertex, bool]] = [(graph.root, False)]
    while stack:
        vertex, leaving = stack.pop()
        if leaving:
            path.discard(vertex)
            done.add(vertex)
            continue
        if vertex in path:
            found.add(vertex)
            continue
        if vertex in done or vertex not in graph.alive:
            continue
        path.add(vertex)
        stack.append((vertex, True))
        for option in graph.options[vertex]:
            children = [option] if isinstance(option, Vertex) else option.children()
            stack.extend((child, False) for child in children)
    return found
