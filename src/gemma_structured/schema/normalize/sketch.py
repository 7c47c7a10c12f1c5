"""A shape as JSON Schema: plain keywords, and vertices where schemas go."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from gemma_structured.schema.normalize.keys import cells
from gemma_structured.schema.normalize.numbers import number_keywords
from gemma_structured.schema.normalize.strings import string_keywords

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gemma_structured.schema.normalize.expand.context import Surroundings
    from gemma_structured.schema.normalize.node import Conj
    from gemma_structured.schema.normalize.result import Residual
    from gemma_structured.schema.normalize.shape import Shape
    from gemma_structured.schema.normalize.solve import Vertex

__all__ = ["Sketch", "sketch"]

_ORDER: Final = ("null", "boolean", "number", "integer", "string", "array", "object")
# A grammar spells out the items that must be there.
_MAX_ITEMS: Final = 2000
# Larger counts llguidance does not read.
_MAX_COUNT: Final = 2**31 - 1


@dataclass(slots=True)
class Sketch:
    """One alternative of a vertex, as JSON Schema.

    Attributes:
        types: The types that it admits, by JSON Schema's names.
        values: The only values that it admits, where they are listed.
        scalars: The keywords of numbers and strings.
        array: The keywords of arrays that are not schemas.
        prefix: The vertices of the first items.
        items: The vertex of the others.
        object: The keywords of objects that are not schemas.
        properties: The vertices of the named properties.
        patterns: The vertices of the properties whose name matches a pattern.
        rest: The vertex of all other properties.
        shape: What it was made from.
        relaxed: Keywords of the original schema that it does not say all of.
    """

    types: list[str]
    shape: Shape
    values: tuple[Any, ...] | None = None
    scalars: dict[str, Any] = field(default_factory=dict)
    array: dict[str, Any] = field(default_factory=dict)
    prefix: list[Vertex] = field(default_factory=list)
    items: Vertex | None = None
    object: dict[str, Any] = field(default_factory=dict)
    properties: dict[str, Vertex] = field(default_factory=dict)
    patterns: dict[str, Vertex] = field(default_factory=dict)
    rest: Vertex | None = None
    relaxed: tuple[Residual, ...] = ()

    def children(self) -> Iterator[Vertex]:
        """Every vertex in it."""
        yield from self.prefix
        yield from self.properties.values()
        yield from self.patterns.values()
        for one in (self.items, self.rest):
            if one is not None:
                yield one


def sketch(shape: Shape, around: Surroundings) -> Sketch:
    """Draw up a shape that has been through the expansions.

    Args:
        shape: The shape.
        around: Gives the vertices and the shapes of conjunctions.
    """
    if shape.values is not None:
        return Sketch([], shape, values=shape.values, relaxed=shape.relaxed)
    types = set(shape.types)
    lost: list[str] = []
    scalars: dict[str, Any] = {}
    if types & {"integer", "fraction"}:
        scalars |= _numbers(shape, types, lost)
    if "string" in types:
        keywords, missing = string_keywords(shape.strings)
        beside = [*scalars.pop("allOf", ()), *keywords.pop("allOf", ())]
        scalars |= keywords
        if beside:
            scalars["allOf"] = beside
        lost += missing
    made = Sketch([name for name in _ORDER if name in types], shape, scalars=scalars)
    if "array" in types:
        _array(made, around, lost)
    if "object" in types:
        _object(made, around, lost)
    made.relaxed = shape.relax(*lost).relaxed if lost else shape.relaxed
    return made


def _numbers(shape: Shape, types: set[str], lost: list[str]) -> dict[str, Any]:
    """The keywords of numbers; `types` then holds JSON Schema's names for them."""
    numbers = shape.numbers
    whole = numbers.step is not None and numbers.step.denominator == 1
    if "fraction" in types and not whole:
        if "integer" not in types and not numbers.integers().is_empty:
            lost += ["type", "not"]  # no grammar tells 1.5 from 2.0
        types -= {"integer", "fraction"}
        types.add("number")
        keywords, missing = number_keywords(numbers, integer=False)
    else:
        types.discard("fraction")
        types.add("integer")
        keywords, missing = number_keywords(numbers.integers(), integer=True)
    lost += missing
    return keywords


def _array(made: Sketch, around: Surroundings, lost: list[str]) -> None:
    arrays = made.shape.arrays
    made.prefix = [around.vertex(conj) for conj in arrays.prefix]
    if arrays.rest:
        made.items = around.vertex(arrays.rest)
    least = arrays.least
    if least > _MAX_ITEMS:
        lost.append("minItems")
        least = _MAX_ITEMS
    if least:
        made.array["minItems"] = least
    _at_most(made.array, "maxItems", arrays.most, lost)


def _object(made: Sketch, around: Surroundings, lost: list[str]) -> None:
    objects = made.shape.objects
    declared = {name: conj for name, conj in objects.named.items() if False not in conj}
    found = cells(objects.layers, declared, lambda conj: _is_plain(conj, around))
    lost += found.lost
    made.properties = {name: around.vertex(conj) for name, conj in objects.named.items()}
    made.patterns = {pattern: around.vertex(conj) for pattern, conj in found.patterns.items()}
    if found.rest:
        made.rest = around.vertex(found.rest)
    if objects.required:
        made.object["required"] = list(objects.required)
    if objects.least > _MAX_COUNT:
        lost.append("minProperties")
    if objects.least:
        made.object["minProperties"] = min(objects.least, _MAX_COUNT)
    _at_most(made.object, "maxProperties", objects.most, lost)


def _at_most(keywords: dict[str, Any], keyword: str, most: int | None, lost: list[str]) -> None:
    if most is not None and most > _MAX_COUNT:
        lost.append(keyword)
    elif most is not None:
        keywords[keyword] = most


def _is_plain(conj: Conj, around: Surroundings) -> bool:
    """Whether the values of a conjunction are neither arrays nor objects, or any at all."""
    shapes = around.known_shapes(conj)
    return shapes is not None and all(
        shape.values is not None or not conj or not shape.types & {"array", "object"}
        for shape in shapes
    )
