"""`dependentRequired`, `dependentSchemas`: a property is absent, or more is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemma_structured.schema.normalize.node import Node, Origin, Schema, all_of, any_of

if TYPE_CHECKING:
    from gemma_structured.schema.normalize.passes.context import Context

__all__ = ["dependents"]


def dependents(node: Node, _context: Context) -> Schema:
    """Rewrite each dependency into a choice: without the property, or with what it needs."""
    rest = node.without("dependentRequired", "dependentSchemas")
    origin = Origin(node.origin.pointer, node.origin.keyword or "dependentRequired")
    conditions: list[Schema] = []
    for name, needed in node.get("dependentRequired", {}).items():
        if set(needed) - {name}:
            present = Node({"required": [name, *needed]}, origin)
            conditions.append(any_of([present, _absent(name, origin)], origin))
    origin = Origin(node.origin.pointer, node.origin.keyword or "dependentSchemas")
    for name, schema in node.get("dependentSchemas", {}).items():
        if schema is not True:
            held = all_of([Node({"required": [name]}, origin), schema], origin)
            conditions.append(any_of([held, _absent(name, origin)], origin))
    return rest.with_conditions(*conditions) if conditions else rest


def _absent(name: str, origin: Origin) -> Node:
    return Node({"properties": {name: False}}, origin)
