"""Finds schemas that apply to a value only by applying themselves to it again.

`{"anyOf": [{"$ref": "#"}, ...]}` never comes to an end of itself. JSON Schema forbids it
(https://json-schema.org/draft/2020-12/json-schema-core#section-9.4.1): no validator survives it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gemma_structured.exceptions import SchemaError
from gemma_structured.schema.dialect import children
from gemma_structured.types import pointer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gemma_structured.schema.json_schema import JsonSchema, Path
    from gemma_structured.types import JsonValue

__all__ = ["check_cycles"]

Node = dict[str, "JsonValue"]

_IN_PLACE: Final = frozenset(
    {
        "allOf",
        "anyOf",
        "dependencies",
        "dependentSchemas",
        "else",
        "if",
        "not",
        "oneOf",
        "then",
    }
)


def check_cycles(schema: JsonSchema) -> None:
    """Refuse a schema that applies itself to the same value again.

    Raises:
        SchemaError: With the path of a schema on the circle.
    """
    paths: dict[int, Path] = {
        id(node): path for path, node in schema.walk() if isinstance(node, dict)
    }
    done: set[int] = set()
    for path, start in schema.walk():
        if isinstance(start, dict) and id(start) not in done:
            circle = _circle(schema, start, paths, done)
            if circle is not None:
                raise SchemaError(
                    "This schema applies itself to the same value again, without end.",
                    path=pointer(paths.get(circle, path)),
                    hint="Recursion has to go through a property or an item.",
                )


def _circle(schema: JsonSchema, start: Node, paths: dict[int, Path], done: set[int]) -> int | None:
    """A schema that is reached again from itself, depth first; what has no circle joins `done`."""
    open_nodes = {id(start)}
    stack = [(start, _applied(schema, start, paths[id(start)]))]
    while stack:
        node, rest = stack[-1]
        below = next(rest, None)
        if below is None:
            stack.pop()
            open_nodes.discard(id(node))
            done.add(id(node))
        elif id(below) in open_nodes:
            return id(below)
        elif id(below) in paths and id(below) not in done:
            open_nodes.add(id(below))
            stack.append((below, _applied(schema, below, paths[id(below)])))
    return None


def _applied(schema: JsonSchema, node: Node, path: Path) -> Iterator[Node]:
    """The schemas that a schema applies to the very value that it is applied to."""
    ref = node.get("$ref")
    if isinstance(ref, str):
        target = schema.resolve(ref, base=path)
        if isinstance(target, dict):
            yield target
        if schema.dialect.ref_hides_siblings:
            return
    for step, child in children(node):
        if step[0] in _IN_PLACE and isinstance(child, dict):
            yield child
