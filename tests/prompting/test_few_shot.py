"""The conversation that asks for an output: the fixed part first, then the document, then errors."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from gemma_structured.exceptions import InputError
from gemma_structured.messages import AssistantMessage, SystemMessage, UserMessage
from gemma_structured.prompting import build_messages
from gemma_structured.prompting.few_shot import feedback
from gemma_structured.schema.output_type import OutputType
from gemma_structured.types import Example, Issue


class Person(BaseModel):
    name: str
    age: int


PERSON = OutputType.of(Person)
ISSUE = Issue(path=("age",), message="must be positive", found="-1", expected="a number above 0")


@pytest.mark.parametrize("shots", [0, 1, 5, 10])
def test_examples_are_turns_before_the_document(shots: int) -> None:
    """Each is a turn of the user and one of the assistant, as the model is to write it."""
    examples = [Example(f"P{i} is {i}", Person(name=f"P{i}", age=i)) for i in range(shots)]
    messages = build_messages("Ada is 36", PERSON, instruction="Read.", examples=examples)
    assert len(messages) == 1 + 2 * shots + 1
    system = messages[0]
    assert isinstance(system, SystemMessage)
    assert system.text.startswith("Read.\n\nAnswer with JSON only, in this form:\n{")
    for i in range(shots):
        assert messages[1 + 2 * i] == UserMessage(f"P{i} is {i}")
        assert messages[2 + 2 * i] == AssistantMessage(f'{{"name":"P{i}","age":{i}}}')
    assert messages[-1] == UserMessage("Ada is 36")


def test_all_but_the_document_is_the_same_for_every_document() -> None:
    """So that it is computed once."""
    options: Any = {"instruction": "Read.", "examples": [Example("x", Person(name="x", age=1))]}
    one, other = (build_messages(text, PERSON, **options) for text in ("a", "b"))
    assert one[:-1] == other[:-1]


def test_what_is_not_wanted_is_left_out() -> None:
    """Without an instruction and a schema there is no system message."""
    assert build_messages("a", PERSON, show_schema=False) == [UserMessage("a")]
    (system, _) = build_messages("a", PERSON, show_schema=False, instruction="Read.")
    assert system == SystemMessage("Read.")


def test_a_conversation_is_taken_as_it_is() -> None:
    """Its system message joins the task's; examples come before its turns."""
    conversation = [
        SystemMessage("Be brief."),
        UserMessage("Who?"),
        AssistantMessage("Ada."),
        UserMessage("How old?"),
    ]
    messages = build_messages(
        conversation,
        PERSON,
        instruction="Read.",
        examples=[Example("x", Person(name="x", age=1))],
        show_schema=False,
    )
    assert messages[0] == SystemMessage("Read.\n\nBe brief.")
    assert messages[3:] == conversation[1:]


def test_errors_follow_the_document_and_never_grow() -> None:
    """The last attempt's alone, at most ten, without the attempt itself."""
    messages = build_messages("doc", PERSON, issues=[ISSUE])
    assert messages[-1] == UserMessage("doc", feedback([ISSUE]))
    assert messages[:-1] == build_messages("doc", PERSON)[:-1]
    many = feedback([ISSUE] * 500)
    assert many.count("must be positive") == 10
    assert "- and 490 more of the kind" in many
    assert len(many) < 1500


def test_an_error_is_told_with_its_place() -> None:
    """Where it is, what was found, and what was expected."""
    assert feedback([ISSUE, Issue(message="not JSON")]) == (
        "Your previous answer was wrong:\n"
        "- /age: must be positive. Found: -1. Expected: a number above 0.\n"
        "- the whole answer: not JSON.\n"
        "Answer again, correctly."
    )


@pytest.mark.parametrize("document", [None, 3, b"bytes", [], ["text"], [UserMessage("a"), "b"]])
def test_what_is_no_input_is_refused(document: Any) -> None:
    """With what it is, and what an input is."""
    with pytest.raises(
        InputError, match=r"text or a list of messages, not (NoneType|int|bytes|list)"
    ):
        build_messages(document, PERSON)


def test_a_conversation_must_end_with_what_is_answered() -> None:
    """Not with the assistant, and not with the system."""
    for last in (AssistantMessage("b"), SystemMessage("c")):
        with pytest.raises(InputError, match="must end with a user's message"):
            build_messages([UserMessage("a"), last], PERSON)


def test_a_wrong_example_is_an_input_error() -> None:
    """It names the type and what is wrong."""
    with pytest.raises(InputError, match="An example for Person is not valid"):
        build_messages("a", PERSON, examples=[Example("x", {"name": 1})])  # type: ignore[list-item]
