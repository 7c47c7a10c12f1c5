"""Estimates how long backtracking could take, so that it is only used where that is short."""

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

__all__ = ["backtracking_cost"]

_ENDLESS = 10**18


def backtracking_cost(node: Node, length: int, *, anchored: bool) -> int:
    """An upper bound of the steps in which a backtracking matcher decides.

    Args:
        node: The pattern.
        length: The length of the text.
        anchored: Whether only a match from the text's start counts.
    """
    starts = 1 if anchored or _starts_at_edge(node) else length + 1
    ways, work = _estimate(node, length)
    return min(_ENDLESS, starts * ways * work)


def _estimate(node: Node, length: int) -> tuple[int, int]:
    """How many ways through a node there may be, and the steps that one of them takes."""
    match node:
        case Atom() | Edge():
            return 1, 1
        case Backreference():
            return 1, length + 1
        case Look():
            ways, work = _estimate(node.node, length)
            return 1, min(_ENDLESS, ways * work)
        case Sequence():
            return _product([_estimate(part, length) for part in node.parts])
        case Alternatives():
            options = [_estimate(option, length) for option in node.options]
            return sum(ways for ways, _ in options), sum(work for _, work in options)
        case Repeat():
            ways, work = _estimate(node.node, length)
            rounds = min(length + 1, node.most) if node.most is not None else length + 1
            rounds = max(rounds, node.least)
            inside = _power(ways, rounds)
            choices = rounds - node.least + 1
            return min(_ENDLESS, inside * choices), min(_ENDLESS, work * max(rounds, 1))


def _product(parts: list[tuple[int, int]]) -> tuple[int, int]:
    ways, work = 1, 1
    for more_ways, more_work in parts:
        ways, work = min(_ENDLESS, ways * more_ways), min(_ENDLESS, work + more_work)
    return ways, work


def _power(base: int, exponent: int) -> int:
    if base <= 1:
        return base
    return _ENDLESS if exponent > 60 else min(_ENDLESS, base**exponent)  # noqa: PLR2004 - 2**60 is endless


def _starts_at_edge(node: Node) -> bool:
    if isinstance(node, Sequence):
        return bool(node.parts) and _starts_at_edge(node.parts[0])
    return node == Edge("start")
