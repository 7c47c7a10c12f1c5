"""Thoughts in the content are told apart, however they are cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemma_structured.remote.thoughts import ThoughtSplitter

MARKS = [("<think>", "</think>"), ("<|channel>thought\n", "<channel|>"), ("<|channel>", "<channel|>"),
         ("<reasoning>", "</reasoning>")]  # fmt: skip
plain = st.text(st.characters(exclude_characters="<|", codec="utf-8"), max_size=15)


def split(pieces):
    splitter = ThoughtSplitter()
    splits = [splitter.feed(piece) for piece in pieces] + [splitter.flush()]
    return "".join(s.text for s in splits), "".join(s.thinking for s in splits)


def cut(text, cuts):
    marks = sorted({min(mark, len(text)) for mark in cuts})
    return [text[a:b] for a, b in zip([0, *marks], [*marks, len(text)], strict=True)]


@given(
    thoughts=st.lists(st.tuples(st.sampled_from(MARKS), plain), max_size=3),
    answer=plain.map(lambda text: "{" + text),
    cuts=st.lists(st.integers(0, 80), max_size=8),
)
def test_thoughts_before_the_answer_are_split_off(thoughts, answer, cuts):
    """Several thoughts, of any kind, cut anywhere: the answer is what follows them."""
    text = "".join(f"{a}x{thought}{b}\n" for (a, b), thought in thoughts) + answer
    found, thinking = split(cut(text, cuts))
    assert found.strip() == answer.strip()
    assert thinking == "".join(f"x{thought}" for _, thought in thoughts)


@given(st.text("<think>/|channel\n {}", max_size=40), st.lists(st.integers(0, 40), max_size=6))
def test_no_text_is_lost_and_cuts_do_not_matter(text, cuts):
    """Text, thought and marks together are what came in."""
    whole = split([text])
    assert split(cut(text, cuts)) == whole
    rest = text
    for piece in whole[0], whole[1]:
        assert len(piece) <= len(rest)


@pytest.mark.parametrize(
    "text", ['{"a": "<think>x</think>"}', "x <think>y</think>", "<thin", "<b>"]
)
def test_marks_inside_the_answer_belong_to_it(text):
    """Only a thought at the beginning is one."""
    assert split(list(text)) == (text, "")


def test_a_thought_without_end_is_all_thought():
    """What was never closed is no answer."""
    assert split(["<think>abc</thi"]) == ("", "abc</thi")
