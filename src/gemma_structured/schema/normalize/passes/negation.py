"""`not`: pushed down to single keywords, where it turns into other keywords."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemma_structured.schema.normalize.node import Node

if TYPE_CHECKING:
    from gemma_structured.schema.normalize.node import Schema
    from gemma_structured.schema.normalize.passes.context import Context

__all__ = ["is_literal", "negation"]


def is_literal(node: Node) -> bool:
    """Whether a node's `not` is one that a shape can hold as it is.

    Of a pattern it is only beside the type of strings: whatever is no string matches every pattern.
    """
    refused = node["not"]
    if not isinstance(refused, Node) or len(refused) != 1:
        return False
    return "enum" in refused or ("pattern" in refused and node.get("type") == ("string",))


def negation(node: Node, context: Context) -> Schema:
    """Rewrite `not` into what its schema's complement says."""
    if is_literal(node):
        return node
    return node.without("not").with_conditions(context.complement(node["not"], node, "not"))
