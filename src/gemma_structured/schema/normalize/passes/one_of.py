"""`oneOf`: a choice, once it is known that no two options hold together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gemma_structured.schema.normalize.node import Conj, Node, Origin, Schema, all_of, any_of

if TYPE_CHECKING:
    from gemma_structured.schema.normalize.passes.context import Context

__all__ = ["one_of"]

_MAX_PAIRS: Final = 5000
_MAX_OVERLAPS: Final = 8


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
        all_of([one, *(context.complement(other, node, "oneOf") for other in others)], origin)
        for one, others in zip(options, overlaps, strict=True)
    ]
    return rest.with_conditions(any_of(alone, origin))


def _apart(one: Schema, two: Schema, base: Conj, context: Context) -> bool:
    if context.are_disjoint((one,), (two,)):
        return True
    return bool(base) and context.are_disjoint((*base, one), (*base, two))


def _relaxed(rest: Node, options: list[Schema], origin: Origin) -> Schema:
    choice = rest.with_conditions(any_of(options, origin))
    return Node(choice, choice.origin, (*choice.relaxed, origin.of("oneOf")))
