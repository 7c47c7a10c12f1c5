"""Keywords of this package that no grammar of JSON can enforce."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemma_structured.schema.normalize.node import Node, Schema

if TYPE_CHECKING:
    from gemma_structured.schema.normalize.passes.context import Context

__all__ = ["marks"]


def marks(node: Node, _context: Context) -> Schema:
    """Leave a Lark grammar on a string to validation."""
    rest = node.without("x-gemma-lark")
    return Node(rest, node.origin, (*node.relaxed, node.origin.of("x-gemma-lark")))
