"""Requests as JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gemma_structured as gs
from gemma_structured.messages import (
    AssistantMessage,
    SystemMessage,
    ToolCall,
    ToolMessage,
    ToolReturn,
    UserMessage,
)
from gemma_structured.remote.routing import ProviderRouting
from gemma_structured.remote.wire import ChatRequest, OutputForm
from gemma_structured.types import SamplingParams

texts = st.text(st.characters(codec="utf-8"), max_size=20)


def request(*messages, **options):
    return ChatRequest(
        model="m", messages=messages, max_tokens=7, **{"sampling": SamplingParams(), **options}
    )


def body(*messages, stream=False, **options):
    return json.loads(request(*messages, **options).encode(stream=stream))


@given(system=texts, user=st.lists(texts, min_size=1, max_size=3), assistant=texts)
def test_texts_arrive_as_they_are(system, user, assistant):
    """Any text, whatever it holds, is a string in the JSON and nothing else."""
    sent = body(SystemMessage(system), UserMessage(*user), AssistantMessage(assistant, "thought"))
    assert sent["messages"] == [
        {"role": "system", "content": system},
        {"role": "user", "content": "\n\n".join(user)},
        {"role": "assistant", "content": assistant},
    ]


def test_only_what_was_chosen_is_sent():
    """The token limit always; sampling options where they are set."""
    assert body(UserMessage("x")) == {
        "model": "m",
        "messages": [{"role": "user", "content": "x"}],
        "max_tokens": 7,
        "temperature": 0.0,
    }
    chosen = SamplingParams(temperature=0.5, top_p=0.9, top_k=5, min_p=0.1, seed=3)
    sent = body(
        UserMessage("x"), sampling=chosen, extra={"a": 1}, stream_extra={"b": 2}, stream=True
    )
    assert sent["top_p"] == 0.9
    assert (sent["top_k"], sent["min_p"], sent["seed"]) == (5, 0.1, 3)
    assert (sent["a"], sent["b"], sent["stream"]) == (1, 2, True)
    assert "b" not in body(UserMessage("x"), stream_extra={"b": 2})


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (OutputForm(), {}),
        (
            OutputForm(mode="json_schema", name="list[Größe | None]", source={"type": "object"}),
            {"response_format": {"type": "json_schema", "json_schema": {
                "name": "list_Gr_e_None", "strict": True, "schema": {"type": "object"}}}},
        ),
        (OutputForm(mode="json_object"), {"response_format": {"type": "json_object"}}),
        (
            OutputForm(mode="tools", name="Invoice", source={"type": "object"}, description="An invoice."),
            {"tools": [{"type": "function", "function": {
                "name": "Invoice", "description": "An invoice.", "parameters": {"type": "object"}}}],
             "tool_choice": {"type": "function", "function": {"name": "Invoice"}}},
        ),
        (OutputForm(mode="structured_outputs", kind="regex", source="a+"),
         {"structured_outputs": {"regex": "a+"}}),
    ],
)  # fmt: skip
def test_the_form_of_the_answer_is_told_in_each_mode(form, expected):
    """As the server's API has it; names keep to its alphabet and length."""
    assert form.encode() == expected
    assert (
        OutputForm(mode="json_schema", name="!").encode()["response_format"]["json_schema"]["name"]
        == "output"
    )
    long = OutputForm(mode="tools", name="x" * 100).encode()
    assert len(long["tools"][0]["function"]["name"]) == 64


def test_tool_calls_and_returns_are_messages():
    """Arguments are JSON in a string; each return is a message of its own."""
    call = ToolCall("f", {"x": "ü"}, id="abc")
    sent = body(
        AssistantMessage("", tool_calls=(call,)),
        ToolMessage(ToolReturn("f", {"y": 1}, "abc"), ToolReturn("f", "plain", "def")),
    )
    assert sent["messages"] == [
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": "abc", "type": "function", "function": {"name": "f", "arguments": '{"x":"ü"}'}}]},
        {"role": "tool", "tool_call_id": "abc", "content": '{"y":1}'},
        {"role": "tool", "tool_call_id": "def", "content": "plain"},
    ]  # fmt: skip


def test_a_lone_surrogate_is_refused():
    """UTF-8 cannot say it, and the error does not show the text."""
    with pytest.raises(gs.InputError, match="surrogate") as caught:
        request(UserMessage("secret \ud800")).encode(stream=False)
    assert "secret" not in str(caught.value)


@given(text=texts)
def test_the_bound_on_the_prompt_counts_its_bytes(text):
    """No tokenizer writes more tokens than bytes; templates get room beside."""
    chat = request(UserMessage(text))
    assert chat.max_prompt_tokens >= len(text.encode()) + 16
    schema = OutputForm(mode="json_schema", source={"title": text})
    assert request(UserMessage(text), form=schema).max_prompt_tokens > chat.max_prompt_tokens


def test_routing_sends_what_is_set():
    """Preferences that are not set are left out, `False` is not."""
    assert ProviderRouting().encode() == {}
    routing = ProviderRouting(
        order=("a", "b"),
        allow_fallbacks=False,
        data_collection="deny",
        zdr=True,
        max_price={"prompt": 0.1},
        quantizations=["fp8"],
    )
    assert routing.encode() == {
        "order": ["a", "b"],
        "allow_fallbacks": False,
        "data_collection": "deny",
        "zdr": True,
        "max_price": {"prompt": 0.1},
        "quantizations": ["fp8"],
    }
