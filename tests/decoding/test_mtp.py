"""Gemma 4's drafter: what it reads, that it changes no answer, and whom it fits."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Literal

import pytest
import torch
from pydantic import BaseModel, Field
from transformers import DynamicCache, Gemma4TextConfig

import gemma_structured as gs
from gemma_structured.decoding.draft import DraftContext
from gemma_structured.decoding.loop import DecodeLoop
from gemma_structured.decoding.mtp import MTPDrafter, MTPModel
from gemma_structured.decoding.mtp_patch import buildable_assistants
from gemma_structured.decoding.prefix import PrefixStore
from gemma_structured.decoding.session import TransformersSession
from gemma_structured.grammar.compiler import GrammarCompiler
from gemma_structured.grammar.spec import Grammar
from gemma_structured.testing.tiny_shapes import SLIDING_WINDOW
from gemma_structured.types import SamplingParams

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from torch import Tensor
    from transformers import PreTrainedModel

    from gemma_structured.decoding.loaded_model import LoadedModel
    from gemma_structured.decoding.sequence import TokenSequence
    from gemma_structured.grammar.vocabulary import Vocabulary

    Make = Callable[..., TokenSequence]

LONG = "The quick brown fox jumps over the lazy dog. " * 3
"""A prompt beyond the sliding window."""

LAST_LAYERS = {"sliding_attention": 4, "full_attention": 5}
"""The target's last layer of each kind."""


class Item(BaseModel):
    """What the models of these tests write."""

    urgent: bool
    kind: Literal["long word", "other word"]
    digits: list[Literal[0, 1]] = Field(min_length=6, max_length=8)
    name: str = Field(max_length=6)


@pytest.fixture(scope="module")
def target(tiny_model: Callable[[Any], LoadedModel]) -> LoadedModel:
    """A tiny Gemma 4."""
    return tiny_model("gemma4")


@pytest.fixture(scope="module")
def assistant(
    target: LoadedModel, assistant_for: Callable[..., PreTrainedModel]
) -> PreTrainedModel:
    """Its assistant."""
    return assistant_for(target.model)


@pytest.fixture(scope="module")
def folder(assistant: PreTrainedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The assistant as a checkpoint."""
    path = tmp_path_factory.mktemp("assistant")
    assistant.save_pretrained(path)
    return path


@pytest.fixture
def session(target: LoadedModel) -> TransformersSession:
    """Rows on the target."""
    return TransformersSession(target.model, 1000)


@pytest.fixture
def mtp(target: LoadedModel, assistant: PreTrainedModel, session: TransformersSession) -> MTPModel:
    """The assistant beside those rows."""
    return MTPModel(assistant, target.model, session, name="assistant")


@torch.inference_mode()
def as_transformers(
    target: PreTrainedModel, assistant: PreTrainedModel, prompt: Sequence[int], then: Sequence[int]
) -> Tensor:
    """What the assistant says after some tokens, by a fresh forward and transformers alone."""
    cache = DynamicCache()
    outputs = target(
        torch.tensor([prompt]), past_key_values=cache, use_cache=True, output_hidden_states=True
    )
    hidden = outputs.hidden_states[-1][:, -1:]
    shared = {
        kind: (cache.layers[layer].keys, cache.layers[layer].values)
        for kind, layer in LAST_LAYERS.items()
    }
    for token_id in then:
        embedded = target.get_input_embeddings()(torch.tensor([[token_id]]))
        said = assistant(
            inputs_embeds=torch.cat([embedded, hidden], dim=-1),
            position_ids=torch.tensor([[len(prompt)]]),
            shared_kv_states=shared,
        )
        hidden = said.last_hidden_state
    return said.logits[0, 0]


@pytest.mark.parametrize("length", [5, SLIDING_WINDOW, 700])
def test_it_reads_the_rows_as_they_are(
    target: LoadedModel,
    assistant: PreTrainedModel,
    mtp: MTPModel,
    random_ids: Callable[..., list[int]],
    length: int,
) -> None:
    """In any slot, after a rewind, far beyond the window: as if the prompt were read afresh."""
    ids, session = random_ids(target.model, length, 1), mtp.session
    rows = [session.open(), session.open()]
    session.forward({rows[0]: random_ids(target.model, 90, 2), rows[1]: [*ids[:-2], 7, 8, 9]})
    session.rewind(rows[1], 3)
    logits = session.forward({rows[0]: [5], rows[1]: ids[-2:]})[rows[1]]
    hidden = logits.hidden(0)
    assert hidden is not None
    state = mtp.at(rows[1], hidden)
    then = [11, 12, 13]
    state.read(then)
    expected = as_transformers(target.model, assistant, ids, then)
    torch.testing.assert_close(state.logits, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_it_changes_no_answer(
    session: TransformersSession,
    mtp: MTPModel,
    sequence_for: Make,
    bytes_vocabulary: Vocabulary,
    decode_together: Callable[..., list[str]],
    *,
    temperature: float,
) -> None:
    """Alone or in a batch, greedy or sampled; right guesses save forwards."""
    loop = DecodeLoop(session, PrefixStore(0))

    def sequences(*, drafts: bool) -> list[TokenSequence]:
        sampling = SamplingParams(temperature=temperature, seed=3)
        return [
            sequence_for(
                Item,
                prompt,
                sampling=sampling,
                drafts=MTPDrafter(mtp, bytes_vocabulary) if drafts else None,
            )
            for prompt in (LONG, "a short one", LONG * 6)
        ]

    plain = sequences(drafts=False)
    expected = [decode_together(loop, sequence)[0] for sequence in plain]
    alone, together = sequences(drafts=True), sequences(drafts=True)
    assert [decode_together(loop, sequence)[0] for sequence in alone] == expected
    assert decode_together(loop, *together) == expected
    for drafted in (alone, together):
        assert sum(sequence.usage.drafted_tokens for sequence in drafted) > 5
        passes = sum(sequence.forward_passes for sequence in drafted)
        assert passes < sum(sequence.forward_passes for sequence in plain)


def context_of(
    grammar: Grammar, session: TransformersSession, vocabulary: Vocabulary
) -> DraftContext:
    """After the prompt `p` and the answer `a`."""
    matcher = GrammarCompiler(vocabulary).compile(grammar).matcher()
    p, a = vocabulary.encode("pa")
    matcher.accept([a])
    row = session.open()
    hidden = session.forward({row: [p]})[row].hidden(0)
    return DraftContext(
        output_ids=[a], pieces=["a"], next_ids=[a], matcher=matcher, row=row, hidden=hidden
    )


def test_it_guesses_what_the_grammar_allows(
    session: TransformersSession, mtp: MTPModel, bytes_vocabulary: Vocabulary
) -> None:
    """The likeliest allowed token, with those that it forces, and nothing past the end."""
    context = context_of(Grammar.regex("a(b|c)xyz(d|e)"), session, bytes_vocabulary)
    drafter = MTPDrafter(mtp, bytes_vocabulary, max_tokens=12)
    assert context.hidden is not None
    state = mtp.at(context.row, context.hidden)
    state.read(context.next_ids)
    b, c = bytes_vocabulary.encode("bc")
    first = b if state.logits[b] >= state.logits[c] else c
    short = drafter.propose(context, 12)
    assert short == [first, *bytes_vocabulary.encode("xy")]
    drafter.learn(3, 3)
    drafter.learn(5, 5)
    whole = drafter.propose(context, 12)
    assert len(whole) == 5
    assert context.matcher.count_valid(whole) == 5
    assert context.matcher.count_valid(short) == 3


def test_it_guesses_nothing_where_that_does_not_pay(
    session: TransformersSession, mtp: MTPModel, bytes_vocabulary: Vocabulary
) -> None:
    """In a forward of many rows, and after guesses that were wrong; it comes back."""
    context = context_of(Grammar.regex("[ab]{30}"), session, bytes_vocabulary)
    drafter = MTPDrafter(mtp, bytes_vocabulary)
    assert drafter.propose(context, 2) == []
    assert len(drafter.propose(context, 8)) == 3
    drafter.learn(3, 3)
    assert len(drafter.propose(context, 8)) == 5
    drafter.learn(5, 1)
    assert len(drafter.propose(context, 8)) == 2
    pauses = []
    for _ in range(4):
        drafter.learn(2, 0)
        count = 0
        while not drafter.propose(context, 8):
            count += 1
        pauses.append(count)
    assert pauses == [0, 2, 6, 14]


@pytest.mark.parametrize("drafts", ["auto", "on"])
def test_a_local_model_takes_it_from_a_folder(
    target: LoadedModel, folder: Path, drafts: str
) -> None:
    """The same answers as without, with guesses that were right, documents long and short."""
    documents = ["a document", LONG]
    options: dict[str, Any] = {"max_tokens": 120, "seed": 1}
    plain = gs.LocalModel.from_transformers(target.model, target.tokenizer, drafts="off")
    expected = [plain.generate(d, Item, **options) for d in documents]
    model = gs.LocalModel.from_transformers(
        target.model, target.tokenizer, draft_model=folder, drafts=drafts
    )
    found = [model.generate(d, Item, **options) for d in documents]
    assert [r.text for r in found] == [r.text for r in expected]
    assert sum(r.usage.drafted_tokens for r in found) > 0
    assert [r.text for r in model.batch(documents, Item, **options)] == [r.text for r in expected]


def test_a_draft_model_must_fit(
    tiny_model: Callable[[Any], LoadedModel],
    tiny_checkpoint: Callable[[Any], Path],
    assistant_for: Callable[..., PreTrainedModel],
    folder: Path,
) -> None:
    """Another family, another kind of model, another target, no checkpoint: an error says which."""
    target = tiny_model("gemma4")

    def load(loaded: LoadedModel, draft_model: object) -> None:
        gs.LocalModel.from_transformers(
            loaded.model,
            loaded.tokenizer,
            draft_model=draft_model,  # type: ignore[arg-type]
        ).load()

    with pytest.raises(gs.LoadError, match=r"no draft models for .* 'mixtral' model"):
        load(tiny_model("mixtral"), folder)
    with pytest.raises(gs.LoadError, match="'gemma3_text' model, which drafts for no other"):
        load(target, tiny_checkpoint("gemma3"))
    with pytest.raises(gs.LoadError, match="a vocabulary 640, not 512"):
        load(target, assistant_for(target.model, vocab_size=640))
    with pytest.raises(gs.LoadError, match="a hidden size 48, not 64"):
        load(target, assistant_for(target.model, backbone_hidden_size=48))
    with pytest.raises(gs.LoadError, match=r"full_attention of heads and width \(1, 16\), not"):
        load(target, assistant_for(target.model, global_head_dim=16))
    with pytest.raises(gs.LoadError):
        load(target, folder / "nothing")
    with pytest.raises(gs.InputError, match="drafts are off"):
        gs.LocalModel("some/model", draft_model="some/assistant", drafts="off")


def test_the_patch_is_undone(target: LoadedModel) -> None:
    """It says what an assistant's layers do, says of others what was said, and goes."""
    before = vars(Gemma4TextConfig)["kv_sharing_modes"]
    alone = copy.deepcopy(target.model.config)
    alone.num_kv_shared_layers = alone.num_hidden_layers
    some = copy.deepcopy(target.model.config)
    some.num_kv_shared_layers = 2
    expected = some.kv_sharing_modes
    with buildable_assistants():
        assert alone.kv_sharing_modes == ["reuse"] * 6
        assert some.kv_sharing_modes == expected
        assert target.model.config.kv_sharing_modes == [None] * 6
    assert vars(Gemma4TextConfig)["kv_sharing_modes"] is before
