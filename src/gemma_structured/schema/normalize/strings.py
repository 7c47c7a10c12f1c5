"""Strings as keywords that a grammar enforces: patterns, complements, formats, lengths."""

from __future__ import annotations

from functools import lru_cache, partial
from math import prod
from typing import TYPE_CHECKING, Any, Final

from gemma_structured.schema.normalize.formats import FORMATS
from gemma_structured.schema.normalize.regex.charset import ANY, complement
from gemma_structured.schema.normalize.regex.determinize import language
from gemma_structured.schema.normalize.regex.eliminate import pattern_of
from gemma_structured.schema.normalize.regex.measure import lengths
from gemma_structured.schema.normalize.regex.parse import parse
from gemma_structured.schema.normalize.regex.syntax import (
    ANYTHING,
    EMPTY,
    Chars,
    End,
    Regex,
    RegexError,
    Start,
    alt,
    literal,
    seq,
)
from gemma_structured.schema.normalize.regex.write import is_plain, write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gemma_structured.schema.normalize.facets import Strings
    from gemma_structured.schema.normalize.regex.dfa import Dfa
    from gemma_structured.schema.normalize.shape import Shape

__all__ = ["StringsError", "grammar_pattern", "one_pattern", "other_than", "string_keywords"]

# Past this many characters llguidance no longer finds out whether a pattern leaves any text.
_MAX_LEAST: Final = 32
_MAX_LENGTH: Final = 2**31 - 1
_FEW: Final = 2
_MAX_PRODUCT: Final = 127
"""Past two patterns, states in the product of their automata that llguidance surely searches."""
_MAX_TRIE: Final = 4000
_MAX_TEXT: Final = 150


class StringsError(Exception):
    """Strings that no single pattern of a reasonable size describes."""


@lru_cache(maxsize=1024)
def grammar_pattern(pattern: str) -> str:
    """A pattern that a grammar reads as ECMA-262 means the given one.

    Raises:
        RegexError: There is none of a reasonable size.
    """
    tree = parse(pattern)
    return write(tree) if is_plain(tree) else pattern_of(language(pattern))


@lru_cache(maxsize=256)
def _refusing(pattern: str) -> str:
    return pattern_of(~language(pattern))


def other_than(texts: Sequence[str]) -> str:
    """A pattern of every text but some.

    Raises:
        RegexError: It would be too large.
    """
    if sum(map(len, texts)) > _MAX_TRIE or max(map(len, texts)) > _MAX_TEXT:
        raise RegexError("The texts are too long together.")
    return write(seq([Start(), _differing(sorted(set(texts)), 0), End()]))


def _differing(texts: list[str], depth: int) -> Regex:
    """What differs from each of some texts that share their first characters."""
    ended = any(len(text) == depth for text in texts)
    following: dict[str, list[str]] = {}
    for text in texts:
        if len(text) > depth:
            following.setdefault(text[depth], []).append(text)
    options: list[Regex] = [] if ended else [EMPTY]
    taken = tuple(sorted((ord(char), ord(char)) for char in following))
    options.append(seq([Chars(complement(taken) if taken else ANY), ANYTHING]))
    for char, rest in following.items():
        options.append(seq([literal(char), _differing(rest, depth + 1)]))
    return alt(options)


def string_keywords(strings: Strings) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The keywords of a string, and the keywords that they do not say all of."""
    lost: list[str] = []
    patterns: list[str] = []
    for keyword, made in _patterns(strings, lost):
        try:
            pattern = made()
        except RegexError:
            lost.append(keyword)
            continue
        if pattern in patterns:
            continue
        if _can_all_hold([*patterns, pattern]):
            patterns.append(pattern)
        else:
            lost.append(keyword)
    keywords = _lengths(strings, patterns, lost)
    if patterns:
        keywords["pattern"] = patterns[0]
    if patterns[1:]:
        keywords["allOf"] = [{"pattern": pattern} for pattern in patterns[1:]]
    return keywords, tuple(lost)


def _can_all_hold(patterns: list[str]) -> bool:
    """Whether llguidance finds out that some text matches all patterns: else it compiles none."""
    if len(patterns) <= _FEW:
        return True
    try:
        return prod(sum(language(pattern).live) for pattern in patterns) <= _MAX_PRODUCT
    except RegexError:
        return False


def _patterns(strings: Strings, lost: list[str]) -> Iterator[tuple[str, Callable[[], str]]]:
    """What makes each pattern, and the keyword that it is made for."""
    for pattern in strings.patterns:
        yield "pattern", partial(grammar_pattern, pattern)
    for pattern in strings.refused:
        yield "not", partial(_refusing, pattern)
    if strings.without:
        yield "not", partial(other_than, strings.without)
    for name in strings.formats:
        found = FORMATS[name]
        if found.loose:
            lost.append("format")
        if found.pattern:
            yield "format", partial(grammar_pattern, found.pattern)


def _lengths(strings: Strings, patterns: list[str], lost: list[str]) -> dict[str, Any]:
    least, most = strings.least, strings.most
    for name in strings.formats:
        longest = FORMATS[name].most
        if longest is not None:
            most = longest if most is None else min(most, longest)
    if len(patterns) > 1 and (least or most is not None):
        lost += _not_implied(patterns, least, most)
        return {}
    keywords: dict[str, Any] = {}
    if patterns:
        least, most = _beyond(patterns[0], least, most)
    if patterns and least > _MAX_LEAST:
        lost.append("minLength")
        least = _MAX_LEAST
    if least > _MAX_LENGTH:
        lost.append("minLength")
        least = _MAX_LENGTH
    if least:
        keywords["minLength"] = least
    if most is not None and most > _MAX_LENGTH:
        lost.append("maxLength")
    elif most is not None:
        keywords["maxLength"] = most
    return keywords


def _beyond(pattern: str, least: int, most: int | None) -> tuple[int, int | None]:
    """The lengths that a pattern does not imply."""
    try:
        found = lengths(parse(pattern))
    except RegexError:
        return least, most
    if found is None:
        return least, most
    shortest, longest = found
    implied = most is not None and longest is not None and longest <= most
    return least if least > shortest else 0, None if implied else most


def _not_implied(patterns: list[str], least: int, most: int | None) -> Iterator[str]:
    """The lengths that several patterns do not imply: llguidance cannot count beside them."""
    try:
        found = language(patterns[0])
        for pattern in patterns[1:]:
            found &= language(pattern)
        shortest, longest = found.lengths() or (0, None)
    except RegexError:
        shortest, longest = 0, None
    if least > shortest:
        yield "minLength"
    if most is not None and (longest is None or longest > most):
        yield "maxLength"


def one_pattern(shapes: Sequence[Shape]) -> str:
    """One pattern of the strings of some shapes.

    Raises:
        StringsError: There is none of a reasonable size.
    """
    try:
        if len(shapes) == 1 and _is_one_pattern(shapes[0]):
            return shapes[0].strings.patterns[0]
        found: Dfa | None = None
        for shape in shapes:
            one = _language(shape)
            found = one if found is None else found | one
        assert found is not None
        return pattern_of(found)
    except RegexError as error:
        raise StringsError(str(error)) from None


def _is_one_pattern(shape: Shape) -> bool:
    strings = shape.strings
    if shape.values is not None or shape.excluded:
        return False
    bare = (strings.least, strings.most, strings.refused, strings.formats, strings.without)
    return len(strings.patterns) == 1 and bare == (0, None, (), (), ())


def _language(shape: Shape) -> Dfa:
    if shape.values is not None:
        texts = [write(literal(value)) for value in shape.values if isinstance(value, str)]
        return language(f"^(?:{'|'.join(texts)})$")
    strings = shape.strings
    most = "" if strings.most is None else strings.most
    found = language(f"^[\\s\\S]{{{strings.least},{most}}}$")
    for pattern in strings.patterns:
        found &= language(pattern)
    for pattern in strings.refused:
        found &= ~language(pattern)
    without = [*strings.without, *(text for text in shape.excluded if isinstance(text, str))]
    if without:
        found &= language(other_than(without))
    return found
