"""`oneOf`: a choice, once it is known that no two options hold together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gemma_structured.schema.normalize.node import Conj, Node, Origin, Schema, all_of, any_of

if TYPE_CHECKING:
    from gemma_structured.schema.normalize.passes.context import Context

__all__ = ["one_of"]

_MAX_PAIRS: Final = 5000
_MAX_OVERLAPS: Final = 8
_TYPES: Final = {
    name: Node({"type": (name,)}, Origin(""))
    for name in ("null", "boolean", "number", "string", "array", "object")
}
"""Nodes that are made once, so that what is proved of them is remembered."""


def one_of(node: Node, context: Context) -> Schema:
    """Rewrite `oneOf` into `anyOf`.

    Where two options are not proved disjoint, each excludes the other. If an option overlaps with
    more than eight others, or there are very many options, `anyOf` alone is left and validation
    does the rest.
    """
    rest = node.without("oneOf")
    origin = Origin(node.origin.pointer, node.origin.keyword or "oneOf")
    options = [option for option in node["oneOf"] if option is not False]
    base: Conj = (rest,) if rest else ()
    if len(options) * (len(options) - 1) // 2 > _MAX_PAIRS:
        return _relaxed(rest, options, origin)
    overlaps: list[list[Schema]] = [[] for _ in options]
    for i, one in enumerate(options):
        for j, two in enumerate(options[:i]):
            if not _apart(one, two, base, context):
                overlaps[i].append(two)
                overlaps[j].append(one)
    if max(map(len, overlaps), default=0) > _MAX_OVERLAPS:
        return _relaxed(rest, options, origin)
    alone = [
        all_of([one, *(_without(one, other, node, context) for other in others)], origin)
        for one, others in zip(options, overlaps, strict=True)
    ]
    return rest.with_conditions(any_of(alone, origin))


def _apart(one: Schema, two: Schema, base: Conj, context: Context) -> bool:
    if context.are_disjoint((one,), (two,)):
        return True
    return bool(base) and context.are_disjoint((*base, one), (*base, two))


def _without(one: Schema, other: Schema, node: Node, context: Context) -> Schema:
    """What does not satisfy the other option; of the types in which they are disjoint, anything.

    So a complement that no grammar can say, such as that of a closed object, is asked for only
    where the options do overlap.
    """
    refused = context.complement(other, node, "oneOf")
    apart = [name for name in _TYPES if context.are_disjoint((one, _TYPES[name]), (other,))]
    if not apart:
        return refused
    origin = Origin(node.origin.pointer, node.origin.keyword or "oneOf")
    shared = tuple(name for name in _TYPES if name not in apart)
    met = all_of([Node({"type": shared}, origin), refused], origin)
    return any_of([Node({"type": tuple(apart)}, origin), met], origin)


def _relaxed(rest: Node, options: list[Schema], origin: Origin) -> Schema:
    choice = rest.with_conditions(any_of(options, origin))
    return Node(choice, choice.origin, (*choice.relaxed, origin.of("oneOf")))
