"""Thoughts that a server leaves in the content, told apart from the answer while it streams."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["Split", "ThoughtSplitter"]

_MARKS: Final = {
    "<|channel>thought\n": "<channel|>",
    "<|channel>": "<channel|>",
    "<think>": "</think>",
    "<thinking>": "</thinking>",
    "<thought>": "</thought>",
    "<reasoning>": "</reasoning>",
}
_SPACE: Final = " \t\r\n\ufeff"


@dataclass(frozen=True, slots=True)
class Split:
    """What a piece adds to the answer and to the thought."""

    text: str = ""
    thinking: str = ""


class ThoughtSplitter:
    """Takes thoughts off the beginning of an answer.

    Only there: further on, a marker is a part of the answer (a string may hold one). What may yet
    become a marker is held back until it does or does not.
    """

    __slots__ = ("_close", "_held", "_in_answer")

    def __init__(self) -> None:
        self._held = ""
        self._close: str | None = None
        self._in_answer = False

    def feed(self, piece: str) -> Split:
        """Take the next piece of the content."""
        if self._in_answer:
            return Split(piece)
        self._held += piece
        text: list[str] = []
        thinking: list[str] = []
        progress = True
        while progress and not self._in_answer:
            before = self._close
            if before is None:
                text.append(self._before_thought())
            else:
                thinking.append(self._thought(before))
            progress = self._close != before
        return Split("".join(text), "".join(thinking))

    def flush(self) -> Split:
        """Give out what is held back: the answer has ended."""
        held, self._held = self._held, ""
        return Split(held) if self._close is None else Split(thinking=held)

    def _before_thought(self) -> str:
        """White space, or the answer's beginning; nothing while it may become a marker."""
        rest = self._held.lstrip(_SPACE)
        space = self._held[: len(self._held) - len(rest)]
        self._held = rest
        if not rest or any(mark.startswith(rest) and mark != rest for mark in _MARKS):
            return space
        mark = next((mark for mark in _MARKS if rest.startswith(mark)), None)
        if mark is None:
            self._held, self._in_answer = "", True
            return space + rest
        self._close, self._held = _MARKS[mark], rest[len(mark) :]
        return space

    def _thought(self, close: str) -> str:
        """The thought up to its end, or as far as the end cannot have begun."""
        thought, found, rest = self._held.partition(close)
        if found:
            self._held, self._close = rest, None
            return thought
        kept = next((n for n in range(len(close) - 1, 0, -1) if thought.endswith(close[:n])), 0)
        self._held = thought[len(thought) - kept :]
        return thought[: len(thought) - kept]
