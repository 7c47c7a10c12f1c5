"""`not`: pushed down to single keywords, where it turns into other keywords."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gemma_structured.schema.normalize.node import Node

if TYPE_CHECKING:
    from gemma_structured.schema.normalize.node import Schema
    from gemma_structured.schema.normalize.passes.context import Context

__all__ = ["is_literal", "negation"]

_LITERALS: Final = frozenset({"pattern", "enum"})


def is_literal(schema: Schema) -> bool:
    """Whether a schema is a single keyword whose negation a shape can hold as it is."""
    return isinstance(schema, Node) and len(schema) == 1 and not _LITERALS.isdisjoint(schema)


def negation(node: Node, context: Context) -> Schema:
    """Rewrite `not` into what its schema's complement says."""
    if is_literal(node["not"]):
        return node
    return node.without("not").with_conditions(context.complement(node["not"], node, "not"))
