"""`TurnChecker`: judges the values of a turn, be they the answer's or the arguments of calls."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from gemma_structured.families.turn_splitter import TurnSplitter
from gemma_structured.parsing.checked import CheckedValue, Fault, PieceChecker
from gemma_structured.parsing.partial import JsonValueParser

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gemma_structured.families.call_format import ArgumentParser, CallFormat
    from gemma_structured.families.turn import ThoughtMarks
    from gemma_structured.schema.residual import ResidualChecks
    from gemma_structured.tools import Tool

__all__ = ["CheckedCalls", "TurnChecker"]


class CheckedCalls:
    """How calls are written, and what their arguments are checked for.

    Args:
        form: How they are written.
        tools: The tools that may be called, each with what the mask does not hold of its
            parameters; `None` if it holds all.
    """

    def __init__(
        self, form: CallFormat, tools: Mapping[Tool[..., Any], ResidualChecks | None]
    ) -> None:
        self.form = form
        self._tools = {tool.name: (tool, checks) for tool, checks in tools.items()}
        names = "|".join(map(re.escape, sorted(self._tools, key=len, reverse=True)))
        self.head = re.compile(f"({names}){re.escape(form.before)}(?={form.begins})")

    @property
    def are_held(self) -> bool:
        """Whether the mask holds all that is wanted of every tool's parameters."""
        return all(checks is None for _, checks in self._tools.values())

    def begin(self, name: str) -> tuple[ArgumentParser, CheckedValue | None]:
        """What reads, and what judges, the arguments of a call."""
        tool, checks = self._tools[name]
        parser = self.form.argument_parser(tool)
        return parser, None if checks is None else CheckedValue(parser, checks)


class TurnChecker(PieceChecker):
    """Judges a turn that may be more than an answer.

    Args:
        marks: How a thought is marked, if there may be one.
        answer: What the answer is checked for; `None` if the mask holds all of it.
        calls: The calls that may be made; `None` if none may.
    """

    def __init__(
        self,
        marks: ThoughtMarks | None,
        answer: ResidualChecks | None,
        calls: CheckedCalls | None,
    ) -> None:
        super().__init__()
        self._marks = marks
        self._answer_checks = answer
        self._calls = calls
        self._begin()

    def finish(self) -> Fault | None:
        """Say that the turn has ended, which closes a number that is all of the answer."""
        number = len(self._pieces)
        fault = self._read_answer(self._splitter.flush().text, number, known=False)
        if fault is None and self._answer is not None:
            self._answer.parser.finish()
            fault = self._answer.look(number)
        return fault

    @property
    def settled(self) -> int:
        """How many of the first pieces no judgement will ask to be taken back."""
        values = [value for value in (self._answer, self._arguments) if value is not None]
        firsts = [value.first_checked for value in values]
        return min((first for first in firsts if first is not None), default=len(self._pieces))

    def _begin(self) -> None:
        opener = None if self._calls is None else self._calls.form.opener
        self._splitter = TurnSplitter(self._marks, opener)
        self._answer: CheckedValue | None = None
        if self._answer_checks is not None:
            self._answer = CheckedValue(JsonValueParser(), self._answer_checks)
        self._parser: ArgumentParser | None = None
        self._arguments: CheckedValue | None = None
        self._head = ""

    def _read(self, piece: str, number: int, *, known: bool) -> Fault | None:
        fault = self._read_answer(self._splitter.feed(piece).text, number, known=known)
        return fault or self._read_calls(self._splitter.take_calls(), number, known=known)

    def _read_answer(self, text: str, number: int, *, known: bool) -> Fault | None:
        if self._answer is None or not text:
            return None
        self._answer.parser.feed(text)
        return self._answer.look(number, known=known)

    def _read_calls(self, text: str, number: int, *, known: bool) -> Fault | None:
        """Read calls: heads with the tools' names, and after each its arguments."""
        while text and self._calls is not None:
            if self._parser is None:
                text = self._read_head(text, self._calls)
                continue
            text = text[self._parser.feed_value(text) :]
            fault = self._arguments and self._arguments.look(number, known=known)
            if fault:
                return fault
            if () in self._parser.closed:
                self._parser = self._arguments = None
            elif self._parser.is_broken:
                self._calls = None  # nothing that could be followed
        return None

    def _read_head(self, text: str, calls: CheckedCalls) -> str:
        """Look for where arguments begin; what comes after is given back."""
        self._head += text
        found = calls.head.search(self._head)
        if found is None:
            return ""
        rest, self._head = self._head[found.end() :], ""
        self._parser, self._arguments = calls.begin(found[1])
        return rest
