"""Divides the names that are not declared into cells, by which patterns match them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from gemma_structured.schema.normalize.facets import Layer, together
from gemma_structured.schema.normalize.regex.determinize import language
from gemma_structured.schema.normalize.regex.eliminate import pattern_of
from gemma_structured.schema.normalize.regex.names import matches
from gemma_structured.schema.normalize.regex.syntax import RegexError
from gemma_structured.schema.normalize.strings import grammar_pattern, other_than

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gemma_structured.schema.normalize.node import Conj
    from gemma_structured.schema.normalize.regex.dfa import Dfa

__all__ = ["Cells", "cells"]

_MAX_CELLS: Final = 32


@dataclass(slots=True)
class Cells:
    """Patterns no two of which match the same name, and what all other names are held to.

    Attributes:
        patterns: By pattern, what the value of such a property satisfies.
        rest: What the value of any other property satisfies.
        lost: Keywords that could not be kept.
    """

    patterns: dict[str, Conj] = field(default_factory=dict)
    rest: Conj = ()
    lost: tuple[str, ...] = ()


def cells(
    layers: Sequence[Layer], named: Mapping[str, Conj], is_plain: Callable[[Conj], bool]
) -> Cells:
    """Divide the names that are not declared.

    A grammar holds a declared property whose name a pattern matches to both schemas. So no pattern
    of the result matches one, unless the property is held to the pattern's schema anyway and its
    values are plain: to meet itself costs a schema much, and is endless where it is recursive.

    Args:
        layers: What is said of the names.
        named: The declared properties.
        is_plain: Whether values of a conjunction hold no others.
    """
    found = Cells()
    for layer in layers:
        found.rest = together(found.rest, layer.rest)
    patterns = list(dict.fromkeys(p for layer in layers for p, _ in layer.patterns))
    if not patterns:
        return found
    taken = {
        name: conj
        for name, conj in named.items()
        if any(matches(pattern, name) for pattern in patterns)
    }
    try:
        _divide(found, layers, patterns, _Declared(taken, is_plain))
    except RegexError:
        return Cells(lost=("patternProperties", "additionalProperties", "propertyNames"))
    return found


@dataclass(frozen=True, slots=True)
class _Declared:
    """Declared properties whose names patterns match."""

    named: dict[str, Conj]
    is_plain: Callable[[Conj], bool]

    def apart(self, value: Conj) -> list[str]:
        """The names that a pattern with such values must leave out."""
        if value and not self.is_plain(value):
            return list(self.named)
        return [
            name
            for name, conj in self.named.items()
            if any(all(node is not own for own in conj) for node in value)
        ]


def _divide(
    found: Cells, layers: Sequence[Layer], patterns: list[str], declared: _Declared
) -> None:
    if len(patterns) == 1:
        value = _value(layers, frozenset(patterns))
        if not declared.apart(value):
            found.patterns[grammar_pattern(patterns[0])] = value
            return
    parts = _parts(patterns)
    for inside, part in parts:
        if inside:
            value = _value(layers, inside)
            taken = [name for name in declared.apart(value) if part.matches(name)]
            left = part & language(other_than(taken)) if taken else part
            if not left.is_empty:
                found.patterns[_pattern(inside, part, left, taken)] = value
    if all(inside for inside, _ in parts):
        found.rest = (False,)


def _parts(patterns: list[str]) -> list[tuple[frozenset[str], Dfa]]:
    """The names by the patterns that they match, for each set of patterns that some match."""
    first = language(patterns[0])
    parts = [(frozenset(patterns[:1]), first), (frozenset[str](), ~first)]
    for pattern in patterns[1:]:
        matching = language(pattern)
        parts = [
            piece
            for inside, part in parts
            for piece in ((inside | {pattern}, part & matching), (inside, part & ~matching))
            if not piece[1].is_empty
        ]
        if len(parts) > _MAX_CELLS:
            raise RegexError("The patterns overlap in too many ways.")
    return [(inside, part) for inside, part in parts if not part.is_empty]


def _pattern(inside: frozenset[str], part: Dfa, left: Dfa, taken: list[str]) -> str:
    """The pattern of a cell: as it was written, if the cell is all that matches it."""
    if taken:
        return other_than(taken) if part.is_everything else pattern_of(left)
    if len(inside) == 1:
        (pattern,) = inside
        if language(pattern) <= part:
            return grammar_pattern(pattern)
    return pattern_of(part)


def _value(layers: Sequence[Layer], inside: frozenset[str]) -> Conj:
    """What the value of a property satisfies whose name matches these patterns and no others."""
    result: Conj = ()
    for layer in layers:
        said = [conj for pattern, conj in layer.patterns if pattern in inside]
        for conj in said or [layer.rest]:
            result = together(result, conj)
    return result
