"""`BareValueParser`: a value in Gemma's bare notation, followed while it is being written."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from gemma_structured.families.bare_values import BARE_KEY
from gemma_structured.parsing.json_tokens import ScalarReader, begin_scalar
from gemma_structured.parsing.partial import JsonValueParser

if TYPE_CHECKING:
    from gemma_structured.types import JsonValue

__all__ = ["BareValueParser"]

_KEY_CHARACTERS: Final = re.compile(f"{BARE_KEY}+")


class BareValueParser(JsonValueParser):
    """A `ValueParser` for `{k:<|"|>text<|"|>,n:[1,2]}`; see `bare_values`.

    Args:
        quote: The name of the token on both sides of a string.
    """

    __slots__ = ("_quote",)

    def __init__(self, quote: str) -> None:
        super().__init__()
        self._quote = quote

    def _blank(self, delta: str, at: int) -> re.Match[str] | None:
        del delta, at
        return None  # white space is part of a key, and stands nowhere else

    def _begin_scalar(self, character: str) -> ScalarReader | None:
        if character == self._quote[0]:
            return _QuotedReader(self._quote)
        return None if character == '"' else begin_scalar(character)

    def _begin_key(self, character: str) -> ScalarReader | None:
        if character == self._quote[0]:
            return _QuotedReader(self._quote)
        return _KeyReader(character) if _KEY_CHARACTERS.fullmatch(character) else None


class _QuotedReader:
    """Reads a string from behind the first character of its opening quote; nothing is escaped."""

    __slots__ = ("_quote", "_text", "is_broken", "is_closed")

    def __init__(self, quote: str) -> None:
        self._quote = quote
        self._text = quote[0]
        self.is_closed = False
        self.is_broken = False

    @property
    def value(self) -> JsonValue:
        """The text so far, less what may be the beginning of the closing quote."""
        body = self._text[len(self._quote) :]
        if self.is_closed:
            return body.removesuffix(self._quote)
        held = next(
            (n for n in range(len(self._quote) - 1, 0, -1) if body.endswith(self._quote[:n])), 0
        )
        return body[: len(body) - held]

    def feed(self, delta: str, at: int) -> int:
        """Read on from `delta[at]`; returns where reading stopped."""
        quote = self._quote
        missing = max(len(quote) - len(self._text), 0)
        self._text += delta[at : at + missing]
        at = min(at + missing, len(delta))
        if not quote.startswith(self._text[: len(quote)]):
            self.is_broken = True
            return at
        known = len(self._text)
        text = self._text + delta[at:]
        end = text.find(quote, max(len(quote), known - len(quote) + 1))
        if len(self._text) < len(quote) or end < 0:
            self._text = text
            return len(delta)
        self._text = text[: end + len(quote)]
        self.is_closed = True
        return at + len(self._text) - known

    def finish(self) -> None:
        """Say that the text has ended: without its closing quote, a string stays open."""


class _KeyReader:
    """Reads a key up to the colon behind it."""

    __slots__ = ("_text", "is_broken", "is_closed")

    def __init__(self, first: str) -> None:
        self._text = first
        self.is_closed = False
        self.is_broken = False

    @property
    def value(self) -> JsonValue:
        """The key so far."""
        return self._text

    def feed(self, delta: str, at: int) -> int:
        """Read on from `delta[at]`; returns where reading stopped."""
        if run := _KEY_CHARACTERS.match(delta, at):
            self._text += run.group()
            at = run.end()
        if at < len(delta):
            self.is_closed = delta[at] == ":"
            self.is_broken = not self.is_closed
        return at

    def finish(self) -> None:
        """Say that the text has ended: without its colon, a key stays open."""
