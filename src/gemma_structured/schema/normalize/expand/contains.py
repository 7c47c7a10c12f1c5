"""`contains`, `minContains` and `maxContains`: which item it is, where arrays are short."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from gemma_structured.schema.normalize.facets import Arrays, Contains, together

if TYPE_CHECKING:
    from gemma_structured.schema.normalize.expand.context import Surroundings
    from gemma_structured.schema.normalize.node import Conj
    from gemma_structured.schema.normalize.shape import Shape

__all__ = ["contains"]

_MAX_LENGTH: Final = 8


def contains(shape: Shape, around: Surroundings) -> list[Shape]:
    """Rewrite each `contains` of an array; what cannot be is left to validation."""
    if "array" not in shape.types or not shape.arrays.contains or shape.values is not None:
        return [shape]
    one, *others = shape.arrays.contains
    bare = replace(shape, arrays=replace(shape.arrays, contains=tuple(others)))
    found: list[Shape] = []
    for expanded in _expand(bare, one, around):
        found += contains(expanded, around)
    return found


def _expand(shape: Shape, one: Contains, around: Surroundings) -> list[Shape]:
    arrays = shape.arrays
    if one.most is not None and one.least > one.most:
        return _without_arrays(shape)
    if not one.conj:  # every item counts
        most = arrays.most if one.most is None else min(one.most, arrays.most or one.most)
        least = max(arrays.least, one.least)
        return [replace(shape, arrays=replace(arrays, least=least, most=most))]
    if one.least == 0 and one.most is None:
        return [shape]
    if one.most == 0:
        return [replace(shape, arrays=_none(shape, one, around))]
    if one.least > 0 and _hopeless(arrays, one, around):
        return _without_arrays(shape)
    length = _longest(arrays)
    if one.least == 1 and one.most is None and length is not None and length <= _MAX_LENGTH:
        rest = _without_arrays(shape)
        return [*rest, *(_at(shape, one.conj, index) for index in range(length))]
    bounded = replace(arrays, least=max(arrays.least, one.least))
    return [shape.relax("contains", "minContains", "maxContains", arrays=bounded)]


def _without_arrays(shape: Shape) -> list[Shape]:
    types = shape.types - {"array"}
    return [replace(shape, types=types)] if types else []


def _none(shape: Shape, one: Contains, around: Surroundings) -> Arrays:
    """The array in which no item is such."""
    arrays = shape.arrays
    reason = next(iter(shape.sources["contains"]))
    refused = tuple(around.opposite(schema, reason) for schema in one.conj)
    if True in refused:  # nothing is such
        return arrays
    prefix = tuple(together(conj, refused) for conj in arrays.prefix)
    return replace(arrays, prefix=prefix, rest=together(arrays.rest, refused))


def _hopeless(arrays: Arrays, one: Contains, around: Surroundings) -> bool:
    """Whether no item can be such."""
    places = [*arrays.prefix, arrays.rest]
    return all(around.are_disjoint(place, one.conj) for place in places)


def _longest(arrays: Arrays) -> int | None:
    closed = len(arrays.prefix) if False in arrays.rest else None
    if closed is None or arrays.most is None:
        return closed if arrays.most is None else arrays.most
    return min(closed, arrays.most)


def _at(shape: Shape, conj: Conj, index: int) -> Shape:
    """The array whose item at an index is such."""
    arrays = shape.arrays
    length = max(len(arrays.prefix), index + 1)
    prefix = [arrays.item(i) for i in range(length)]
    prefix[index] = together(prefix[index], conj)
    found = replace(arrays, prefix=tuple(prefix), least=max(arrays.least, index + 1))
    return replace(shape, types=frozenset({"array"}), arrays=found)
