"""Whether any string is left by patterns and lengths together."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from gemma_structured.schema.normalize.formats import FORMATS
from gemma_structured.schema.normalize.regex.determinize import language
from gemma_structured.schema.normalize.regex.parse import parse
from gemma_structured.schema.normalize.regex.syntax import (
    Alt,
    Chars,
    Regex,
    RegexError,
    Repeat,
    Seq,
)
from gemma_structured.schema.normalize.regex.write import is_plain
from gemma_structured.schema.normalize.strings import other_than

if TYPE_CHECKING:
    from gemma_structured.schema.normalize.facets import Strings
    from gemma_structured.schema.normalize.regex.dfa import Dfa

__all__ = ["is_empty"]

_MAX_STEPS: Final = 2000


@lru_cache(maxsize=2048)
def is_empty(strings: Strings) -> bool:
    """Whether it is proved that no string is such."""
    least, most = strings.least, strings.most
    for name in strings.formats:
        longest = FORMATS[name].most
        if longest is not None:
            most = longest if most is None else min(most, longest)
    if most is not None and least > most:
        return True
    patterns = [*strings.patterns, *(FORMATS[n].pattern for n in strings.formats)]
    if not patterns and not strings.refused and not strings.without:
        return False
    try:
        if len(patterns) == 1 and not strings.refused and not strings.without:
            shortest = _shortest(parse(patterns[0]))
            if shortest is not None and shortest >= least:
                return most is not None and shortest > most
        return not _has_length(_language(patterns, strings), least, most)
    except RegexError:
        return False


def _language(patterns: list[str], strings: Strings) -> Dfa:
    languages = [language(pattern) for pattern in patterns]
    languages += [~language(pattern) for pattern in strings.refused]
    if strings.without:
        languages.append(language(other_than(strings.without)))
    found = languages[0]
    for one in languages[1:]:
        found &= one
    return found


def _has_length(dfa: Dfa, least: int, most: int | None) -> bool:
    """Whether it accepts a text of a length in a range."""
    layer = {0} if dfa.live[0] else set[int]()
    end = least + len(dfa.edges) if most is None else min(most, least + len(dfa.edges))
    if end > _MAX_STEPS:
        return bool(layer)
    for length in range(end + 1):
        if length >= least and any(dfa.accepting[state] for state in layer):
            return True
        layer = {target for state in layer for target in dfa.edges[state] if dfa.live[target]}
    return False


def _shortest(tree: Regex) -> int | None:
    """The length of the shortest text in which a plain tree is found; there is one of it."""
    return _least(tree) if is_plain(tree) else None


def _least(tree: Regex) -> int | None:
    match tree:
        case Chars(intervals, properties, negated):
            return 1 if intervals or properties or negated else None
        case Seq(parts):
            lengths = [_least(part) for part in parts]
            return None if None in lengths else sum(filter(None, lengths))
        case Alt(options):
            known = [length for length in map(_least, options) if length is not None]
            return min(known) if known else None
        case Repeat(body, least):
            length = _least(body)
            return 0 if least == 0 else None if length is None else length * least
        case _:
            return 0
