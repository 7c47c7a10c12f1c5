"""`AnswerText`: the text of an answer's tokens, a piece for each, so that tokens can go again."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gemma_structured.grammar.vocabulary import Vocabulary

__all__ = ["AnswerText"]


class AnswerText:
    """What the tokens of an answer spell.

    A character that is spread over several tokens belongs to the last of them.

    Args:
        vocabulary: Whose tokens they are.
        show_control: Whether control tokens are in the text, by name.
    """

    def __init__(self, vocabulary: Vocabulary, *, show_control: bool = False) -> None:
        self._vocabulary = vocabulary
        self._show_control = show_control
        self._decoder = vocabulary.decoder(show_control=show_control)
        self._pieces: list[str] = []
        self._taken = 0

    def __str__(self) -> str:
        return "".join(self._pieces)

    @property
    def pieces(self) -> Sequence[str]:
        """What each token adds to the text."""
        return self._pieces

    def append(self, token_ids: Sequence[int]) -> list[str]:
        """Add tokens; what each adds to the text is given back."""
        pieces = [self._decoder.feed((token_id,)) for token_id in token_ids]
        self._pieces += pieces
        return pieces

    def finish(self) -> None:
        """Say that no token follows; a character that was never completed shows as U+FFFD."""
        self._pieces.append(self._decoder.flush())

    def drop(self, kept: Sequence[int]) -> None:
        """Go back to the first tokens, which are given."""
        del self._pieces[len(kept) :]
        self._decoder = self._vocabulary.decoder(show_control=self._show_control)
        self._decoder.feed(kept)

    def take(self, tokens: int | None) -> str:
        """The text since the last call, of so many first tokens; of all there are for `None`."""
        end = len(self._pieces) if tokens is None else tokens
        delta = "".join(self._pieces[self._taken : end])
        self._taken = max(self._taken, end)
        return delta
