"""Extraction and repair of unconstrained text: nothing is guessed, nothing cut is accepted."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gemma_structured.exceptions import OutputValidationError
from gemma_structured.parsing.lenient import BrokenValueError, LenientReader
from gemma_structured.parsing.repair import extract_json, extract_text

texts = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=20),
    st.sampled_from(
        ["```", "</think>", "<think>", '{"a": 1}', "[1]", "<channel|>", "\n```\n", "'", "//x"]
    ),
)
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), texts
)
containers = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
).filter(lambda value: isinstance(value, dict | list))
prose = st.text(st.characters(exclude_characters='[]{}<>`~"', codec="utf-8"), max_size=30)
thoughts = st.sampled_from(
    [
        "",
        '<think>{"a": 2} or [</think>',
        "<|channel>thought\nhm {<channel|>",
        "<think>\n\n</think>\n",
    ]
)
layouts = st.sampled_from(
    [{"indent": None}, {"indent": 2}, {"indent": None, "separators": (",", ":")}]
)


def read(text):
    return extract_json(text, finish_reason="stop")


def same(left, right):
    return json.dumps(left) == json.dumps(right)


@given(
    value=containers,
    layout=layouts,
    around=st.tuples(thoughts, prose, prose),
    fenced=st.booleans(),
)
@settings(max_examples=300, deadline=None)
def test_a_value_in_any_wrapping_comes_back_equal(value, layout, around, fenced):
    """Prose, fences, thoughts and trailing text fall away; the value is untouched and unflagged."""
    text = json.dumps(value, ensure_ascii=False, **layout)
    wrapped = f"\n```json\n{text}\n```\n" if fenced else text
    thought, before, after = around
    extracted = read(f"\ufeff{thought}{before}{wrapped}{after}")
    assert same(json.loads(extracted.text), value)
    assert not extracted.repaired


@given(
    value=scalars,
    thought=thoughts,
    fenced=st.booleans(),
    end=st.sampled_from(["", "<turn|>", "</s>\n"]),
)
@settings(deadline=None)
def test_a_bare_scalar_comes_back_equal(value, thought, fenced, end):
    """Numbers, strings and literals need no brackets to be found behind a thought and a fence."""
    text = json.dumps(value)
    wrapped = f"```json\n{text}\n```" if fenced else text
    assert same(json.loads(read(f"{thought}{wrapped}{end}").text), value)


@given(value=containers, layout=layouts, data=st.data())
@settings(max_examples=300, deadline=None)
def test_no_truncation_comes_back_as_success(value, layout, data):
    """Every proper prefix of an array or object is refused, even where the model says `stop`."""
    text = json.dumps(value, ensure_ascii=False, **layout)
    cut = data.draw(st.integers(0, len(text) - 1))
    with pytest.raises(OutputValidationError):
        read(text[:cut])


@pytest.mark.parametrize("finish_reason", ["length", "content_filter", "error", None])
def test_nothing_is_read_from_an_answer_that_did_not_stop(finish_reason):
    """Without `stop`, even text that happens to be valid may be the beginning of another value."""
    for extract in (extract_json, extract_text):
        with pytest.raises(OutputValidationError, match="cut"):
            extract("12", finish_reason=finish_reason)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": 1,}', {"a": 1}),
        ("[1, 2, ]", [1, 2]),
        ("{'a': 'it\\'s'}", {"a": "it's"}),
        ("{a: 1, $b-c: 2}", {"a": 1, "$b-c": 2}),
        ('{"a": True, "b": False, "c": None}', {"a": True, "b": False, "c": None}),
        ('{"a": 1, // one\n "b": /* two */ 2}', {"a": 1, "b": 2}),
        ('{"a": "x\ny\tz"}', {"a": "x\ny\tz"}),
        ('{"path": "C:\\Users\\x"}', {"path": "C:\\Users\\x"}),
        ("{\u201ca\u201d: \u201cb\u201d}", {"a": "b"}),
        ('{"a":\u00a01}', {"a": 1}),
        ("Sure! {'a': 1} Bye", {"a": 1}),
        ('{"a": {"b": [1,],},}', {"a": {"b": [1]}}),
    ],
)
def test_slips_with_one_meaning_are_put_right_and_flagged(text, expected):
    """The value is the one that was meant, and the result says that it was repaired."""
    extracted = read(text)
    assert json.loads(extracted.text) == expected
    assert extracted.repaired


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1, "a": 2}', "twice"),
        ("{\"a\": 1, 'a': 2}", "twice"),
        ('{"a": NaN}', "a value is expected"),
        ('{"a": Infinity}', "a value is expected"),
        ('{"a": 01}', "a value is expected"),
        ('{"a": 1.}', "a value is expected"),
        ('{"a": 1_000}', "a value is expected"),
        ('{"a": undefined}', "a value is expected"),
        ('{"a": "he said "hi" to me"}', "',' or the end"),
        ('{"a": 1 "b": 2}', "',' or the end"),
        ('{"a": "\\u12"}', "hexadecimal"),
        ('{"a": [1, 2}', "is expected"),
        ('{"a": 1,,}', "a key is expected"),
        ('{"a": oops, "c": {"d": 1}}', "a value is expected"),
        ('{"a": {"b": 1}, "c": ', "the text ends"),
        ('{"a": /* never', "inside a comment"),
        ('{"a": 1} {"a": 2}', "2 JSON values"),
        ("[1] [2]", "2 JSON values"),
        ("no value here", "no JSON"),
        ("{", "no JSON"),
        ("", "empty"),
        ("<think>only thoughts</think>", "empty"),
        ('so <think> {"a": 1}', "does not end"),
        ("[" * 300 + "]" * 300, "levels"),
    ],
)
def test_what_could_be_meant_in_two_ways_is_refused(text, message):
    """Duplicates, non-numbers, open ends and rival values are told, not guessed."""
    with pytest.raises(OutputValidationError) as caught:
        read(text)
    (issue,) = caught.value.issues
    assert message in issue.message
    assert issue.source == "syntax"
    assert caught.value.text == text


def test_the_place_of_a_break_is_told():
    """The issue names line and column and shows the text around it, for the model to act on."""
    with pytest.raises(OutputValidationError, match="line 2, column 9") as caught:
        read('{"a": 1,\n "bcd": oops}')
    assert "oops" in caught.value.issues[0].found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('See [1] and [2]: {"a": 1}', {"a": 1}),
        ('{"a": 1}\nAgain: {"a": 1}', {"a": 1}),
        ('Not {"a": 0} but\n```json\n{"a": 1}\n```', {"a": 1}),
        ("Use {placeholders} or [brackets]: [1, 2]", [1, 2]),
        ('thinking {"a": 0 aloud</think>{"a": 1}', {"a": 1}),
        ('{"a": 0}</think> 5', 5),
        ('Here:\n```json\n"a [1] b"\n```\nBye', "a [1] b"),
        ('```json\n{"a": 1}', {"a": 1}),
        ('{"text": "</think> {\\"a\\": 2}"} and prose', {"text": '</think> {"a": 2}'}),
    ],
)
def test_the_one_value_is_chosen(text, expected):
    """Fenced before loose, objects before citations, and drafts in thoughts do not count."""
    assert json.loads(read(text).text) == expected


@given(st.text(max_size=200))
@settings(max_examples=300, deadline=None)
def test_any_text_gives_a_value_or_a_typed_error(text):
    """Nothing but `OutputValidationError` comes out, and what is found unrepaired is in the text."""
    try:
        extracted = read(text)
    except OutputValidationError:
        return
    if not extracted.repaired:
        assert extracted.text in text


@given(st.text("[]{}\"':,\\ \n/*-0123truefalsn\u201c\u201d", max_size=60))
@settings(max_examples=500, deadline=None)
def test_what_the_reader_gives_is_json(text):
    """Whatever it reads, strict or repaired, a strict parser accepts."""
    assume(text.strip())
    try:
        reading = LenientReader(text, 0).read()
    except BrokenValueError:
        return
    json.loads(reading.text)


@pytest.mark.parametrize(
    "text",
    ["[" * 50_000, '{"a":' * 20_000, "[[]," * 20_000, "{/*" * 50_000, "[\u201c" * 50_000, "```a\n" * 50_000,
     "<think></think>" * 20_000, " " * 200_000, "<think>" * 50_000, '["' + "\\" * 100_001],
)  # fmt: skip
def test_hostile_text_takes_bounded_time(text):
    """Nested, unclosed and repeated openers are given up in time linear in the text."""
    start = time.process_time()
    with pytest.raises(OutputValidationError):
        read(text)
    assert time.process_time() - start < 5


def test_text_outputs_are_freed_of_their_wrapping():
    """A choice or regex answer loses thought, fence and surrounding space, and nothing else."""
    assert extract_text("<think>hm</think>\n yes <turn|>", finish_reason="stop").text == "yes"
    assert extract_text("```\nyes\n```", finish_reason="stop").text == "yes"
    assert extract_text("a ``` b", finish_reason="stop").text == "a ``` b"
