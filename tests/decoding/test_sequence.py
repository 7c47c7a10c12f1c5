"""A sequence: pending tokens, forced ones, the ends of an answer, and what it has cost."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal

import pytest

from gemma_structured.decoding.session import Row
from gemma_structured.exceptions import (
    DeadlineExceededError,
    GenerationCancelledError,
    GrammarError,
    ModelError,
    TokenRejectedError,
)
from gemma_structured.grammar.spec import Grammar
from gemma_structured.types import Cancellation, Deadline

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemma_structured.decoding.sequence import TokenSequence
    from gemma_structured.grammar.vocabulary import Vocabulary

    Make = Callable[..., TokenSequence]


def write(sequence: TokenSequence, vocabulary: Vocabulary, text: str) -> None:
    """Choose the tokens of a text one by one, as far as they are not forced."""
    for token_id in vocabulary.encode(text):
        sequence.accept(token_id)


def test_the_prompt_is_pending_first(sequence_for: Make, bytes_vocabulary: Vocabulary) -> None:
    """It is handed over in pieces, less what a row holds already."""
    sequence = sequence_for(Grammar.regex("[ab]+"), "prompt")
    sequence.start(Row(3), cached_tokens=2)
    assert sequence.row == 3
    assert bytes_vocabulary.decode(sequence.take(3)) == "omp"
    assert sequence.reading_prompt
    assert bytes_vocabulary.decode(sequence.take(99)) == "t"
    assert sequence.pending == []
    assert (sequence.usage.cached_tokens, sequence.usage.forward_passes) == (2, 2)
    assert sequence.max_length == 6 + 200


def test_forced_tokens_are_taken_at_once(sequence_for: Make, bytes_vocabulary: Vocabulary) -> None:
    """What the grammar leaves no choice about is pending with the prompt, and with each token."""
    sequence = sequence_for(Grammar.choice(["red apple", "red apricot"]), "p")
    assert sequence.text == "red ap"
    assert len(sequence.pending) == 1 + len("red ap")
    sequence.take(99)
    sequence.accept(bytes_vocabulary.encode("r")[0])
    assert sequence.text == "red apricot"
    assert sequence.finish_reason == "stop"
    assert sequence.pending == []
    usage = sequence.usage
    assert (usage.sampled_tokens, usage.forced_tokens) == (1, len("red apricot") - 1)
    assert usage.completion_tokens == len("red apricot")


def test_an_answer_without_a_choice_needs_no_forward(sequence_for: Make) -> None:
    """It is finished before it has begun."""
    sequence = sequence_for(Grammar.choice(["only this"]))
    assert (sequence.text, sequence.finish_reason) == ("only this", "stop")
    assert sequence.usage.sampled_tokens == 0
    assert sequence.usage.seconds_to_first_token is None


@pytest.mark.parametrize("end", [0, 1])
def test_each_end_of_turn_ends_the_answer(
    end: int, sequence_for: Make, bytes_vocabulary: Vocabulary
) -> None:
    """Where the answer may end, every end id is allowed, and none is part of the text."""
    sequence = sequence_for(int)
    assert not set(bytes_vocabulary.end_ids) & set(sequence.allowed_ids().tolist())
    write(sequence, bytes_vocabulary, "12")
    assert set(bytes_vocabulary.end_ids) <= set(sequence.allowed_ids().tolist())
    sequence.accept(bytes_vocabulary.end_ids[end])
    assert (sequence.text, sequence.finish_reason) == ("12", "stop")
    assert sequence.usage.completion_tokens == 2


def test_the_budget_ends_inside_a_value(sequence_for: Make, bytes_vocabulary: Vocabulary) -> None:
    """Forced tokens count too, and are cut."""
    sequence = sequence_for(Grammar.choice(["red apple", "green pear"]), max_tokens=5)
    write(sequence, bytes_vocabulary, "r")
    assert (sequence.text, sequence.finish_reason) == ("red a", "length")
    assert len(sequence.output_ids) == 5
    forced = sequence_for(Grammar.choice(["red apple"]), max_tokens=3)
    assert (forced.text, forced.finish_reason) == ("red", "length")


def test_an_answer_that_just_fits_is_whole(
    sequence_for: Make, bytes_vocabulary: Vocabulary
) -> None:
    """With as many tokens as it has, it stops; it was not cut."""
    sequence = sequence_for(Literal["ab", "cd"], max_tokens=4)
    write(sequence, bytes_vocabulary, "a")
    assert (sequence.text, sequence.finish_reason) == ('"ab"', "stop")


def test_a_token_that_the_grammar_forbids_is_an_error(
    sequence_for: Make, bytes_vocabulary: Vocabulary
) -> None:
    """It is refused, and the answer is what it was."""
    sequence = sequence_for(Grammar.regex("[ab]+"))
    write(sequence, bytes_vocabulary, "ab")
    with pytest.raises(TokenRejectedError):
        write(sequence, bytes_vocabulary, "c")
    assert sequence.text == "ab"


def test_text_comes_as_whole_characters(sequence_for: Make, bytes_vocabulary: Vocabulary) -> None:
    """A character of several tokens is text when its last one has come; deltas add up."""
    sequence = sequence_for(Grammar.regex("[^x]{2,9}"))
    deltas = []
    for token_id in bytes_vocabulary.encode("é😀é"):
        sequence.accept(token_id)
        deltas.append(sequence.take_text())
    assert [delta for delta in deltas if delta] == ["é", "😀", "é"]
    assert "".join(deltas) == sequence.text == "é😀é"
    assert sequence.take_text() == ""


def test_time_and_callers_are_looked_at(sequence_for: Make) -> None:
    """A deadline, a cancellation, and a caller who has gone each raise their own error."""
    grammar = Grammar.regex("[ab]+")
    cancellation = Cancellation()
    sequence = sequence_for(grammar, cancellation=cancellation)
    sequence.check()
    cancellation.cancel()
    with pytest.raises(GenerationCancelledError, match="cancelled"):
        sequence.check()
    with pytest.raises(DeadlineExceededError):
        sequence_for(grammar, deadline=Deadline(time.monotonic())).check()
    left = sequence_for(grammar)
    left.abandon()
    with pytest.raises(GenerationCancelledError, match="Nobody waits"):
        left.check()


def test_a_failed_sequence_is_finished(sequence_for: Make) -> None:
    """Nothing of it is pending any more."""
    sequence = sequence_for(Grammar.regex("[ab]+"))
    error = ModelError("no")
    sequence.fail(error)
    assert sequence.finished
    assert sequence.error is error
    assert sequence.pending == []


def test_a_grammar_that_the_tokens_cannot_write_is_an_error(
    sequence_for: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the mask is empty, the error says so instead of choosing among nothing."""
    sequence = sequence_for(Grammar.regex("[ab]+"))

    class NoWay:
        """A matcher that allows nothing."""

        def fill_bitmask(self, bitmask) -> None:
            bitmask[:] = 0

    monkeypatch.setattr(sequence, "matcher", NoWay())
    with pytest.raises(GrammarError, match="After 0 tokens no token continues"):
        sequence.allowed_ids()


def test_drafts_are_confirmed_as_far_as_they_were_right(
    sequence_for: Make, bytes_vocabulary: Vocabulary
) -> None:
    """What a draft has forwarded is no longer pending, forced tokens included."""
    sequence = sequence_for(Grammar.choice(["red apple", "red apricot"]), "p")
    sequence.take(99)
    draft = bytes_vocabulary.encode("rico!")
    sequence.pending = bytes_vocabulary.encode("ricot")
    assert sequence.confirm(draft) == 4
    assert sequence.pending == bytes_vocabulary.encode("t")
    assert sequence.confirm([]) == 0
    assert sequence.usage.drafted_tokens == 4


def test_the_clock_stops_with_the_answer(sequence_for: Make) -> None:
    """What the reader does afterwards is not the answer's time."""
    sequence = sequence_for(Grammar.choice(["only this"]))
    seconds = sequence.usage.seconds
    time.sleep(0.01)
    assert sequence.usage.seconds == seconds
    running = sequence_for(Grammar.regex("[ab]+"))
    before = running.usage.seconds
    time.sleep(0.01)
    assert running.usage.seconds > before
