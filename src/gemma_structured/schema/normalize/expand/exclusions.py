"""Values that are not admitted: ranges around numbers, other texts, at least one item."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from gemma_structured.schema.normalize.facets import Numbers, exact
from gemma_structured.schema.normalize.kinds import type_of

if TYPE_CHECKING:
    from gemma_structured.schema.normalize.expand.context import Surroundings
    from gemma_structured.schema.normalize.shape import Shape
    from gemma_structured.types import JsonValue

__all__ = ["exclusions"]

_NUMBERS: Final = frozenset({"integer", "fraction"})
_MAX_POINTS: Final = 32


def exclusions(shape: Shape, _around: Surroundings) -> list[Shape]:
    """Take the excluded values out of a shape."""
    if not shape.excluded or shape.values is not None:
        return [shape]
    by_type: dict[str, list[JsonValue]] = {}
    for value in shape.excluded:
        by_type.setdefault(type_of(value), []).append(value)
    shape = replace(shape, excluded=())
    if "null" in by_type:
        shape = replace(shape, types=shape.types - {"null"})
    if "string" in by_type:
        texts = [str(value) for value in by_type["string"]]
        least = max(shape.strings.least, 1 if "" in texts else 0)
        others = tuple(text for text in texts if text and len(text) >= least)
        shape = replace(shape, strings=replace(shape.strings, least=least, without=others))
    shape = _containers(shape, by_type)
    found = _booleans(shape, by_type.get("boolean", []))
    points = [*by_type.get("integer", ()), *by_type.get("fraction", ())]
    for one in found:
        if points and one.types & _NUMBERS and one.values is None:
            return [other for other in found if other is not one] + _numbers(one, points)
    return found


def _containers(shape: Shape, by_type: dict[str, list[JsonValue]]) -> Shape:
    """Only the empty array and the empty object can be excluded exactly."""
    arrays, objects = by_type.get("array", []), by_type.get("object", [])
    if [] in arrays:
        least = max(shape.arrays.least, 1)
        shape = replace(shape, arrays=replace(shape.arrays, least=least))
    if {} in objects:
        least = max(shape.objects.least, 1)
        shape = replace(shape, objects=replace(shape.objects, least=least))
    return shape.relax("not") if any(arrays) or any(objects) else shape


def _booleans(shape: Shape, excluded: list[JsonValue]) -> list[Shape]:
    if not excluded or "boolean" not in shape.types:
        return [shape]
    rest = replace(shape, types=shape.types - {"boolean"})
    kept = tuple(value for value in (False, True) if value not in excluded)
    found = [rest] if rest.types else []
    if kept:
        found.append(replace(shape, types=frozenset({"boolean"}), values=kept))
    return found


def _numbers(shape: Shape, excluded: list[JsonValue]) -> list[Shape]:
    """The ranges between the excluded numbers."""
    points = sorted({exact(value) for value in excluded if isinstance(value, int | float)})
    if len(points) > _MAX_POINTS:
        return [shape.relax("not")]
    rest = replace(shape, types=shape.types - _NUMBERS)
    found = [rest] if rest.types else []
    for low, high in zip([None, *points], [*points, None], strict=True):
        gap = Numbers(low=low, low_open=True, high=high, high_open=True).meet(shape.numbers)
        types = shape.types & _NUMBERS
        if gap.integers().is_empty:
            types -= {"integer"}
        if gap.is_empty:
            types -= {"fraction"}
        if types:
            found.append(replace(shape, types=types, numbers=gap))
    return found
