"""Keywords of this package that no grammar of JSON can enforce."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gemma_structured.schema.normalize.node import Node, Schema

if TYPE_CHECKING:
    from gemma_structured.schema.normalize.passes.context import Context

__all__ = ["MARKS", "marks"]

MARKS: Final = frozenset({"x-gemma-lark", "x-gemma-code"})


def marks(node: Node, _context: Context) -> Schema:
    """Leave a Lark grammar on a string, or the language of its code, to validation."""
    found = [node.origin.of(keyword) for keyword in sorted(MARKS) if keyword in node]
    return Node(node.without(*MARKS), node.origin, (*node.relaxed, *found))
