"""How long the texts are in which a tree is found, and how large it is written out."""

from __future__ import annotations

from gemma_structured.schema.normalize.regex.syntax import (
    Alt,
    Chars,
    End,
    Look,
    Regex,
    Repeat,
    Seq,
    Start,
)

__all__ = ["lengths", "weight"]

_MOST_COUNTED = 400


def lengths(tree: Regex) -> tuple[int, int | None] | None:
    """Bounds of the lengths of the texts in which a tree is found; `None` if there are none.

    The upper bound is `None` unless the tree is anchored at both ends.
    """
    found = _lengths(tree)
    if found is None:
        return None
    return (
        found if _anchored(tree, first=True) and _anchored(tree, first=False) else (found[0], None)
    )


def _anchored(tree: Regex, *, first: bool) -> bool:
    match tree:
        case Start():
            return first
        case End():
            return not first
        case Seq(parts):
            return bool(parts) and _anchored(parts[0 if first else -1], first=first)
        case Alt(options):
            return all(_anchored(option, first=first) for option in options)
        case _:
            return False


def _lengths(tree: Regex) -> tuple[int, int | None] | None:
    match tree:
        case Chars(intervals, properties, negated):
            return (1, 1) if intervals or properties or negated else None
        case Seq(parts):
            ranges = [_lengths(part) for part in parts]
            known = [one for one in ranges if one is not None]
            if len(known) < len(ranges):
                return None
            tops = [high for _, high in known if high is not None]
            return sum(low for low, _ in known), sum(tops) if len(tops) == len(known) else None
        case Alt(options):
            known = [one for one in map(_lengths, options) if one is not None]
            if not known:
                return None
            tops = [high for _, high in known if high is not None]
            return min(low for low, _ in known), max(tops) if len(tops) == len(known) else None
        case Repeat(body, least, most):
            return _repeated(_lengths(body), least, most)
        case Look() | Start() | End():
            return 0, 0


def _repeated(
    once: tuple[int, int | None] | None, least: int, most: int | None
) -> tuple[int, int | None] | None:
    if once is None:
        return (0, 0) if least == 0 else None
    top = None if most is None or once[1] is None else once[1] * most
    return once[0] * least, 0 if once[1] == 0 else top


def weight(tree: Regex) -> int:
    """How many characters a tree matches when its repetitions are written out."""
    match tree:
        case Chars():
            return 1
        case Seq(parts) | Alt(parts):
            return sum(map(weight, parts))
        case Repeat(body, least, most):
            return weight(body) * max(1, min(least + 1 if most is None else most, _MOST_COUNTED))
        case Look(body):
            return weight(body)
        case Start() | End():
            return 0
