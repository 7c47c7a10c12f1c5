"""Answers, whole and streamed: equal results, and nothing cut passes for whole."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gemma_structured as gs
from gemma_structured.remote.decode import BodyDecoder, JsonDecoder, StreamDecoder, chat_decoder
from gemma_structured.remote.errors import ErrorContext
from gemma_structured.testing.openrouter_replies import Answer

HERE = ErrorContext(model_name="m")
texts = st.text(st.characters(codec="utf-8"), max_size=40)
answers = st.builds(
    Answer,
    text=texts | st.none(),
    reasoning=texts | st.none(),
    tool_arguments=st.none() | texts,
    finish_reason=st.sampled_from(["stop", "length", "tool_calls"]),
    piece=st.integers(1, 9),
    usage_choices=st.sampled_from([0, 1]),
    late_finish=st.booleans(),
)


def body_of(answer, *, stream):
    wire = answer.wire({"stream": stream, "model": "m"})
    return b"".join(step for step in wire.steps if isinstance(step, bytes))


def decode(decoder, pieces):
    deltas = [delta for piece in pieces for delta in decoder.feed(piece)]
    last, completion = decoder.finish()
    return [*deltas, *last], completion


def cut(body, cuts):
    marks = sorted({min(mark, len(body)) for mark in cuts})
    return [body[a:b] for a, b in zip([0, *marks], [*marks, len(body)], strict=True)]


@given(answer=answers, in_tool=st.booleans(), cuts=st.lists(st.integers(0, 3000), max_size=12))
@settings(max_examples=300, deadline=None)
def test_streamed_and_whole_answers_are_equal(answer, in_tool, cuts):
    """However the stream is cut, it adds up to the completion, and so do its deltas."""
    whole_deltas, whole = decode(
        BodyDecoder(HERE, answer_in_tool=in_tool), [body_of(answer, stream=False)]
    )
    deltas, streamed = decode(
        StreamDecoder(HERE, answer_in_tool=in_tool), cut(body_of(answer, stream=True), cuts)
    )
    assert streamed == whole
    for found in (whole_deltas, deltas):
        assert "".join(delta.text for delta in found) == whole.text
        assert "".join(delta.thinking for delta in found) == (whole.thinking or "")


@given(answer=answers, data=st.data())
@settings(max_examples=300, deadline=None)
def test_no_cut_stream_is_an_answer(answer, data):
    """Every proper prefix of a stream, up to its end mark, is an error."""
    body = body_of(replace(answer, finish_reason="stop"), stream=True)
    mark = data.draw(st.integers(0, len(body) - 2))
    decoder = StreamDecoder(HERE)
    with pytest.raises(gs.TransportError, match="cut"):
        decode(decoder, [body[:mark]])


@given(answer=answers, data=st.data())
@settings(max_examples=200, deadline=None)
def test_no_cut_body_is_an_answer(answer, data):
    """Every proper prefix of a body is an error."""
    body = body_of(answer, stream=False)
    mark = data.draw(st.integers(0, len(body) - 1))
    with pytest.raises(gs.TransportError):
        decode(BodyDecoder(HERE), [body[:mark]])


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["choices", "message", "delta", "content", "finish_reason", "usage", "error", "tool_calls", "function",
             "arguments", "reasoning_details", "provider", "cost", "index", "text", "model", "refusal"]
        ),
        inner,
        max_size=5,
    ),
    max_leaves=25,
)  # fmt: skip


@given(chunks=st.lists(json_values, max_size=3), in_tool=st.booleans())
@settings(max_examples=400, deadline=None)
def test_any_json_gives_an_answer_or_a_model_error(chunks, in_tool):
    """Fields may be missing or of any type: nothing else is raised."""
    import json

    stream = b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks)
    bodies = [(StreamDecoder(HERE, answer_in_tool=in_tool), stream + b"data: [DONE]\n\n")]
    bodies += [(BodyDecoder(HERE, answer_in_tool=in_tool), json.dumps(c).encode()) for c in chunks]
    for decoder, body in bodies:
        try:
            decode(decoder, [body])
        except gs.ModelError:
            continue


@given(st.binary(max_size=200))
def test_any_bytes_give_a_model_error(body):
    """Noise is no answer."""
    for decoder in (StreamDecoder(HERE), BodyDecoder(HERE)):
        with pytest.raises(gs.ModelError):
            decode(decoder, [body])


def whole(**members):
    return decode(BodyDecoder(HERE), [body_of(Answer(**members), stream=False)])[1]


def test_usage_is_read_with_its_details():
    """Cached, reasoning and cost, exactly as printed."""
    usage = whole(text="x").usage
    assert (usage.prompt_tokens, usage.cached_tokens) == (10, 4)
    assert (usage.sampled_tokens, usage.reasoning_tokens) == (5, 2)
    assert usage.cost == Decimal("0.001")
    odd = {
        "prompt_tokens": -3,
        "completion_tokens": True,
        "cost": "free",
        "prompt_tokens_details": [],
    }
    usage = whole(text="x", usage=odd).usage
    assert (usage.prompt_tokens, usage.sampled_tokens, usage.cost) == (0, 0, None)


def test_the_gravest_finish_reason_counts():
    """It may be said several times, and differently; `length` is not forgotten for a later `stop`."""
    frames = (
        b'data: {"choices":[{"delta":{"content":"1"},"finish_reason":"length"}]}\n\n'
        b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    )
    assert decode(StreamDecoder(HERE), [frames])[1].finish_reason == "length"


@pytest.mark.parametrize(
    ("reason", "expected"),
    [("end_turn", "stop"), ("EOS", "stop"), ("MAX_TOKENS", "length"), ("tool_calls", "stop")],
)
def test_other_names_of_finish_reasons_are_known(reason, expected):
    """Providers have their own."""
    assert whole(text="x", finish_reason=reason).finish_reason == expected


def test_an_unknown_finish_reason_is_none():
    """What nobody knows does not make an answer whole."""
    with pytest.raises(gs.TransportError, match="finish reason"):
        whole(text="x", finish_reason="gone fishing")


def test_a_refusal_is_an_error_with_its_cost():
    """A refusal text, or the filter: the attempt says what it cost."""
    for members in ({"finish_reason": "content_filter"}, {"overrides": {"choices": [
        {"finish_reason": "stop", "message": {"content": "", "refusal": "I will not"}}]}}):  # fmt: skip
        with pytest.raises(gs.RefusalError) as caught:
            whole(**members)
        assert caught.value.attempts[0].usage.cost == Decimal("0.001")
        assert "I will not" not in str(caught.value)


def test_content_may_be_parts_and_reasoning_may_be_details():
    """Both shapes are in the wild."""
    message = {
        "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}, 3],
        "reasoning_details": [{"type": "reasoning.text", "text": "t"},
                              {"type": "reasoning.summary", "summary": "s"},
                              {"type": "reasoning.encrypted", "data": "…"}],
    }  # fmt: skip
    found = whole(overrides={"choices": [{"finish_reason": "stop", "message": message}]})
    assert (found.text, found.thinking) == ("ab", "ts")


def test_an_answer_in_another_place_is_found_where_its_own_is_empty():
    """The arguments of a call, or a thought that is nothing but JSON; any other thought is none."""
    assert whole(text=None, tool_arguments='{"a":1}').text == '{"a":1}'
    assert whole(text=None, reasoning=' {"a":1}').text == ' {"a":1}'
    assert whole(text=None, reasoning="I think {").text == ""
    assert whole(text=None, reasoning='{"a":1}', finish_reason="length").text == ""


def test_tool_calls_are_kept_whole():
    """Names, ids and arguments, also when they come in pieces and in several calls."""
    calls = [
        {"index": 0, "id": "a", "function": {"name": "f", "arguments": '{"x":'}},
        {"index": 1, "id": "b", "function": {"name": "g", "arguments": {"y": 2}}},
        {"index": 0, "function": {"arguments": "1}"}},
        {"index": 2, "id": "c", "function": {"name": "h", "arguments": None}},
    ]
    import json

    frames = b"".join(
        b"data: " + json.dumps({"choices": [{"delta": {"tool_calls": [call]}}]}).encode() + b"\n\n"
        for call in calls
    )
    end = b'data: {"choices":[{"delta":{},"finish_reason":"tool_calls"}]}\n\ndata: [DONE]\n\n'
    found = decode(StreamDecoder(HERE), [frames + end])[1].tool_calls
    assert [(call.id, call.name, call.arguments) for call in found] == [
        ("a", "f", '{"x":1}'),
        ("b", "g", '{"y":2}'),
        ("c", "h", ""),
    ]


def test_what_comes_decides_how_it_is_read():
    """A server may answer a request to stream with a whole body."""
    kinds = {
        "text/event-stream; charset=utf-8": StreamDecoder,
        "application/json": BodyDecoder,
        "": BodyDecoder,
    }
    for content_type, kind in kinds.items():
        assert type(chat_decoder(content_type, HERE, answer_in_tool=False)) is kind


def test_a_json_object_is_read_and_nothing_else():
    """Padding before it is skipped."""
    decoder = JsonDecoder(HERE)
    decoder.feed(b"\n\n \xef\xbb\xbf{")
    decoder.feed(b'"a":1}')
    assert decoder.finish() == ((), {"a": 1})
    for body, match in ((b"[1]", "no whole JSON"), (b"", "empty"), (b"<html>", "HTML")):
        decoder = JsonDecoder(HERE)
        decoder.feed(body)
        with pytest.raises(gs.TransportError, match=match):
            decoder.finish()
