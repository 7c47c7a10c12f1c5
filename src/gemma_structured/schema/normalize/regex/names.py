"""Whether a text matches a pattern, in bounded time."""

from __future__ import annotations

from functools import lru_cache

from gemma_structured.schema.ecma import EcmaRegex, MatchBudgetError
from gemma_structured.schema.normalize.regex.determinize import language
from gemma_structured.schema.normalize.regex.syntax import RegexError

__all__ = ["matches"]


@lru_cache(maxsize=4096)
def matches(pattern: str, text: str) -> bool:
    """Whether an ECMA-262 pattern is found in a text.

    Raises:
        MatchBudgetError: It cannot be told in bounded time.
    """
    try:
        return EcmaRegex.of(pattern).search(text)
    except MatchBudgetError as error:
        try:
            return language(pattern).matches(text)
        except RegexError:
            raise error from None
