"""Where the JSON begins in an answer that is being streamed: behind a fence, or a word of prose."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["JsonStart"]

_SPACE: Final = " \t\r\n\ufeff"
_LITERALS: Final = ("true", "false", "null")
_BRACKET = re.compile(r"[{\[]")


class JsonStart:
    """Drops what stands before the JSON, for a `ValueParser` that wants to begin with it.

    A guess for the sake of partial values: whatever it is, the whole answer is read anew at its
    end. Text that a grammar holds begins with the JSON and passes through as it is.
    """

    __slots__ = ("_held", "_is_found")

    def __init__(self) -> None:
        self._held = ""
        self._is_found = False

    def feed(self, delta: str) -> str:
        """Take the next piece; give back what of it is JSON, as far as that is known."""
        if self._is_found:
            return delta
        text = (self._held + delta).lstrip(_SPACE)
        if any(literal.startswith(text) for literal in _LITERALS):
            self._held = text
            return ""
        if text[0] not in '{["-0123456789' and not text.startswith(_LITERALS):
            bracket = _BRACKET.search(text)
            if bracket is None:
                self._held = text[:1]  # enough to know that prose came first
                return ""
            text = text[bracket.start() :]
        self._is_found = True
        return text
