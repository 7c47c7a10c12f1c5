"""The decode loop: the same answers alone, in a batch, from a kept prefix and with drafts."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import pytest
import torch
from pydantic import BaseModel, Field

from gemma_structured.decoding.draft import PromptLookup
from gemma_structured.decoding.loop import DecodeLoop
from gemma_structured.decoding.prefix import PrefixStore
from gemma_structured.decoding.session import TransformersSession
from gemma_structured.exceptions import GrammarError, ModelError
from gemma_structured.grammar.spec import Grammar
from gemma_structured.testing.random_session import RandomSession
from gemma_structured.testing.tiny_shapes import SLIDING_WINDOW
from gemma_structured.types import SamplingParams

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from transformers import PreTrainedModel

    from gemma_structured.decoding.sequence import TokenSequence
    from gemma_structured.decoding.session import Session
    from gemma_structured.grammar.vocabulary import Vocabulary

    Make = Callable[..., TokenSequence]
    ModelFor = Callable[[str], PreTrainedModel]


class Item(BaseModel):
    """What the models of these tests write: forced text, numbers, choices, short texts."""

    name: str = Field(max_length=8)
    kind: bool
    amounts: list[int] = Field(max_length=2)


SAMPLED = SamplingParams(temperature=1.0, seed=4)
LONG = "The quick brown fox jumps over the lazy dog. " * 3
"""A prompt beyond the sliding window."""


def run(loop: DecodeLoop, sequences: Sequence[TokenSequence], *, join: int = 1) -> list[str]:
    """Decode to the end; another sequence joins every `join` steps, those that are done leave."""
    waiting, active = list(sequences), list[Any]()
    while waiting or active:
        if waiting:
            loop.start(waiting[0])
            active.append(waiting.pop(0))
        for _ in range(join):
            for sequence in [s for s in active if s.finished]:
                loop.end(sequence)
                active.remove(sequence)
            if active:
                loop.step(active)
    for sequence in sequences:
        if sequence.error is not None:
            raise sequence.error
    return [sequence.text for sequence in sequences]


def loop_on(session: Session, *, prefix_bytes: int = 2**24, **options: int) -> DecodeLoop:
    return DecodeLoop(session, PrefixStore(prefix_bytes), **options)


@pytest.mark.parametrize(
    ("name", "sampling"),
    [
        *((name, SamplingParams()) for name in ("gemma4", "gemma3", "mixtral_sliding", "afmoe")),
        *((name, SamplingParams()) for name in ("minimax_m2", "deepseek_v3", "gemma4_eager")),
        *((name, SAMPLED) for name in ("gemma4", "mixtral")),
    ],
)
def test_a_batch_answers_as_each_alone(
    name: str, model_for_law: ModelFor, sequence_for: Make, sampling: SamplingParams
) -> None:
    """Rows of different lengths join and leave at different times; each answer is its own."""
    law_model = model_for_law(name)
    prompts = [LONG, "a", "Invoice 12", LONG[:SLIDING_WINDOW], "b" * 200]

    def sequences() -> list[TokenSequence]:
        return [sequence_for(Item, prompt, sampling=sampling, max_tokens=60) for prompt in prompts]

    together = loop_on(TransformersSession(law_model, 1000), prefill_chunk=40)
    alone = loop_on(TransformersSession(law_model, 1000))
    assert run(together, sequences()) == [run(alone, [s])[0] for s in sequences()]


@pytest.mark.parametrize("name", ["gemma4", "mixtral_sliding", "afmoe", "deepseek_v3"])
def test_a_kept_prefix_changes_no_answer(
    name: str, model_for_law: ModelFor, sequence_for: Make
) -> None:
    """The second prompt starts from the first one's fixed part, and answers as without it."""
    law_model = model_for_law(name)
    prompts = [LONG + "one", LONG + "another document"]

    def answers(prefix_bytes: int) -> tuple[list[str], list[int]]:
        loop = loop_on(TransformersSession(law_model, 1000), prefix_bytes=prefix_bytes)
        sequences = [
            sequence_for(Item, prompt, fixed_length=len(LONG), max_tokens=80) for prompt in prompts
        ]
        texts = [run(loop, [sequence])[0] for sequence in sequences]
        return texts, [sequence.usage.cached_tokens for sequence in sequences]

    texts, cached = answers(2**24)
    assert cached == [0, len(LONG)]
    assert answers(0) == (texts, [0, 0])


def test_a_chunk_ends_where_the_fixed_part_ends(sequence_for: Make) -> None:
    """So that exactly the fixed part is kept, however long the chunks are."""
    session = RandomSession(261)
    loop = loop_on(session, prefill_chunk=10)
    sequence = sequence_for(Grammar.regex("[ab]{2}"), "x" * 35, fixed_length=23)
    run(loop, [sequence])
    lengths = [len(chunk) for forward in session.forwards for chunk in forward.values()]
    assert lengths[:5] == [10, 10, 3, 10, 2]
    assert sequence.usage.forward_passes == len(lengths)
    assert session.open_rows == 0


def test_a_forced_run_costs_no_forward_of_its_own(sequence_for: Make) -> None:
    """Forced tokens ride with the token before them; the end of the grammar costs nothing."""
    session = RandomSession(261)
    sequence = sequence_for(Grammar.choice(["a long forced tail", "but another one"]), "p")
    (text,) = run(loop_on(session), [sequence])
    assert text in {"a long forced tail", "but another one"}
    assert [len(chunk) for forward in session.forwards for chunk in forward.values()] == [1]
    sequence = sequence_for(Grammar.regex("(one|two) = (ten thousand|[0-9])"), "p")
    run(loop_on(session), [sequence])
    assert sequence.usage.forward_passes < len(sequence.output_ids) / 2


def test_an_answer_is_never_forwarded_past_its_end(sequence_for: Make) -> None:
    """What is cut by the budget, or ends with the grammar, has no forward after it."""
    session = RandomSession(261)
    run(
        loop_on(session),
        [sequence_for(Grammar.regex("[ab]+"), "p", max_tokens=3, sampling=SAMPLED)],
    )
    assert sum(len(chunk) for forward in session.forwards for chunk in forward.values()) <= 3


@pytest.mark.parametrize("sampling", [SamplingParams(), SAMPLED], ids=["greedy", "sampled"])
@pytest.mark.parametrize("name", ["gemma4", "mixtral_sliding", "afmoe", "deepseek_v3"])
def test_drafts_change_no_answer(
    name: str,
    model_for_law: ModelFor,
    sequence_for: Make,
    bytes_vocabulary: Vocabulary,
    sampling: SamplingParams,
) -> None:
    """Right and wrong drafts are verified and rewound; right ones save forwards."""
    model = model_for_law(name)
    plain = sequence_for(Item, LONG, sampling=sampling, max_tokens=80)
    (expected,) = run(loop_on(TransformersSession(model, 1000)), [plain])
    wrong = expected[: len(expected) // 2] + "#" + expected[len(expected) // 2 + 1 :]
    for source in (expected, wrong, LONG):
        drafts = PromptLookup(source, bytes_vocabulary.encode)
        sequence = sequence_for(Item, LONG, sampling=sampling, max_tokens=80, drafts=drafts)
        assert run(loop_on(TransformersSession(model, 1000)), [sequence]) == [expected]
        assert sequence.usage.forward_passes <= plain.usage.forward_passes
        if source == expected:
            assert sequence.usage.drafted_tokens > 0
            assert sequence.usage.forward_passes < plain.usage.forward_passes


def test_an_error_is_one_sequences_own(sequence_for: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a sequence's grammar or sampler raises, its neighbours answer as if it were not there."""
    session = RandomSession(261, seed=3)
    grammar = Grammar.regex("[a-z]{20}")
    expected = run(loop_on(RandomSession(261, seed=3)), [sequence_for(grammar, p) for p in "ab"])
    first, typed, foreign, last = (sequence_for(grammar, prompt) for prompt in ("a", "x", "y", "b"))

    def fail(error: Exception) -> Callable[[], object]:
        def raise_it() -> object:
            raise error

        return raise_it

    monkeypatch.setattr(typed, "allowed_ids", fail(GrammarError("no way")))
    monkeypatch.setattr(foreign, "allowed_ids", fail(RuntimeError("broken backend")))
    loop = loop_on(session)
    with pytest.raises(GrammarError, match="no way"):
        run(loop, [first, typed, foreign, last])
    assert [first.text, last.text] == expected
    assert isinstance(foreign.error, ModelError)
    assert "RuntimeError: broken backend" in str(foreign.error)
    assert session.open_rows == 0


@pytest.mark.parametrize("name", ["mixtral_sliding", "deepseek_v3"])
def test_a_row_that_is_not_finite_fails_alone(
    name: str, model_for_law: ModelFor, sequence_for: Make
) -> None:
    """A token whose weights are no numbers ends its own answer, and spoils no row after it."""
    model = copy.deepcopy(model_for_law(name))
    poison = ord("!") + 5  # the id of this byte
    with torch.no_grad():
        model.get_input_embeddings().weight[poison] = torch.nan
    loop = loop_on(TransformersSession(model, 1000))
    expected = [run(loop, [sequence_for(Item, p, max_tokens=60)])[0] for p in ("a", "bcd", "e")]
    bad = sequence_for(Item, "long enough to leave something behind !" * 3, max_tokens=60)
    neighbours = [sequence_for(Item, p, max_tokens=60) for p in ("a", "bcd")]
    with pytest.raises(ModelError, match="not finite"):
        run(loop, [neighbours[0], bad, neighbours[1]])
    assert [s.text for s in neighbours] == expected[:2]
    later = [sequence_for(Item, p, max_tokens=60) for p in ("a", "bcd", "e")]
    assert run(loop, later) == expected


def test_a_sequence_must_be_started(sequence_for: Make) -> None:
    """A step without a row is a mistake in the owner."""
    with pytest.raises(RuntimeError, match="not started"):
        loop_on(RandomSession(261)).step([sequence_for(Grammar.regex("[ab]+"))])


def test_answers_are_of_their_type(sequence_for: Make) -> None:
    """What a random session writes under the grammar is an item."""
    session = RandomSession(261, seed=9)
    texts = run(
        loop_on(session),
        [sequence_for(Item, f"{i}", sampling=SAMPLED, max_tokens=400) for i in range(5)],
        join=3,
    )
    for text in texts:
        Item.model_validate(json.loads(text))
