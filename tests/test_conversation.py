"""Conversations: saved, stored, trimmed."""

from __future__ import annotations

import itertools

import pytest

from gemma_structured.conversation import Conversation, ConversationStore
from gemma_structured.exceptions import InputError
from gemma_structured.messages import (
    AssistantMessage,
    SystemMessage,
    ToolCall,
    ToolMessage,
    ToolReturn,
    UserMessage,
)

CALL = ToolCall("f", {"a": [1, "é😀", None]}, id="abcdefghi")
FULL = Conversation(
    SystemMessage("S"),
    UserMessage("one", "two"),
    AssistantMessage("", "hm", (CALL,)),
    ToolMessage(ToolReturn("f", {"x": 1.5}, "abcdefghi", is_error=True)),
    AssistantMessage("done"),
)


def test_a_conversation_is_a_value():
    """Adding makes another conversation; slices are conversations; equality is by messages."""
    more = FULL.user("again")
    assert (len(FULL), len(more), more[-1]) == (5, 6, UserMessage("again"))
    assert more[:-1] == FULL
    assert list(FULL) == list(FULL.messages)


def test_json_and_files_give_it_back(tmp_path):
    """What is saved is loaded equal, through JSON, a file and SQLite."""
    assert Conversation.from_json(FULL.to_json()) == FULL
    FULL.save(tmp_path / "c.json")
    FULL.save(tmp_path / "c.json")
    assert Conversation.load(tmp_path / "c.json") == FULL
    store = ConversationStore(tmp_path / "c.db")
    assert store.get("a") == Conversation()
    store.keeper("a")(FULL[:2])
    store.keeper("a")(FULL)
    assert ConversationStore(tmp_path / "c.db").get("a") == FULL
    assert store.names() == ["a"]
    store.delete("a")
    assert store.names() == []


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "{}", "null", '{"version":1}', '{"version":1,"messages":[{"role":"x"}]}',
        '{"version":1,"messages":[{"role":"user","texts":[1]}]}', '{"version":1,"messages":[3]}',
        '{"version":1,"messages":' + "[" * 100_000, "\x00",
    ],
)  # fmt: skip
def test_what_is_no_conversation_is_refused(text):
    """Any other text is an InputError."""
    with pytest.raises(InputError):
        Conversation.from_json(text)


def test_a_later_version_is_refused():
    """A file of a version to come says so."""
    with pytest.raises(InputError, match="version 2"):
        Conversation.from_json('{"version":2,"messages":[]}')


def test_pending_calls_are_those_without_a_return():
    """Calls at the end are pending until each has its return."""
    two = (CALL, ToolCall("g", {}, id="123456789"))
    asked = Conversation(UserMessage("a"), AssistantMessage("", None, two))
    assert asked.pending_calls == two
    assert asked.add(ToolMessage(ToolReturn("f", 1, CALL.id))).pending_calls == two[1:]
    assert FULL.pending_calls == ()


@pytest.mark.parametrize("policy", ["oldest", "middle"])
def test_trimming_never_cuts_a_call_from_its_return(policy):
    """At every length, what is left begins with the user, keeps the system and whole calls."""
    turns = [
        message
        for n in range(4)
        for message in (UserMessage(f"u{n}"), *FULL.messages[2:4], AssistantMessage(f"a{n}"))
    ]
    whole = Conversation(SystemMessage("S"), *turns, UserMessage("last"))
    for most in range(2, len(whole) + 1):
        trimmed = whole.trim(lambda c, most=most: len(c) <= most, policy=policy)
        assert trimmed[0] == SystemMessage("S")
        assert isinstance(trimmed[1], UserMessage)
        assert trimmed[-1] == UserMessage("last")
        for before, after in itertools.pairwise(trimmed):
            has_calls = isinstance(before, AssistantMessage) and bool(before.tool_calls)
            assert has_calls == isinstance(after, ToolMessage)
    middle = whole.trim(lambda c: len(c) <= 12, policy="middle")
    assert middle[1] == UserMessage("u0")
    with pytest.raises(InputError, match="does not fit"):
        whole.trim(lambda _: False, policy=policy)
