"""A turn of a model as one grammar: the thought, then text, calls or an answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gemma_structured.families.lark_rules import answer_rule, escaped, literal, marker, without
from gemma_structured.grammar.spec import Grammar

if TYPE_CHECKING:
    from gemma_structured.grammar.vocabulary import Vocabulary
    from gemma_structured.messages import ToolCall

__all__ = [
    "CallRules",
    "ParsedTurn",
    "ThoughtMarks",
    "split_thought",
    "turn_grammar",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ThoughtMarks:
    """How a family marks its thought.

    Attributes:
        open: The control token before it; empty where the prompt has opened it already.
        head: What follows that token at once.
        close: The control token after it.
        tail: What may follow that one, before the answer.
        max_characters: The most characters of a thought whose end is text and no token, which the
            decode loop therefore cannot bring about.
    """

    open: str
    head: str = ""
    close: str
    tail: str = ""
    max_characters: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRules:
    """The calls of a turn, as rules of a grammar.

    Attributes:
        opener: The control token, or the text, that begins them.
        rules: Lark rules, with one named `calls_rest` for all that follows `open`.
    """

    opener: str
    rules: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedTurn:
    """What a model wrote in one turn.

    Attributes:
        text: What it said.
        thinking: The thought before.
        calls: The calls, not validated yet.
    """

    text: str = field(repr=False)
    thinking: str | None = field(default=None, repr=False)
    calls: tuple[ToolCall, ...] = field(default=(), repr=False)


def turn_grammar(
    vocabulary: Vocabulary,
    *,
    thought: ThoughtMarks | None = None,
    answer: Grammar | None = None,
    calls: CallRules | None = None,
    must_call: bool = False,
) -> Grammar:
    """The grammar of a turn.

    The optional thought is part of it, so that nothing has to be switched on after the thought. A
    text holds no control token, and none spelled out that would begin calls or end the thought.

    Args:
        vocabulary: Whose control tokens are meant.
        thought: How the family marks a thought, if there may be one.
        answer: What the text must be; `None` for any text.
        calls: The calls that may be made.
        must_call: Whether there have to be calls, and no text.
    """
    parts: list[str] = []
    start = "start: turn"
    if thought is not None:
        start = "start: thought turn" if not thought.open else "start: thought? turn"
        parts.append(_thought(thought, vocabulary))
    if calls is not None:
        parts.append(calls.rules)
    if calls is not None and must_call:
        parts += [f"turn: calls\ncalls: {marker(calls.opener, vocabulary)} calls_rest"]
    elif answer is not None:
        parts.append(answer_rule(answer))
        parts.append("turn: answer" if calls is None else "turn: answer | calls")
        if calls is not None:
            parts.append(f"calls: {marker(calls.opener, vocabulary)} calls_rest")
    else:
        parts.append(_free_text(vocabulary, calls))
    return Grammar.lark("\n".join([start, *parts]))


def _thought(marks: ThoughtMarks, vocabulary: Vocabulary) -> str:
    if marks.max_characters is not None:
        return f"thought[lazy]: /(?s:.){{0,{marks.max_characters}}}{escaped(marks.close)}/"
    opening = f"{marker(marks.open, vocabulary)} " if marks.open else ""
    head = f"{literal(marks.head)} " if marks.head else ""
    tail = f" {literal(marks.tail)}?" if marks.tail else ""
    return (
        f"thought: {opening}{head}THOUGHT? {marker(marks.close, vocabulary)}{tail}\n"
        f"THOUGHT: /(?s:.)+/{without(marks.close)}"
    )


def _free_text(vocabulary: Vocabulary, calls: CallRules | None) -> str:
    if calls is None:
        return "turn: TEXT?\nTEXT: /(?s:.)+/"
    text = f"TEXT: /(?s:.)+/{without(calls.opener)}"
    opening = marker(calls.opener, vocabulary)
    if opening.startswith("<"):
        return f"turn: TEXT? ({opening} calls_rest TEXT?)?\n{text}"
    # No token tells the two apart: a text that comes to spell the opening has begun a call.
    spelled = escaped(calls.opener)
    return f"turn: TEXT? | opening calls_rest TEXT?\nopening[lazy]: /(?s:.*){spelled}/\n{text}"


def split_thought(text: str, marks: ThoughtMarks | None) -> tuple[str | None, str]:
    """A thought and what follows it; where it is not closed, all is thought."""
    if marks is None or not text.startswith(marks.open + marks.head):
        return None, text
    thought, _, answer = text.removeprefix(marks.open + marks.head).partition(marks.close)
    return thought.strip() or None, answer.removeprefix(marks.tail)
