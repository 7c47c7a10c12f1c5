"""Steps of several digits: written once for each number of digits that a multiple may have."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Final

from gemma_structured.schema.normalize.facets import Numbers

if TYPE_CHECKING:
    from gemma_structured.schema.normalize.expand.context import Surroundings
    from gemma_structured.schema.normalize.shape import Shape

__all__ = ["steps"]

_NUMBERS: Final = frozenset({"integer", "fraction"})
_MAX_DIGITS: Final = 12


def steps(shape: Shape, _around: Surroundings) -> list[Shape]:
    """Split multiples by how many digits they have after the point.

    llguidance writes the last digits of a multiple even where they are zeros: of 0.25 it knows 0.50
    but not 0.5. The multiples of one digit are the multiples of 0.5, for which it is right.
    """
    step = shape.numbers.step
    if step is None or "fraction" not in shape.types or shape.values is not None:
        return [shape]
    digits = next((n for n in range(_MAX_DIGITS) if (step * 10**n).denominator == 1), 0)
    if digits < 2 or step * 10**digits < 10:  # noqa: PLR2004 - one digit is never a needless zero
        return [shape]
    rest = replace(shape, types=shape.types - _NUMBERS)
    found = [rest] if rest.types else []
    for count in range(1, digits):
        few = Numbers(step=Fraction(1, 10**count))
        numbers = shape.numbers.meet(few)
        if not numbers.is_empty:
            types = shape.types & _NUMBERS
            found.append(replace(shape, types=types, numbers=numbers))
    return [*found, replace(shape, types=shape.types & _NUMBERS)]
