"""`uniqueItems`: listed where there are few, and otherwise no more items than there are values."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, permutations
from math import perm
from typing import TYPE_CHECKING, Final

from gemma_structured.schema.normalize.kinds import value_key

if TYPE_CHECKING:
    from gemma_structured.schema.normalize.expand.context import Surroundings
    from gemma_structured.schema.normalize.facets import Arrays
    from gemma_structured.schema.normalize.node import Conj
    from gemma_structured.schema.normalize.shape import Shape
    from gemma_structured.types import JsonValue

__all__ = ["unique_items"]

_MAX_LISTED: Final = 80
_MAX_PREFIX: Final = 16


def unique_items(shape: Shape, around: Surroundings) -> list[Shape]:
    """Rewrite `uniqueItems`.

    Arrays of few values are listed. Otherwise an array holds no more items than there are values,
    and whether they differ is left to validation.
    """
    arrays = shape.arrays
    if "array" not in shape.types or not arrays.unique or shape.values is not None:
        return [shape]
    plain = replace(shape, arrays=replace(arrays, unique=False))
    if _apart(arrays, around):
        return [plain]
    values = None if arrays.prefix else _values(arrays.rest, around)
    if values is None:
        return [plain.relax("uniqueItems")]
    others = replace(plain, types=plain.types - {"array"})
    found = [others] if others.types else []
    most = len(values) if arrays.most is None else min(arrays.most, len(values))
    if arrays.least > most:
        return found
    if sum(perm(len(values), size) for size in range(arrays.least, most + 1)) <= _MAX_LISTED:
        listed = [
            list(one) for n in range(arrays.least, most + 1) for one in permutations(values, n)
        ]
        return [
            *found,
            replace(plain, types=frozenset({"array"}), values=tuple(listed)),
        ]
    bounded = replace(plain.arrays, most=most)
    return [plain.relax("uniqueItems", arrays=bounded)]


def _apart(arrays: Arrays, around: Surroundings) -> bool:
    """Whether there is at most one item, or no two places can hold the same."""
    if arrays.most is not None and arrays.most <= 1:
        return True
    closed = False in arrays.rest or (arrays.most or len(arrays.prefix) + 1) <= len(arrays.prefix)
    if not closed or len(arrays.prefix) > _MAX_PREFIX:
        return False
    return all(around.are_disjoint(a, b) for a, b in combinations(arrays.prefix, 2))


def _values(conj: Conj, around: Surroundings) -> list[JsonValue] | None:
    """Every value of the items, where they can be listed."""
    shapes = around.known_shapes(conj)
    if shapes is None:
        return None
    found: dict[str, JsonValue] = {}
    for shape in shapes:
        listed = _listed(shape)
        if listed is None:
            return None
        found.update((value_key(value), value) for value in listed)
    return list(found.values())


def _listed(shape: Shape) -> list[JsonValue] | None:
    if shape.values is not None:
        return list(shape.values)
    if shape.types - {"null", "boolean"} or shape.excluded:
        return None
    found: list[JsonValue] = [None] if "null" in shape.types else []
    return [*found, False, True] if "boolean" in shape.types else found
