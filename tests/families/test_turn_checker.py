"""A turn is judged whatever it holds: a thought, an answer, calls in the family's notation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gemma_structured.families.call_format import argument_checks
from gemma_structured.families.turn import ThoughtMarks
from gemma_structured.families.turn_checker import CheckedCalls, TurnChecker
from gemma_structured.messages import ToolCall
from gemma_structured.schema.json_schema import JsonSchema
from gemma_structured.schema.normalize import normalize
from gemma_structured.schema.residual import ResidualChecks
from gemma_structured.tools import Tool

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gemma_structured.parsing.checked import Fault

SET = {"type": "array", "items": {"type": "string"}, "uniqueItems": True}
TAG = Tool.from_schema(
    "tag",
    {"type": "object", "properties": {"note": {"type": "string"}, "tags": SET}, "required": []},
    lambda arguments: arguments,
)
RETAG = Tool.from_schema(
    "re_tag",
    {"type": "object", "properties": {"text": {"type": "string"}}},
    lambda arguments: arguments,
)
MARKS = ThoughtMarks(open="<think>", close="</think>", tail="\n")


def answer_checks() -> ResidualChecks:
    schema = JsonSchema({"type": "object", "properties": {"tags": SET}})
    checks = ResidualChecks.of(schema, normalize(schema).residual)
    assert checks is not None
    return checks


def calls_of(form: Any) -> CheckedCalls:
    return CheckedCalls(form, {tool: argument_checks(tool, None) for tool in (TAG, RETAG)})


def first_fault(checker: TurnChecker, pieces: Iterable[str]) -> tuple[int, Fault] | None:
    for number, piece in enumerate(pieces):
        if fault := checker.read(piece):
            return number, fault
    assert checker.finish() is None
    return None


def test_arguments_are_judged_in_every_notation(setting):
    """A repeated item is refused where it closes, whatever the texts before spell."""
    note = "tag{re_tag" + ("" if setting.name in {"gemma4", "functiongemma"} else '"')
    calls = [
        ToolCall("re_tag", {"text": 'x tag{"tags":["Q","Q"]}'}, id="abcdef123"),
        ToolCall("tag", {"note": note, "tags": ["Q", "R", "Q"]}, id="abcdef124"),
    ]
    text = setting.form.write(calls, [TAG, RETAG])
    for width in (1, 7):
        pieces = [text[i : i + width] for i in range(0, len(text), width)]
        found = first_fault(TurnChecker(None, None, calls_of(setting.form)), pieces)
        assert found is not None
        number, fault = found
        assert text.rindex("Q") < (number + 1) * width < text.rindex("Q") + 20
        assert text.rindex("R") - 2 * width < fault.start * width <= text.rindex("Q")
        assert text.index("tag", text.rindex("re_tag") - 60) < fault.root * width + width
        assert fault.root * width < text.index("note")
    right = [calls[0], ToolCall("tag", {"tags": ["Q", "R"]}, id="abcdef124")]
    text = setting.form.write(right, [TAG, RETAG])
    assert first_fault(TurnChecker(None, None, calls_of(setting.form)), text) is None


def test_a_whole_value_after_a_thought_is_judged():
    """What the thought spells is not the answer."""
    turn = '<think>{"tags":["a","a"]}</think>\n{"tags":["a","a"]}'
    found = first_fault(TurnChecker(MARKS, answer_checks(), None), turn)
    assert found is not None
    number, fault = found
    assert turn[fault.root :].startswith('{"tags":["a","a"]}')
    assert fault.root > turn.index("</think>")
    assert turn[fault.start : number + 1] == '"a"'
    assert turn[:number].count('"a"') == 3


def test_settled_text_waits_for_what_is_judged(setting):
    """In arguments as in answers, only the values that are checked are not settled."""
    checker = TurnChecker(None, answer_checks(), calls_of(setting.form))
    call = ToolCall("tag", {"note": "XYZ", "tags": ["Q", "R"]}, id="abcdef124")
    text = setting.form.write([call], [TAG])
    settled = []
    for piece in text:
        assert checker.read(piece) is None
        settled.append(checker.settled)
    assert settled[text.index("XYZ")] == text.index("XYZ") + 1
    assert text.index("tags") < settled[text.index("R")] <= text.index("R")
    assert settled[-1] == len(text)


def test_a_turn_can_be_taken_back(setting):
    """After a rewind it is read on as if the rest had never been."""
    written = setting.form.write([ToolCall("tag", {"tags": ["Q", "R"]}, id="abcdef124")], [TAG])
    checker = TurnChecker(None, None, calls_of(setting.form))
    assert first_fault(checker, written) is None
    at = written.index("R")
    checker.rewind(at)
    assert first_fault(checker, f"Q{written[at + 1 :]}") is not None


def test_a_mask_that_holds_all_needs_no_checker(setting):
    """Tools without residual keywords are known as such."""
    assert CheckedCalls(setting.form, {RETAG: argument_checks(RETAG, None)}).are_held
    assert not calls_of(setting.form).are_held


@pytest.mark.parametrize("text", ["", "no calls", "<|tool_call>call:tag", "<|tool_call>call:tag{]"])
def test_what_cannot_be_followed_is_left_to_the_parser(text):
    """No text makes the checker raise; a broken call of a tool that is checked cannot stand."""
    from gemma_structured.families.gemma4 import Gemma4Calls

    found = first_fault(TurnChecker(None, None, calls_of(Gemma4Calls())), text)
    assert (found is not None) == text.endswith("]")
