"""What a conjunction says of numbers, strings, arrays and objects, and how two of them meet."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from gemma_structured.schema.normalize.regex.names import matches

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gemma_structured.schema.normalize.node import Conj

__all__ = ["Arrays", "Contains", "Layer", "Numbers", "Objects", "Strings", "exact", "together"]


def exact(number: float) -> Fraction:
    """The decimal number that a JSON number was written as."""
    return Fraction(number) if isinstance(number, int) else Fraction(Decimal(repr(number)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """A range of numbers, and what they are multiples of.

    Attributes:
        low: The lower bound; `low_open` if it does not itself belong.
        step: All are multiples of this.
    """

    low: Fraction | None = None
    low_open: bool = False
    high: Fraction | None = None
    high_open: bool = False
    step: Fraction | None = None

    def meet(self, other: Numbers) -> Numbers:
        """What is in both."""
        low, low_open = _tighter((self.low, self.low_open), (other.low, other.low_open), sign=1)
        high, high_open = _tighter(
            (self.high, self.high_open), (other.high, other.high_open), sign=-1
        )
        step = _common_multiple(self.step, other.step)
        return Numbers(low=low, low_open=low_open, high=high, high_open=high_open, step=step)

    def integers(self) -> Numbers:
        """The same range with the bounds of the integers in it."""
        low = high = None
        if self.low is not None:
            low = math.floor(self.low) + 1 if self.low_open else math.ceil(self.low)
        if self.high is not None:
            high = math.ceil(self.high) - 1 if self.high_open else math.floor(self.high)
        step = None if self.step is None else _common_multiple(self.step, Fraction(1))
        return Numbers(
            low=None if low is None else Fraction(low),
            high=None if high is None else Fraction(high),
            step=None if step == 1 else step,
        )

    @property
    def is_empty(self) -> bool:
        """Whether no number is in the range, or no multiple of the step."""
        if self.low is None or self.high is None:
            return False
        if self.low > self.high or (self.low == self.high and (self.low_open or self.high_open)):
            return True
        if self.step is None:
            return False
        first = math.ceil(self.low / self.step) * self.step
        if first == self.low and self.low_open:
            first += self.step
        return first > self.high or (first == self.high and self.high_open)


def _tighter(
    one: tuple[Fraction | None, bool], two: tuple[Fraction | None, bool], *, sign: int
) -> tuple[Fraction | None, bool]:
    if one[0] is None or two[0] is None:
        return two if one[0] is None else one
    return max(one, two, key=lambda bound: (sign * (bound[0] or 0), bound[1]))


def _common_multiple(one: Fraction | None, two: Fraction | None) -> Fraction | None:
    if one is None or two is None:
        return two if one is None else one
    scale = math.lcm(one.denominator, two.denominator)
    return Fraction(math.lcm(int(one * scale), int(two * scale)), scale)


@dataclass(frozen=True, slots=True, kw_only=True)
class Strings:
    """Lengths in code points, and what a string looks like.

    Attributes:
        patterns: Each is found somewhere in it.
        refused: None is found anywhere in it.
        without: It is none of these texts.
    """

    least: int = 0
    most: int | None = None
    patterns: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    without: tuple[str, ...] = ()

    def meet(self, other: Strings) -> Strings:
        """What is in both."""
        return Strings(
            least=max(self.least, other.least),
            most=_fewer(self.most, other.most),
            patterns=_joined(self.patterns, other.patterns),
            refused=_joined(self.refused, other.refused),
            formats=_joined(self.formats, other.formats),
            without=_joined(self.without, other.without),
        )


def _fewer(one: int | None, two: int | None) -> int | None:
    return min(one, two) if one is not None and two is not None else (two if one is None else one)


def _joined(one: tuple[str, ...], two: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*one, *two)))


class Contains(NamedTuple):
    """How many items of an array satisfy something."""

    conj: Conj
    least: int
    most: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrays:
    """The first items one by one, the rest alike, and how many there are."""

    prefix: tuple[Conj, ...] = ()
    rest: Conj = ()
    least: int = 0
    most: int | None = None
    unique: bool = False
    contains: tuple[Contains, ...] = ()

    def item(self, index: int) -> Conj:
        """What the item at an index satisfies."""
        return self.prefix[index] if index < len(self.prefix) else self.rest

    def meet(self, other: Arrays) -> Arrays:
        """What is in both."""
        length = max(len(self.prefix), len(other.prefix))
        return Arrays(
            prefix=tuple(together(self.item(i), other.item(i)) for i in range(length)),
            rest=together(self.rest, other.rest),
            least=max(self.least, other.least),
            most=_fewer(self.most, other.most),
            unique=self.unique or other.unique,
            contains=(*self.contains, *(c for c in other.contains if c not in self.contains)),
        )


def together(one: Conj, two: Conj) -> Conj:
    """All the schemas of both, each once: the same node need not be satisfied twice."""
    if not one or not two:
        return one or two
    kept = {id(schema): schema for schema in (*one, *two)}
    return tuple(kept.values())


class Layer(NamedTuple):
    """What one schema says of the properties that no `properties` names."""

    patterns: tuple[tuple[str, Conj], ...]
    rest: Conj

    def matching(self, name: str) -> Conj | None:
        """What the patterns say of a property's value; `None` if none matches its name."""
        found = [conj for pattern, conj in self.patterns if matches(pattern, name)]
        result: Conj = ()
        for conj in found:
            result = together(result, conj)
        return result if found else None

    def value(self, name: str) -> Conj:
        """What the value of a property must satisfy."""
        matched = self.matching(name)
        return self.rest if matched is None else matched


@dataclass(frozen=True, slots=True, kw_only=True)
class Objects:
    """Named properties in their order, layers for all the others, and how many there are.

    Attributes:
        named: What the value of each named property satisfies, patterns included.
        names: What each name satisfies.
    """

    named: dict[str, Conj]
    layers: tuple[Layer, ...] = ()
    required: tuple[str, ...] = ()
    least: int = 0
    most: int | None = None
    names: Conj = ()

    def value(self, name: str) -> Conj:
        """What the value of a property must satisfy."""
        return self.named[name] if name in self.named else self.unnamed(name)

    def unnamed(self, name: str) -> Conj:
        """What the value of a property must satisfy if it is not among the named ones."""
        result: Conj = ()
        for layer in self.layers:
            result = together(result, layer.value(name))
        return result

    def meet(self, other: Objects) -> Objects:
        """What is in both; this one's properties come first."""
        named = {name: together(conj, other.value(name)) for name, conj in self.named.items()}
        for name, conj in other.named.items():
            if name not in named:
                named[name] = together(self.unnamed(name), conj)
        return Objects(
            named=named,
            layers=tuple(_by_identity((*self.layers, *other.layers))),
            required=_joined(self.required, other.required),
            least=max(self.least, other.least),
            most=_fewer(self.most, other.most),
            names=together(self.names, other.names),
        )


def _by_identity(layers: tuple[Layer, ...]) -> Iterator[Layer]:
    """Each layer once: two layers are the same if they hold the same nodes."""
    seen: set[tuple[object, ...]] = set()
    for layer in layers:
        key = (
            tuple((pattern, *map(id, conj)) for pattern, conj in layer.patterns),
            tuple(map(id, layer.rest)),
        )
        if key not in seen:
            seen.add(key)
            yield layer
