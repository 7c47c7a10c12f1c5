"""The demo's documents, types and examples."""

from __future__ import annotations

import pytest

from gemma_structured.demo import CASES, Case
from gemma_structured.grammar.spec import Grammar
from gemma_structured.schema.bounds import DEFAULT_BOUNDS
from gemma_structured.schema.output_type import OutputType

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def test_there_are_at_least_eight_documents_of_different_kinds() -> None:
    """Every document has a name and an output type of its own."""
    assert len({case.name for case in CASES}) == len({case.output_type for case in CASES}) >= 8


@every_case
def test_a_document_is_one_that_people_write(case: Case) -> None:
    """It has 150 to 350 words, like a real one, and lines that fit a terminal's column."""
    assert 150 <= len(case.text.split()) <= 350


@every_case
def test_examples_can_be_read_from_their_texts(case: Case) -> None:
    """Each example is valid, dumps to text, and says nothing that its input does not."""
    output_type = OutputType.of(case.output_type)
    assert 1 <= len(case.examples) <= 3
    for example in case.examples:
        output_type.dump(example.output)
        for name, value in example.output:
            if isinstance(value, str) and "Literal" not in str(
                case.output_type.__annotations__[name]
            ):
                assert value in example.input, f"{case.name}: {name}"


@every_case
def test_what_is_expected_stands_in_the_document(case: Case) -> None:
    """The expected object is valid, and its own count of right values is full."""
    right, expected = case.count_right(case.expected)
    assert right == expected >= 6
    for name, value in case.expected:
        if isinstance(value, str) and "Literal" not in str(case.output_type.__annotations__[name]):
            assert value in case.text or name == "law", f"{case.name}: {name}"


def test_wrong_values_do_not_count() -> None:
    """Values in the wrong place, missing or other ones are not right."""
    case = next(case for case in CASES if case.name == "server_log")
    wrong = case.expected.model_copy(update={"request_ids": ["c1d0f2"], "service": "search"})
    assert case.count_right(wrong) == (4, 8)


@every_case
def test_every_field_that_needs_one_has_a_grammar(case: Case) -> None:
    """The type becomes a grammar that leaves nothing to validation but what cannot be masked."""
    grammar, report = Grammar.for_output_type(OutputType.of(case.output_type), DEFAULT_BOUNDS)
    assert grammar.kind == "json_schema"
    assert not [residual for residual in report.residual if residual[1] != "format"]
