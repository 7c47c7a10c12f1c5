"""Whether a text matches a pattern, in linear time where the pattern is regular."""

from __future__ import annotations

from functools import lru_cache

from gemma_structured.schema.ecma import EcmaRegex
from gemma_structured.schema.normalize.regex import determinize
from gemma_structured.schema.normalize.regex.syntax import RegexError

__all__ = ["matches"]


@lru_cache(maxsize=4096)
def matches(pattern: str, text: str) -> bool:
    """Whether an ECMA-262 pattern is found in a text."""
    try:
        return determinize.matches(pattern, text)
    except RegexError:
        return EcmaRegex.of(pattern).search(text)
