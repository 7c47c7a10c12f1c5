"""How long a text can be in which a pattern matches."""

from __future__ import annotations

from gemma_structured.schema.ecma.nodes import (
    Alternatives,
    Atom,
    Backreference,
    Edge,
    Look,
    Node,
    Repeat,
    Sequence,
)

__all__ = ["longest_text"]


def longest_text(node: Node) -> int | None:
    """The length of the longest text in which a pattern can match; `None` where there is no limit.

    A pattern matches anywhere, so only one that begins with `^` and ends with `$` limits the text.
    """
    if isinstance(node, Alternatives):
        return _largest([longest_text(option) for option in node.options])
    parts = node.parts if isinstance(node, Sequence) else (node,)
    if len(parts) > 1 and parts[0] == Edge("start") and parts[-1] == Edge("end"):
        return _width(node)
    return None


def _width(node: Node) -> int | None:
    match node:
        case Atom():
            return 1
        case Edge() | Look():
            return 0
        case Backreference():
            return None
        case Alternatives():
            return _largest([_width(option) for option in node.options])
        case Sequence():
            widths = [_width(part) for part in node.parts]
            return None if None in widths else sum(width for width in widths if width is not None)
        case Repeat():
            width = _width(node.node)
            if width == 0 or node.most == 0:
                return 0
            return None if width is None or node.most is None else width * node.most


def _largest(widths: list[int | None]) -> int | None:
    known = [width for width in widths if width is not None]
    return max(known) if len(known) == len(widths) else None
