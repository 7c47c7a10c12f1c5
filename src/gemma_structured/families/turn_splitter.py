"""`TurnSplitter`: a turn that is being streamed, taken apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemma_structured.types import ModelDelta

if TYPE_CHECKING:
    from gemma_structured.families.turn import ThoughtMarks

__all__ = ["TurnSplitter"]


class TurnSplitter:
    """Tells a turn's thought, text and calls apart while it comes.

    What may be the beginning of a mark is held back until it is clear.

    Args:
        marks: How a thought is marked, if there may be one.
        opener: What begins calls, if there may be any.
    """

    def __init__(self, marks: ThoughtMarks | None, opener: str | None) -> None:
        self._marks = marks
        self._opener = opener
        self._held = ""
        self._calls = ""
        self._state = "start" if marks is not None else "text"

    def feed(self, piece: str) -> ModelDelta:
        """What a piece adds to the thought, and to the text: perhaps nothing."""
        self._held += piece
        thinking = self._thinking() if self._state in {"start", "thought"} else ""
        if self._state == "tail" and self._marks is not None:
            self._skip(self._marks.tail, after="text")
        text = self._cut(self._opener, after="calls") if self._state == "text" else ""
        if self._state == "calls":
            self._calls += self._held
            self._held = ""
        return ModelDelta(text=text, thinking=thinking)

    def take_calls(self) -> str:
        """What has come since the last call after the mark that begins calls."""
        calls, self._calls = self._calls, ""
        return calls

    def flush(self) -> ModelDelta:
        """What was held back, when nothing more comes."""
        held, self._held = self._held, ""
        if self._state == "thought":
            return ModelDelta(thinking=held)
        return ModelDelta(text="" if self._state == "calls" else held)

    def _thinking(self) -> str:
        marks = self._marks
        assert marks is not None
        if self._state == "start":
            self._skip(marks.open + marks.head, after="thought", otherwise="text")
        return self._cut(marks.close, after="tail") if self._state == "thought" else ""

    def _skip(self, expected: str, *, after: str, otherwise: str | None = None) -> None:
        """Drop a mark, once it is clear whether it is there."""
        if self._held.startswith(expected):
            self._held = self._held.removeprefix(expected)
            self._state = after
        elif not expected.startswith(self._held):
            self._state = otherwise or after

    def _cut(self, mark: str | None, *, after: str) -> str:
        """What is surely before a mark."""
        if mark is None:
            sure, self._held = self._held, ""
            return sure
        sure, found, rest = self._held.partition(mark)
        if found:
            self._held, self._state = rest, after
            return sure
        kept = next((n for n in range(len(mark) - 1, 0, -1) if self._held.endswith(mark[:n])), 0)
        end = len(self._held) - kept
        sure, self._held = self._held[:end], self._held[end:]
        return sure
