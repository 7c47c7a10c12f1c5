"""`TokenDecoder`: tokens to text as they come, never cutting a character in two."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["TokenDecoder"]


class TokenDecoder:
    """Turns a stream of token ids into text.

    A character whose bytes are spread over several tokens comes out with the last of them. Control
    tokens have no text. Bytes that are no UTF-8 become U+FFFD, as when the whole is decoded at
    once.
    """

    __slots__ = ("_control_ids", "_decoder", "_tokens")

    def __init__(self, tokens: Sequence[bytes], control_ids: frozenset[int]) -> None:
        self._tokens = tokens
        self._control_ids = control_ids
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def feed(self, token_ids: Iterable[int]) -> str:
        """The text that these tokens complete."""
        tokens, control_ids = self._tokens, self._control_ids
        return self._decoder.decode(
            b"".join([tokens[i] for i in token_ids if i not in control_ids])
        )

    def flush(self) -> str:
        """What is left at the end: nothing, or U+FFFD for a character that was never completed."""
        return self._decoder.decode(b"", final=True)
