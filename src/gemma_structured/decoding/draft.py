"""Drafts: guesses at the next tokens, which one forward verifies together.

A sequence's `Drafter` proposes tokens; those that are not chosen are rewound. What is chosen is
what would have been without a draft. Extraction copies its input, and lists repeat themselves, so
the document and the answer so far say what comes next
(https://github.com/apoorvumang/prompt-lookup-decoding).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from gemma_structured.decoding.session import Row
    from gemma_structured.grammar.backend import GrammarMatcher

__all__ = ["DraftContext", "Drafter", "Drafters", "PromptLookup"]

_SHORTEST = 3
_LONGEST = 32
_LOOK_BACK = 1024
_CHARACTERS_A_TOKEN = 8
_FIRST_LENGTH = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftContext:
    """Where a sequence stands when its next tokens are guessed.

    Attributes:
        output_ids: The answer so far.
        pieces: What each of its tokens adds to the text.
        next_ids: The last of its tokens, which the coming forward appends before the draft.
        matcher: After the answer so far; to be forked, not moved.
        row: The tokens before `next_ids`.
        hidden: The model's last hidden state after them, `[hidden]`; `None` where it is not known.
    """

    output_ids: Sequence[int]
    pieces: Sequence[str]
    next_ids: Sequence[int]
    matcher: GrammarMatcher
    row: Row | None = None
    hidden: Tensor | None = None


class Drafter(Protocol):
    """Guesses at what comes next in one sequence."""

    @property
    def reads_hidden(self) -> bool:
        """Whether it wants `DraftContext.hidden`."""
        ...

    def propose(self, context: DraftContext, room: int) -> list[int]:
        """Tokens that may come next, at most `room`, likely ones; the grammar is asked later."""
        ...

    def learn(self, proposed: int, accepted: int) -> None:
        """Hear how many tokens of the last draft were tried, and how many of them were chosen."""
        ...


class Drafters:
    """Several drafters, of which the first one that has a guess is asked.

    Args:
        drafters: The cheapest first.
    """

    def __init__(self, *drafters: Drafter) -> None:
        self._drafters = drafters
        self._last: Drafter | None = None
        self.reads_hidden = any(drafter.reads_hidden for drafter in drafters)

    def propose(self, context: DraftContext, room: int) -> list[int]:
        """The first guess whose first token the grammar allows."""
        for drafter in self._drafters:
            tokens = drafter.propose(context, room)
            if tokens and context.matcher.count_valid(tokens[:1]):
                self._last = drafter
                return tokens
        self._last = None
        return []

    def learn(self, proposed: int, accepted: int) -> None:
        """Tell the one that was asked."""
        if self._last is not None:
            self._last.learn(proposed, accepted)


class PromptLookup:
    """Drafts for one sequence, copied from its document and from its own answer.

    The end of the answer is looked up in both, and what follows the longest match is proposed. In
    the document texts are compared, not tokens: a word after a quotation mark is another token than
    the same word after a space. The answer repeats its tokens.

    Args:
        source: What the answer may copy from.
        encode: Text to token ids.
        max_tokens: The longest draft.
    """

    reads_hidden = False

    def __init__(
        self, source: str, encode: Callable[[str], list[int]], *, max_tokens: int = 16
    ) -> None:
        self._source = source
        self._encode = encode
        self._copied = DraftLength(max_tokens)
        self._repeated = DraftLength(max_tokens)
        self._last = self._copied

    def propose(self, context: DraftContext, room: int) -> list[int]:
        """Tokens that may come next, at most `room`; none if the end of the answer is not found."""
        start, repeated = _find_repeated(context.output_ids, context.pieces)
        found, copied = _find_copied(self._source, _tail(context.pieces, _LONGEST))
        if repeated > copied:
            self._last = self._repeated
            return list(context.output_ids[start : start + min(self._last.value, room)])
        self._last = self._copied
        count = min(self._last.value, room)
        following = self._source[found : found + count * _CHARACTERS_A_TOKEN] if copied else ""
        return self._encode(following)[:count] if following else []

    def learn(self, proposed: int, accepted: int) -> None:
        """Make the next draft longer where this one was right, shorter where it was wrong."""
        self._last.learn(proposed, accepted)


class DraftLength:
    """How many tokens to guess: more where guesses are right, fewer where they are wrong."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.value = min(_FIRST_LENGTH, most)

    def learn(self, proposed: int, accepted: int) -> None:
        """Follow the last draft."""
        if proposed:
            self.value = min(2 * accepted + 2, self._most)


def _tail(pieces: Sequence[str], characters: int) -> str:
    """The end of the text: so many characters, where there are as many."""
    tail = ""
    for piece in reversed(pieces):
        tail = piece + tail
        if len(tail) >= characters:
            break
    return tail[-characters:]


def _find_copied(source: str, tail: str) -> tuple[int, int]:
    """Where the source goes on after its longest match with the end of the answer; its length."""
    found = matched = 0
    for length in range(_SHORTEST, len(tail) + 1):
        at = source.find(tail[-length:], max(0, found - length))
        if at < 0:
            break
        found, matched = at + length, length
    return found, matched


def _find_repeated(token_ids: Sequence[int], pieces: Sequence[str]) -> tuple[int, int]:
    """Where the answer went on after the last of its longest matches with its own end.

    Returns:
        The place of the token there, and the match's length in characters, 0 if there is none.
    """
    end = len(token_ids)
    found = matched = 0
    for place in range(end - 1, max(0, end - _LOOK_BACK), -1):
        count = length = 0
        while (
            count < place
            and length < _LONGEST
            and token_ids[place - 1 - count] == token_ids[end - 1 - count]
        ):
            length += len(pieces[end - 1 - count])
            count += 1
        if length > matched and length >= _SHORTEST:
            found, matched = place, length
        if matched >= _LONGEST:
            break
    return found, min(matched, _LONGEST)
