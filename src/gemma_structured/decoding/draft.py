"""Prompt-lookup drafts: extraction copies its input, so the input says what comes next.

The end of the answer is looked up in the document, and what follows there is proposed as the next
tokens. One forward verifies them all; those that were not chosen are rewound. What is chosen is
what would have been without a draft (https://github.com/apoorvumang/prompt-lookup-decoding).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PromptLookup"]

_SHORTEST = 3
_LONGEST = 32
_CHARACTERS_A_TOKEN = 8
_FIRST_LENGTH = 4


class PromptLookup:
    """Drafts for one sequence.

    Texts are compared, not tokens: a word after a quotation mark is another token than the same
    word after a space.

    Args:
        source: What the answer may copy from.
        encode: Text to token ids.
        max_tokens: The longest draft.
    """

    def __init__(
        self, source: str, encode: Callable[[str], list[int]], *, max_tokens: int = 16
    ) -> None:
        self._source = source
        self._encode = encode
        self._max_tokens = max_tokens
        self._length = min(_FIRST_LENGTH, max_tokens)

    def propose(self, answer: str, room: int) -> list[int]:
        """Tokens that may come next, at most `room`; none if the end of the answer is not found."""
        count = min(self._length, room)
        if count < 1:
            return []
        found = self._find(answer[-_LONGEST:])
        following = self._source[found : found + count * _CHARACTERS_A_TOKEN] if found else ""
        return self._encode(following)[:count] if following else []

    def learn(self, proposed: int, accepted: int) -> None:
        """Make the next draft longer where this one was right, shorter where it was wrong."""
        if proposed:
            self._length = min(2 * accepted + 2, self._max_tokens)

    def _find(self, tail: str) -> int | None:
        """Where the source goes on after its longest match with the end of the answer."""
        found = None
        for length in range(_SHORTEST, len(tail) + 1):
            suffix = tail[-length:]
            at = self._source.find(suffix, 0 if found is None else found - length)
            if at < 0:
                break
            found = at + length
        return found
