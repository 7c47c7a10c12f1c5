"""Turns of a local model that are more than an answer: thoughts, drafts, calls of tools."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gemma_structured.exceptions import InputError, OutputValidationError
from gemma_structured.families.call_format import argument_checks
from gemma_structured.families.turn import ParsedTurn, ThoughtMarks, split_thought, turn_grammar
from gemma_structured.families.turn_checker import CheckedCalls, TurnChecker
from gemma_structured.families.turn_splitter import TurnSplitter

if TYPE_CHECKING:
    from gemma_structured.decoding.runtime import Runtime
    from gemma_structured.decoding.thought import Thought
    from gemma_structured.driver import Task
    from gemma_structured.families.base import Family
    from gemma_structured.families.call_format import CallFormat
    from gemma_structured.grammar.spec import Grammar
    from gemma_structured.grammar.vocabulary import Vocabulary
    from gemma_structured.schema.residual import ResidualChecks

__all__ = ["DRAFT_INSTRUCTION", "DRAFT_MARKS", "TurnPlan"]

DRAFT_INSTRUCTION: Final = (
    "First write down your thoughts in plain text. Then write a line that says only `Answer:`, and "
    "after it the answer."
)
DRAFT_MARKS: Final = ThoughtMarks(open="", close="\nAnswer:\n", max_characters=2048)
"""A draft ends with a line, for models that have no token for it."""


class TurnPlan:
    """How the turns of one task are held to a grammar, and read.

    Args:
        task: What is asked for.
        answer: The grammar of its output type.
        checks: What that grammar does not hold of it; `None` if it holds all.
        family: The model's.
        runtime: The loaded model.

    Raises:
        InputError: The model was not trained to think, and the task asks for a thought.
        SchemaError: Nothing satisfies a tool's parameters.
    """

    def __init__(
        self,
        task: Task[Any],
        answer: Grammar,
        checks: ResidualChecks | None,
        family: Family,
        runtime: Runtime,
    ) -> None:
        self._task = task
        self.vocabulary: Vocabulary = runtime.vocabulary
        self.marks = _marks(task, family, runtime.vocabulary)
        self._form: CallFormat | None = None
        self._answer_checks = checks
        self._calls: CheckedCalls | None = None
        rules = None
        if task.tools is not None and task.tools.callable_tools:
            self._form = family.call_format(runtime.tokenizer)
            rules = self._form.rules(runtime.vocabulary, task.tools, task.bounds)
            tools = task.tools.callable_tools
            self._calls = CheckedCalls(
                self._form, {tool: argument_checks(tool, task.bounds) for tool in tools}
            )
        self.grammar = turn_grammar(
            runtime.vocabulary,
            thought=self.marks,
            answer=None if task.is_free_text else answer,
            calls=rules,
            must_call=rules is not None and task.tools is not None and task.tools.must_call,
        )

    def thought(self) -> Thought | None:
        """What follows the thought of one answer and ends it in time."""
        from gemma_structured.decoding.thought import Thought  # noqa: PLC0415 - needs numpy

        if self.marks is None or self.marks.max_characters is not None:
            return None
        close_id = self.vocabulary.token_id(self.marks.close)
        assert close_id is not None
        open_id = self.vocabulary.token_id(self.marks.open) if self.marks.open else None
        return Thought(open_id, close_id, self._task.thinking_budget)

    def checker(self) -> TurnChecker | None:
        """What judges the values of one turn; `None` if the mask holds all there is to hold."""
        if self._answer_checks is None and (self._calls is None or self._calls.are_held):
            return None
        return TurnChecker(self.marks, self._answer_checks, self._calls)

    def splitter(self) -> TurnSplitter:
        """What takes a turn apart while it is streamed."""
        return TurnSplitter(self.marks, self._form.opener if self._form is not None else None)

    def read(self, text: str, *, is_whole: bool) -> ParsedTurn:
        """A turn, with its control tokens by name.

        A turn that was cut is not searched for calls.

        Raises:
            OutputValidationError: It holds a call that is none, which no grammar lets by.
        """
        thinking, answer = split_thought(text, self.marks)
        if self._form is None or self._task.tools is None:
            return ParsedTurn(text=answer, thinking=thinking)
        try:
            turn = self._form.parse(answer, self._task.tools.callable_tools)
        except OutputValidationError:
            if is_whole:
                raise
            return ParsedTurn(text=answer, thinking=thinking)
        return ParsedTurn(text=turn.text, thinking=thinking, calls=turn.calls)


def _marks(task: Task[Any], family: Family, vocabulary: Vocabulary) -> ThoughtMarks | None:
    if task.draft:
        return DRAFT_MARKS
    if not task.thinks:
        return None
    marks = family.thought
    names = [name for name in (marks.open, marks.close) if name] if marks is not None else []
    if marks is None or any(vocabulary.token_id(name) is None for name in names):
        raise InputError(
            "thinking was asked for, and this model has no tokens for a thought.",
            hint="Use draft=True, which has any model write a draft before its answer.",
        )
    return marks
