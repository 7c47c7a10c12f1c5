"""Numbers as keywords that a grammar enforces: bounds it can write, steps it can count."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from gemma_structured.schema.normalize.facets import Numbers, exact

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["number_keywords"]

# llguidance reads bounds as doubles and integers of 64 bits, and writes them digit by digit.
_MAX_BOUND: Final = Fraction(2**53)
_MAX_INTEGER_BOUND: Final = Fraction(2**62)
_INT64: Final = Fraction(2**63 - 1)
_MIN_DIGIT: Final = Fraction(1, 10**40)
_MAX_COEFFICIENT: Final = 1_000_000
_NEIGHBOURS: Final = 8
_MAX_DIGITS: Final = 16


def number_keywords(numbers: Numbers, *, integer: bool) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The keywords of a number, and the keywords that they do not say all of.

    Args:
        numbers: What is said of the number.
        integer: Whether it is an integer; the range then has integers for bounds.
    """
    keywords: dict[str, Any] = {}
    lost: list[str] = []
    if not integer:
        numbers = _closed(numbers, lost)
    if numbers.low is not None:
        bound, fits = _bound(numbers.low, down=True, integer=integer)
        _put(keywords, "minimum", "exclusiveMinimum", bound, is_open=numbers.low_open and fits)
        if not fits:
            lost += ["minimum", "exclusiveMinimum"]
    if numbers.high is not None:
        bound, fits = _bound(numbers.high, down=False, integer=integer)
        _put(keywords, "maximum", "exclusiveMaximum", bound, is_open=numbers.high_open and fits)
        if not fits:
            lost += ["maximum", "exclusiveMaximum"]
    if numbers.step is not None:
        steps, same = _steps(numbers.step)
        if not same:
            lost.append("multipleOf")
        for step in steps[:1]:
            keywords["multipleOf"] = step
        if steps[1:]:
            keywords["allOf"] = [{"multipleOf": step} for step in steps[1:]]
    return keywords, tuple(lost)


def _closed(numbers: Numbers, lost: list[str]) -> Numbers:
    """The range that llguidance makes of one between an integer and a fraction after it.

    It writes the integer even if it is left out: of the range above 1 up to 1.5, it knows 1.
    """
    low, high = numbers.low, numbers.high
    if low is None or high is None or int(low) != int(high):
        return numbers
    if numbers.low_open and low.denominator == 1 and low >= 0:
        lost.append("exclusiveMinimum")
        return replace(numbers, low_open=False)
    if numbers.high_open and high.denominator == 1 and high <= 0:
        lost.append("exclusiveMaximum")
        return replace(numbers, high_open=False)
    return numbers


def _put(
    keywords: dict[str, Any], closed: str, opened: str, bound: float | None, *, is_open: bool
) -> None:
    if bound is not None:
        keywords[opened if is_open else closed] = bound


def _bound(value: Fraction, *, down: bool, integer: bool) -> tuple[float | None, bool]:
    """A bound as a number of JSON that is not tighter, and whether it is the same."""
    if integer and value == _INT64 and not down:
        return int(value), True  # what llguidance takes the double above it for
    limit = _MAX_INTEGER_BOUND if integer else _MAX_BOUND
    if abs(value) > limit:
        return None, False
    if value.denominator == 1:
        whole = int(value)
        if abs(whole) <= 2**53 or int(float(whole)) == whole:
            return whole, True
        return _outward(float(whole), value, down=down), False
    if abs(value) < _MIN_DIGIT:
        return (0 if (value > 0) == down else _outward(float(value), value, down=down)), False
    number = float(value)
    return (number, True) if exact(number) == value else (_outward(number, value, down=down), False)


def _outward(number: float, value: Fraction, *, down: bool) -> float | None:
    """The nearest double that is not inside the range."""
    while (exact(number) > value) if down else (exact(number) < value):
        number = math.nextafter(number, -math.inf if down else math.inf)
    if 0 < abs(number) < _MIN_DIGIT:
        return None
    return int(number) if number.is_integer() else number


@lru_cache(maxsize=512)
def _steps(step: Fraction) -> tuple[tuple[float, ...], bool]:
    """Numbers whose least common multiple is a step, and whether llguidance reads them as that.

    It reads a number by multiplying with ten until no fraction is left, which rounding may spoil.
    Then a double next to the right one may come out right, or the prime powers in it do. Otherwise
    the multiples at least have no more digits than they should.
    """
    digits = _digits(step)
    if digits == _MAX_DIGITS:
        return (), False
    alone = _step(step)
    if alone is not None:
        return (alone,), True
    unit = Fraction(1, 10**digits)
    parts = [_step(part * unit) for part in _prime_powers(int(step / unit))]
    read = tuple(part for part in parts if part is not None)
    if read and len(read) == len(parts):
        return read, True
    coarse = _step(unit)
    return (() if coarse is None else (coarse,)), False


def _prime_powers(number: int) -> Iterator[int]:
    """The powers of primes whose product a number is; of a large one, the number itself."""
    if number > _MAX_COEFFICIENT:
        yield number
        return
    factor = 2
    while number > 1:
        power = 1
        while number % factor == 0:
            number //= factor
            power *= factor
        if power > 1:
            yield power
        factor += 1


def _digits(step: Fraction) -> int:
    """How many digits it has after the point; of a number without an end, very many."""
    return next((n for n in range(_MAX_DIGITS) if (step * 10**n).denominator == 1), _MAX_DIGITS)


def _step(step: Fraction) -> float | None:
    exponent = _digits(step)
    if exponent == _MAX_DIGITS:
        return None
    coefficient = int(step * 10**exponent)
    if coefficient > _MAX_COEFFICIENT:
        return None
    if exponent == 0:
        return coefficient
    low = high = float(step)
    for _ in range(_NEIGHBOURS):
        for number in (low, high):
            if _as_read(number) == (coefficient, exponent):
                return number
        low, high = math.nextafter(low, 0), math.nextafter(high, math.inf)
    return None


def _as_read(number: float) -> tuple[int, int] | None:
    exponent = 0
    while math.modf(number)[0] != 0:
        number *= 10
        exponent += 1
        if exponent > 20 or number > 2**32:  # noqa: PLR2004 - past what it can hold
            return None
    coefficient = int(number)
    while exponent and coefficient % 10 == 0:
        coefficient, exponent = coefficient // 10, exponent - 1
    return coefficient, exponent
