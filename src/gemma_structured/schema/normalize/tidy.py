"""Drops from a shape what it cannot be, and finds that it is empty."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

from gemma_structured.schema.normalize.kinds import type_of, value_key
from gemma_structured.schema.normalize.lengths import is_empty

if TYPE_CHECKING:
    from gemma_structured.schema.normalize.evaluate import Evaluator
    from gemma_structured.schema.normalize.node import Conj
    from gemma_structured.schema.normalize.result import Residual
    from gemma_structured.schema.normalize.shape import Shape
    from gemma_structured.types import JsonValue

__all__ = ["tidy"]

_BOUNDS: Final = ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum", "multipleOf")


class _Solver(Protocol):
    @property
    def evaluator(self) -> Evaluator: ...

    def is_empty(self, conj: Conj) -> bool: ...


def tidy(shape: Shape, solver: _Solver, conflicts: list[tuple[Residual, ...]]) -> Shape | None:
    """The shape without the types and values that it cannot be; `None` if nothing is left.

    Args:
        shape: The shape.
        solver: Knows children and values.
        conflicts: Where to note the keywords that contradict each other.
    """
    if shape.values is not None or shape.excluded:
        return _tidy_values(shape, solver, conflicts)
    gone: dict[str, tuple[str, ...]] = {}
    if "integer" in shape.types and shape.numbers.integers().is_empty:
        gone["integer"] = _BOUNDS
    step = shape.numbers.step
    whole = step is not None and step.denominator == 1
    if "fraction" in shape.types and (whole or shape.numbers.is_empty):
        gone["fraction"] = _BOUNDS
    if "string" in shape.types and is_empty(shape.strings):
        gone["string"] = ("minLength", "maxLength", "pattern", "format", "not")
    if "array" in shape.types:
        reason = _empty_array(shape)
        if reason:
            gone["array"] = reason
    if "object" in shape.types:
        reason = _empty_object(shape, solver)
        if reason:
            gone["object"] = reason
    types = shape.types - gone.keys()
    if types:
        return shape if types == shape.types else replace(shape, types=types)
    keywords = [k for reason in gone.values() for k in reason] if shape.types else ["type", "enum"]
    conflicts.append(_places(shape, [*keywords, "type"]))
    return None


def _tidy_values(
    shape: Shape, solver: _Solver, conflicts: list[tuple[Residual, ...]]
) -> Shape | None:
    """Decide listed values one by one, and so all that is said of them."""
    if shape.values is None:
        excluded = tuple(value for value in shape.excluded if type_of(value) in shape.types)
        tidied = tidy(replace(shape, excluded=()), solver, conflicts)
        return None if tidied is None else replace(tidied, excluded=excluded)
    kept: dict[str, JsonValue] = {}
    unsure = False
    for value in shape.values:
        verdicts = [solver.evaluator.admits(node, value) for node in shape.conj]
        if False not in verdicts:
            unsure = unsure or None in verdicts
            kept.setdefault(value_key(value), value)
    if not kept:
        conflicts.append(_places(shape, list(shape.sources)))
        return None
    values = tuple(kept.values())
    listed = replace(
        shape, values=values, excluded=(), conj=(), types=frozenset(map(type_of, values))
    )
    return listed.relax(*shape.sources) if unsure else listed


def _empty_array(shape: Shape) -> tuple[str, ...]:
    arrays = shape.arrays
    if arrays.most is not None and arrays.least > arrays.most:
        return ("minItems", "contains", "minContains", "maxItems")
    for index in range(min(arrays.least, len(arrays.prefix) + 1)):
        if False in arrays.item(index):
            return ("minItems", "prefixItems", "items")
    return ()


def _empty_object(shape: Shape, solver: _Solver) -> tuple[str, ...]:
    objects = shape.objects
    if objects.most is not None and max(objects.least, len(objects.required)) > objects.most:
        return ("minProperties", "maxProperties", "required")
    for name in objects.required:
        conj = objects.value(name)
        if (len(conj) > 1 or False in conj) and solver.is_empty(conj):
            return (
                "required",
                "propertyNames",
                "properties",
                "additionalProperties",
                "patternProperties",
            )
    return ()


def _places(shape: Shape, keywords: list[str]) -> tuple[Residual, ...]:
    return tuple(dict.fromkeys(p for k in keywords for p in shape.sources.get(k, ())))
