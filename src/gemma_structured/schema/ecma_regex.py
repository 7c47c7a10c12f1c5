"""Regular expressions as JSON Schema means them: ECMA-262, by code point."""

from __future__ import annotations

from functools import lru_cache

import regress

from gemma_structured.exceptions import SchemaError

__all__ = ["EcmaRegex"]


class EcmaRegex:
    """A compiled regular expression of ECMA-262.

    Args:
        pattern: Its source. Unicode mode is tried first, then the older syntax that allows idle
            backslashes (`\\-`).

    Raises:
        SchemaError: The pattern is not a regular expression.
    """

    __slots__ = ("_full", "_search", "pattern")

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self._search = _compile(pattern)
        self._full = _compile(f"^(?:{pattern})$")

    @classmethod
    def of(cls, pattern: str) -> EcmaRegex:
        """The compiled pattern, from a bounded cache.

        Raises:
            SchemaError: The pattern is not a regular expression.
        """
        return _cached(pattern)

    def search(self, text: str) -> bool:
        """Whether the pattern matches somewhere in the text."""
        return self._search.find(text) is not None

    def fullmatch(self, text: str) -> bool:
        """Whether the pattern matches the whole text."""
        return self._full.find(text) is not None


@lru_cache(maxsize=1024)
def _cached(pattern: str) -> EcmaRegex:
    return EcmaRegex(pattern)


def _compile(pattern: str) -> regress.Regex:
    try:
        return regress.Regex(pattern, "u")
    except regress.RegressError:
        pass
    try:
        return regress.Regex(pattern)
    except regress.RegressError as error:
        raise SchemaError(
            f"{pattern!r:.200} is not a regular expression of ECMA-262: {error}.", keyword="pattern"
        ) from None
