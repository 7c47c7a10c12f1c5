"""The syntax tree of a regular expression."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from gemma_structured.schema.normalize.regex.charset import (
    ANY,
    CharSet,
    category,
    complement,
    union,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "ANYTHING",
    "EMPTY",
    "NOTHING",
    "Alt",
    "Chars",
    "End",
    "Look",
    "Regex",
    "RegexError",
    "Repeat",
    "Seq",
    "Start",
    "alt",
    "literal",
    "members",
    "repeat",
    "seq",
]


class RegexError(ValueError):
    """A regular expression that is malformed, not supported, or too large."""


@dataclass(frozen=True, slots=True)
class Chars:
    r"""One character of a set: intervals, and Unicode properties kept by name.

    Attributes:
        intervals: The code points named one by one.
        properties: Properties in `\p{…}` notation, each with whether it is negated.
        negated: Whether the character is one that is *not* in all this.
    """

    intervals: CharSet
    properties: tuple[tuple[str, bool], ...] = ()
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Seq:
    """One part after the other."""

    parts: tuple[Regex, ...]


@dataclass(frozen=True, slots=True)
class Alt:
    """One of the options; of none, nothing at all."""

    options: tuple[Regex, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """A body some times over; `most` of `None` is without limit."""

    body: Regex
    least: int
    most: int | None


@dataclass(frozen=True, slots=True)
class Look:
    """A condition on what follows (or precedes) that consumes nothing."""

    body: Regex
    behind: bool
    negative: bool


@dataclass(frozen=True, slots=True)
class Start:
    """The start of the text, `^`."""


@dataclass(frozen=True, slots=True)
class End:
    """The end of the text, `$`."""


Regex: TypeAlias = "Chars | Seq | Alt | Repeat | Look | Start | End"

EMPTY: Final = Seq(())
NOTHING: Final = Alt(())
ANYTHING: Final = Repeat(Chars(ANY), 0, None)


def seq(parts: Iterable[Regex]) -> Regex:
    """A sequence without needless nesting."""
    flat: list[Regex] = []
    for part in parts:
        if part == NOTHING:
            return NOTHING
        flat.extend(part.parts if isinstance(part, Seq) else (part,))
    return flat[0] if len(flat) == 1 else Seq(tuple(flat))


def alt(options: Iterable[Regex]) -> Regex:
    """A choice without needless nesting, with single characters gathered into one set."""
    flat: dict[Regex, None] = {}
    points: list[CharSet] = []
    for option in options:
        for one in option.options if isinstance(option, Alt) else (option,):
            if isinstance(one, Chars) and not one.properties and not one.negated:
                points.append(one.intervals)
            else:
                flat[one] = None
    if points:
        flat[Chars(union(*points))] = None
    return next(iter(flat)) if len(flat) == 1 else Alt(tuple(flat))


def repeat(body: Regex, least: int, most: int | None) -> Regex:
    """A repetition, simplified where it is none."""
    if (least, most) == (1, 1):
        return body
    if most == 0 or body == EMPTY:
        return EMPTY
    if body == NOTHING:
        return EMPTY if least == 0 else NOTHING
    if isinstance(body, Repeat) and least <= 1 and most is None and body.most is None:
        return Repeat(body.body, min(least, body.least) if body.least <= 1 else body.least, None)
    return Repeat(body, least, most)


def literal(text: str) -> Regex:
    """A text as it is."""
    return seq(Chars(((ord(char), ord(char)),)) for char in text)


def members(chars: Chars) -> CharSet:
    """The code points that it stands for.

    Raises:
        RegexError: It names a property whose members are not known here.
    """
    sets = [chars.intervals]
    for name, negated in chars.properties:
        found = category(_SHORT.get(name.rpartition("=")[2], name.rpartition("=")[2]))
        if found is None or name.rpartition("=")[0] not in {"", "gc", "General_Category"}:
            raise RegexError(f"The members of \\p{{{name}}} are not known.")
        sets.append(complement(found) if negated else found)
    everything = union(*sets) if len(sets) > 1 else chars.intervals
    return complement(everything) if chars.negated else everything


_SHORT: Final = {
    "Letter": "L",
    "Lowercase_Letter": "Ll",
    "Mark": "M",
    "Modifier_Letter": "Lm",
    "Number": "N",
    "Decimal_Number": "Nd",
    "Other_Letter": "Lo",
    "Punctuation": "P",
    "Separator": "Z",
    "Space_Separator": "Zs",
    "Symbol": "S",
    "Titlecase_Letter": "Lt",
    "Uppercase_Letter": "Lu",
}
