"""`if`, `then` and `else`: a choice between two conjunctions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemma_structured.schema.normalize.node import Origin, all_of, any_of

if TYPE_CHECKING:
    from gemma_structured.schema.normalize.node import Node, Schema
    from gemma_structured.schema.normalize.passes.context import Context

__all__ = ["conditionals"]


def conditionals(node: Node, context: Context) -> Schema:
    """Rewrite `if` S `then` T `else` E into (S and T) or (not S and E).

    `then` and `else` without `if` say nothing, nor does `if` without them.
    """
    rest = node.without("if", "then", "else")
    condition = node.get("if", True)
    then, otherwise = node.get("then", True), node.get("else", True)
    if "if" not in node or (then is True and otherwise is True):
        return rest
    origin = Origin(node.origin.pointer, node.origin.keyword or "if")
    refused = context.complement(condition, node, "if")
    met = all_of([condition, then], origin)
    unmet = all_of([refused, otherwise], origin)
    return rest.with_conditions(any_of([met, unmet], origin))
