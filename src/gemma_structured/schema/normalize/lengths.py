"""Whether any string is left by patterns and lengths together."""

from __future__ import annotations

from functools import lru_cache
from math import inf
from typing import TYPE_CHECKING, Final

from gemma_structured.schema.normalize.formats import FORMATS
from gemma_structured.schema.normalize.regex.determinize import language
from gemma_structured.schema.normalize.regex.measure import lengths, weight
from gemma_structured.schema.normalize.regex.parse import parse
from gemma_structured.schema.normalize.regex.syntax import RegexError
from gemma_structured.schema.normalize.strings import other_than

if TYPE_CHECKING:
    from gemma_structured.schema.normalize.facets import Strings
    from gemma_structured.schema.normalize.regex.dfa import Dfa

__all__ = ["is_empty"]

_MAX_STEPS: Final = 2000
_MAX_WEIGHT: Final = 150


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
        ranges = [lengths(parse(pattern)) for pattern in patterns]
        if None in ranges:
            return True
        known = [one for one in ranges if one is not None]
        shortest = max([least, *(low for low, _ in known)])
        tops = [high for _, high in known if high is not None]
        if shortest > min([inf if most is None else most, *tops]):
            return True
        if len(patterns) == 1 and not strings.refused and not strings.without:
            return False
        given = (*strings.patterns, *strings.refused)  # those of formats are known to be small
        if sum(weight(parse(pattern)) for pattern in given) > _MAX_WEIGHT:
            return False
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
