"""The syntax tree of a regular expression of ECMA-262, as far as matching needs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = [
    "Alternatives",
    "Atom",
    "Backreference",
    "Edge",
    "EdgeKind",
    "Look",
    "Node",
    "Repeat",
    "Sequence",
]

EdgeKind: TypeAlias = Literal["start", "end", "line_start", "line_end", "boundary", "no_boundary"]


@dataclass(frozen=True, slots=True)
class Atom:
    """Whatever matches exactly one code point: a character, an escape, a class, a dot.

    Attributes:
        source: The pattern of that code point alone, with its flags: `(?i:[a-z])`.
    """

    source: str


@dataclass(frozen=True, slots=True)
class Sequence:
    """One after the other; none is the empty pattern."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Alternatives:
    """One of several."""

    options: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """Several times; greedy and lazy are the same to a test for a match.

    Attributes:
        most: `None` for any number.
    """

    node: Node
    least: int
    most: int | None


@dataclass(frozen=True, slots=True)
class Look:
    """A lookahead or lookbehind."""

    node: Node
    behind: bool
    negative: bool


@dataclass(frozen=True, slots=True)
class Edge:
    """A place between characters: the edge of the text, of a line or of a word, or none."""

    kind: EdgeKind


@dataclass(frozen=True, slots=True)
class Backreference:
    """The text of a group, again: the one thing that is not regular."""


Node: TypeAlias = Atom | Sequence | Alternatives | Repeat | Look | Edge | Backreference
