"""Conversations of local models: the KV cache of earlier turns is found by their tokens, and exact."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, get_args

import pytest
import torch

import gemma_structured as gs
from gemma_structured.driver import ModelRequest
from gemma_structured.testing import tiny_models
from gemma_structured.testing.tiny_shapes import SLIDING_WINDOW, Architecture

if TYPE_CHECKING:
    from gemma_structured.types import Usage

FAMILIES = [name for name in get_args(Architecture) if not name.endswith("_multimodal")]
THINKING = {"gemma4", "afmoe", "minimax_m2"}
WHOLE = {"gemma3", "afmoe", "deepseek_v3"}
"""Templates that write a past answer just as it was. Gemma 4 and MiniMax M2 leave the thought out of
the history that stands before the answer, and Mixtral puts a space there."""

OPENING = 32
"""Tokens of what a template puts before an answer and leaves out of the history."""


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Tiny models are fastest on one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@cache
def built(architecture: str) -> tuple[Any, Any]:
    """The model and its tokenizer: one a session."""
    return tiny_models.build(architecture)  # type: ignore[arg-type]


def model_of(architecture: str, **options: Any) -> gs.LocalModel:
    """A local model with caches of its own."""
    return gs.LocalModel.from_transformers(*built(architecture), name=architecture, **options)


def prompt_ids(model: gs.LocalModel, turns: Any, conversation: gs.Conversation) -> tuple[int, ...]:
    """What a turn sends."""
    request = ModelRequest(input=conversation)
    return model.bind(turns.task)._render(request, model.runtime()).token_ids


def in_common(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    """Equal ids at the start."""
    pairs = zip(one, other, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def talk(
    model: gs.LocalModel, spec: Any, *, turns: int = 3, opening: str = "Hello there.", seed: int = 4
) -> tuple[list[str], list[Usage], list[tuple[int, ...]]]:
    """Answers, what they cost and their prompts."""
    taker = model.turns(spec, gs.ToolOffer.of([]), temperature=1.0, seed=seed, max_tokens=600)
    conversation = gs.Conversation(gs.SystemMessage("Be kind."), gs.UserMessage(opening))
    answers, usages, prompts = [], [], []
    for number in range(turns):
        prompts.append(prompt_ids(model, taker, conversation))
        turn = taker(conversation)
        answers.append(turn.text)
        usages.append(turn.usage)
        conversation = conversation.add(turn.message).user(f"And then, {number}?")
    return answers, usages, prompts


@pytest.mark.parametrize("architecture", FAMILIES)
def test_a_turn_begins_with_the_earlier_ones(architecture):
    """The next prompt has the same first ids, and what they have in common is not computed again."""
    model = model_of(architecture)
    answers, usages, prompts = talk(model, gs.Regex("[ab]{12}[xy]"))
    encode = model.runtime().vocabulary.encode
    assert usages[0].cached_tokens == 0
    for number in (1, 2):
        before, now = prompts[number - 1], prompts[number]
        kept = (*before, *encode(answers[number - 1])[:-1])  # the last token was never forwarded
        shared = in_common(kept, now)
        assert shared >= len(before) - OPENING
        if architecture in WHOLE:
            assert shared == len(kept)
        assert usages[number].cached_tokens == shared
        assert usages[number].prompt_tokens == len(now)


@pytest.mark.parametrize("architecture", FAMILIES)
@pytest.mark.parametrize("answer", ["[ab]{12}x", "[ab]{330}x"], ids=["short", "long"])
def test_reuse_changes_no_answer(architecture, answer):
    """Past every sliding window, with answers longer than can be rewound, it is as without a store."""
    opening = "All is well. " * 60
    assert len(opening) > 8 * SLIDING_WINDOW
    spec = gs.Regex(answer)
    with_store = talk(model_of(architecture), spec, opening=opening)
    without = talk(model_of(architecture, prefix_cache_bytes=0), spec, opening=opening)
    assert with_store[0] == without[0]
    assert [usage.cached_tokens for usage in without[1]] == [0, 0, 0]
    for number in (1, 2):
        assert with_store[1][number].cached_tokens >= len(with_store[2][number - 1]) - OPENING


def test_what_a_draft_guessed_wrong_is_not_kept():
    """Where an answer ends inside a draft, the state that is kept is that of the answer alone."""
    opening = "abcde" * 40
    spec = gs.Regex("(abcde|xy){8,40}")
    drafted = 0
    for seed in range(6):
        model = model_of("gemma4", drafts="on")
        answers, usages, _ = talk(model, spec, opening=opening, turns=1, seed=seed)
        drafted += sum(usage.drafted_tokens for usage in usages)
        for ids, snapshot in model.runtime().prefixes._snapshots.items():
            assert snapshot.length == len(ids)
        end = max(model.runtime().prefixes._snapshots, key=len)
        kept = model.runtime().vocabulary.decode(end).rpartition("thought\n")[2]
        assert len(kept) >= len(answers[0]) - 5
        assert answers[0].startswith(kept)
    assert drafted > 0


@gs.tool
def note(text: str, count: int) -> str:
    """Note it."""
    return text * count


@pytest.mark.parametrize("architecture", FAMILIES)
def test_returns_of_tools_are_all_that_an_agent_reads_again(architecture):
    """From call to call only the last call and its return are new."""
    model = model_of(architecture)
    offer = gs.ToolOffer.of([note], choice="required", parallel=(1, 1))
    bounds = gs.Bounds(string_length=8, integer_digits=2)
    turns = model.turns(
        str, offer, temperature=1.0, seed=2, max_tokens=300, max_attempts=1, bounds=bounds
    )
    conversation = gs.Conversation(gs.UserMessage("Go."))
    before = 0
    for _ in range(3):
        turn = turns(conversation)
        assert turn.usage.cached_tokens >= before - OPENING
        assert not before or turn.usage.cached_tokens > 0
        before = turn.usage.prompt_tokens
        returned = gs.ToolReturn("note", "done", turn.calls[0].id)
        conversation = conversation.add(turn.message, gs.ToolMessage(returned))


@pytest.mark.parametrize("architecture", sorted(THINKING))
def test_a_thought_is_not_in_the_way(architecture):
    """With thinking, which no history repeats, the earlier turns are still reused."""
    model = model_of(architecture)
    ask = model.compile(gs.Regex("[ab]{12}x"), thinking=8, temperature=1.0, seed=3, max_tokens=300)
    conversation = gs.Conversation(gs.UserMessage("Hello there, all of you."))
    first = ask(conversation)
    then = conversation.add(gs.AssistantMessage(first.output, first.thinking)).user("And you?")
    assert ask(then).usage.cached_tokens >= first.usage.prompt_tokens - OPENING


def test_two_conversations_share_their_beginning():
    """A conversation that goes on in two ways is computed once up to there; so is a second one."""
    model = model_of("mixtral")
    ask = model.compile(gs.Regex("[ab]{12}x"), max_tokens=100)
    conversation = gs.Conversation(gs.SystemMessage("Be kind. " * 9), gs.UserMessage("One?"))
    first = ask(conversation)
    reply = conversation.add(gs.AssistantMessage(first.output))
    left, right = ask(reply.user("Left?")), ask(reply.user("Right?"))
    assert left.usage.cached_tokens >= first.usage.prompt_tokens
    assert right.usage.cached_tokens > left.usage.cached_tokens  # what opens the user's turn, too
    other = ask(gs.Conversation(gs.SystemMessage("Be kind. " * 9), gs.UserMessage("Two?")))
    assert other.usage.cached_tokens > 80


def test_prompts_of_documents_share_a_part():
    """Two tasks with the same instruction share it, though their schemas differ."""
    model = model_of("gemma4")
    instruction = "Read it with care. " * 10
    first = model.generate("doc", bool, instruction=instruction)
    second = model.generate("doc", int, instruction=instruction, max_tokens=100)
    assert first.usage.cached_tokens == 0
    assert second.usage.cached_tokens > len(instruction)


def test_documents_keep_no_answer():
    """The state at the end of an answer is kept for conversations alone, once each, within bounds."""
    model = model_of("mixtral")
    ask = model.compile(gs.Regex("[ab]{12}x"), max_tokens=100)
    for document in ("one", "two", "three"):
        ask(document)
    prefixes = model.runtime().prefixes
    assert len(prefixes) == 1
    ask(gs.Conversation(gs.UserMessage("one")))
    assert len(prefixes) == 2
    ask(gs.Conversation(gs.UserMessage("one")))
    assert len(prefixes) == 2
    small = model_of("mixtral", prefix_cache_bytes=100_000)
    for number in range(30):
        small.generate(gs.Conversation(gs.UserMessage(f"{number} and more")), gs.Regex("[ab]{12}x"))
        assert small.runtime().prefixes.nbytes <= 100_000


def test_no_snapshot_is_taken_for_a_store_of_no_size(monkeypatch):
    """With prefix_cache_bytes=0 the cache is never copied."""
    model = model_of("gemma4", prefix_cache_bytes=0)
    taken = []
    monkeypatch.setattr(type(model.runtime().session), "snapshot", lambda *a: taken.append(a))
    talk(model, gs.Regex("[ab]{12}x"))
    model.generate("doc", bool)
    assert taken == []


def test_a_cancelled_answer_is_not_kept():
    """What was given up leaves nothing behind, and its rows are closed."""
    model = model_of("mixtral")
    conversation = gs.Conversation(gs.UserMessage("Hi"))
    with pytest.raises(gs.DeadlineExceededError):
        model.generate(conversation, gs.Regex("[ab]{3000}x"), max_tokens=5000, timeout=0.2)
    model.runtime().engine.shutdown()
    assert model.runtime().session.open_rows == 0
    assert len(model.runtime().prefixes) <= 1
