"""`minProperties` and `maxProperties` beside optional properties: which of them are there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations
from math import comb
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gemma_structured.schema.normalize.expand.context import Surroundings
    from gemma_structured.schema.normalize.facets import Objects
    from gemma_structured.schema.normalize.node import Conj
    from gemma_structured.schema.normalize.shape import Shape

__all__ = ["counting"]

_MAX_WORK: Final = 4000
_NEVER: Final[Conj] = (False,)


@dataclass(frozen=True, slots=True)
class _Split:
    """Some optional properties are there, some are not, the rest may be.

    Attributes:
        counted: Whether the count still has to be kept (by the properties without a name).
    """

    present: frozenset[str]
    absent: frozenset[str]
    counted: bool = False


def counting(shape: Shape, around: Surroundings) -> list[Shape]:
    """Split an object by which optional properties are there.

    A grammar counts properties only where all named ones are required. Where there would be too
    many splits, the counts are left to validation.
    """
    if not shape.objects.least and shape.objects.most is None:
        return [shape]
    objects = _trimmed(shape.objects)
    shape = replace(shape, objects=objects)
    optional = [n for n, c in objects.named.items() if n not in objects.required and False not in c]
    counted = objects.least > 0 or objects.most is not None
    if "object" not in shape.types or shape.values is not None or not counted or not optional:
        return [shape]
    more = objects.least - len(objects.required)
    most = None if objects.most is None else objects.most - len(objects.required)
    is_open = not any(
        False in layer.rest and all(False in conj for _, conj in layer.patterns)
        for layer in objects.layers
    )
    splits, size = _plan(optional, max(more, 0), most, is_open=is_open)
    if size > around.limits.alternatives or size * len(objects.named) > _MAX_WORK:
        bare = replace(objects, least=0, most=None)
        return [shape.relax("minProperties", "maxProperties", objects=bare)]
    rest = replace(shape, types=shape.types - {"object"})
    found = [
        replace(shape, types=frozenset({"object"}), objects=_split(objects, s)) for s in splits
    ]
    return [rest, *found] if rest.types else found


def _trimmed(objects: Objects) -> Objects:
    """The object without counts that it keeps anyway."""
    least = objects.least if objects.least > len(objects.required) else 0
    most = objects.most
    closed = any(False in layer.rest and not layer.patterns for layer in objects.layers)
    if most is not None and closed and most >= len(objects.named):
        most = None
    return replace(objects, least=least, most=most)


def _plan(
    optional: list[str], more: int, most: int | None, *, is_open: bool
) -> tuple[Iterator[_Split], int]:
    """The splits by which the counts are kept, and how many they are."""
    n = len(optional)
    if most is None:
        exact = sum(comb(n, j) for j in range(min(more, n + 1))) if is_open else 0
        return _at_least(optional, more, is_open=is_open), exact + comb(n, more)
    some = sum(comb(n, j) for j in range(min(most, n) + 1))
    missing = n - most
    if not is_open and more == 0 and missing > 0 and comb(n, missing) < some:
        return _at_most(optional, missing), comb(n, missing)
    return _exactly(optional, more, most, is_open=is_open), some


def _at_least(optional: list[str], more: int, *, is_open: bool) -> Iterator[_Split]:
    """The first `more` that are there; or fewer, and unnamed properties for the rest."""
    if more <= len(optional):
        for chosen in combinations(range(len(optional)), more):
            present = frozenset(optional[i] for i in chosen)
            before = optional[: chosen[-1] + 1] if chosen else []
            yield _Split(present, frozenset(before) - present)
    for j in range(min(more, len(optional) + 1)) if is_open else ():
        for names in combinations(optional, j):
            yield _Split(frozenset(names), frozenset(optional) - frozenset(names), counted=True)


def _at_most(optional: list[str], missing: int) -> Iterator[_Split]:
    """The first ones that are not there."""
    for chosen in combinations(range(len(optional)), missing):
        absent = frozenset(optional[i] for i in chosen)
        yield _Split(frozenset(optional[: chosen[-1] + 1]) - absent, absent)


def _exactly(optional: list[str], more: int, most: int, *, is_open: bool) -> Iterator[_Split]:
    """Every set of them that may be there."""
    for j in range(0 if is_open else more, min(most, len(optional)) + 1):
        for names in combinations(optional, j):
            present = frozenset(names)
            yield _Split(present, frozenset(optional) - present, counted=is_open)


def _split(objects: Objects, split: _Split) -> Objects:
    named = {n: _NEVER if n in split.absent else conj for n, conj in objects.named.items()}
    required = (*objects.required, *(name for name in named if name in split.present))
    kept = split.counted
    return replace(
        objects,
        named=named,
        required=required,
        least=objects.least if kept else 0,
        most=objects.most if kept else None,
    )
