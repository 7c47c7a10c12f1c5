"""Choosing for all rows at once: the same choices as row by row, on the path that GPUs take."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from pydantic import BaseModel, Field

from gemma_structured.decoding.draft import PromptLookup
from gemma_structured.decoding.loop import DecodeLoop
from gemma_structured.decoding.prefix import PrefixStore
from gemma_structured.decoding.runtime import start
from gemma_structured.decoding.runtime_options import RuntimeOptions
from gemma_structured.decoding.selection import BatchSelection, Place, RowSelection
from gemma_structured.decoding.session import TransformersSession
from gemma_structured.decoding.thought import Thought
from gemma_structured.exceptions import GrammarError, InputError, ModelError
from gemma_structured.grammar.compiler import GrammarCompiler
from gemma_structured.grammar.spec import Grammar
from gemma_structured.testing.random_session import RandomSession
from gemma_structured.types import SamplingParams

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from transformers import PreTrainedModel

    from gemma_structured.decoding.loaded_model import LoadedModel
    from gemma_structured.decoding.sequence import TokenSequence
    from gemma_structured.grammar.vocabulary import Vocabulary

    Make = Callable[..., TokenSequence]

CPU = torch.device("cpu")
LONG = "The quick brown fox jumps over the lazy dog. " * 3


class Item(BaseModel):
    """Forced text, numbers, choices, short texts."""

    name: str = Field(max_length=8)
    kind: bool
    amounts: list[int] = Field(max_length=2)


SAMPLINGS = (
    SamplingParams(),
    SamplingParams(temperature=1.0, seed=1),
    SamplingParams(temperature=0.7, seed=2, top_k=5),
    SamplingParams(temperature=1.5, seed=3, top_p=0.9),
    SamplingParams(temperature=1.5, seed=4, top_k=20, top_p=0.95, min_p=0.05),
)


@pytest.fixture
def selection(bytes_vocabulary: Vocabulary) -> BatchSelection:
    return BatchSelection(bytes_vocabulary.size, CPU, threads=2)


def decode(loop: DecodeLoop, sequences: Sequence[TokenSequence]) -> list[TokenSequence]:
    """Decode to the end; one more sequence joins at each step, those that are done leave."""
    waiting, active = list(sequences), list[Any]()
    while waiting or active:
        if waiting:
            loop.start(waiting[0])
            active.append(waiting.pop(0))
        loop.step(active)
        for sequence in [s for s in active if s.finished]:
            loop.end(sequence)
            active.remove(sequence)
    return list(sequences)


def texts(loop: DecodeLoop, sequences: Sequence[TokenSequence]) -> list[str]:
    decoded = decode(loop, sequences)
    for sequence in decoded:
        if sequence.error is not None:
            raise sequence.error
    return [sequence.text for sequence in decoded]


@pytest.mark.parametrize("name", ["gemma4", "mixtral_sliding", "deepseek_v3"])
def test_all_rows_at_once_as_one_after_another(
    name: str,
    model_for_law: Callable[[str], PreTrainedModel],
    sequence_for: Make,
    bytes_vocabulary: Vocabulary,
    selection: BatchSelection,
) -> None:
    """Greedy and sampled rows together, with and without drafts, as each alone and row by row."""
    model = model_for_law(name)
    prompts = [LONG, "a", "Invoice 12", LONG[:40], "b" * 90]

    def sequences(source: str | None = None) -> list[TokenSequence]:
        return [
            sequence_for(
                Item,
                prompt,
                sampling=sampling,
                max_tokens=60,
                drafts=PromptLookup(source, bytes_vocabulary.encode) if source else None,
            )
            for prompt, sampling in zip(prompts, SAMPLINGS, strict=True)
        ]

    def loop(**options: Any) -> DecodeLoop:
        return DecodeLoop(TransformersSession(model, 1000), PrefixStore(0), **options)

    expected = [texts(loop(), [sequence])[0] for sequence in sequences()]
    together = loop(selection=selection, max_forward_tokens=40)
    assert texts(together, sequences()) == expected
    assert [texts(together, [sequence])[0] for sequence in sequences()] == expected
    drafted = decode(together, sequences(expected[2]))
    assert [sequence.text for sequence in drafted] == expected
    assert drafted[2].usage.drafted_tokens > 0


def test_masks_are_filled_while_the_forward_runs(
    sequence_for: Make, selection: BatchSelection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a thread of its own: the forward does not return before all masks are there."""
    filled = threading.Event()
    fill = selection._fill

    def note(sequences: Sequence[TokenSequence]) -> Any:
        found = fill(sequences)
        if threading.current_thread().name.startswith("gemma-structured-masks"):
            filled.set()
        return found

    monkeypatch.setattr(selection, "_fill", note)
    waited: list[bool] = []

    def forward(_: object) -> None:
        waited.append(filled.wait(5))
        filled.clear()

    session = RandomSession(261, before_forward=forward)
    loop = DecodeLoop(session, PrefixStore(0), selection=selection)
    texts(loop, [sequence_for(Grammar.regex("[a-z]{3}"), prompt) for prompt in "abc"])
    assert len(waited) > 3
    assert all(waited)


def test_a_forward_that_fails_waits_for_the_masks(
    sequence_for: Make, selection: BatchSelection
) -> None:
    """Its error is raised once nobody writes masks any more, and the next step is right."""

    def fail(_: object) -> None:
        session.before_forward = None
        raise RuntimeError("shape mismatch")

    session = RandomSession(261, before_forward=fail)
    loop = DecodeLoop(session, PrefixStore(0), selection=selection)
    failing = sequence_for(Grammar.regex("[a-z]{3}"))
    loop.start(failing)
    with pytest.raises(RuntimeError, match="shape mismatch"):
        loop.step([failing])
    loop.end(failing)
    gone = weakref.ref(failing)
    del failing
    gc.collect()
    assert gone() is None
    (text,) = texts(loop, [sequence_for(Grammar.regex("[a-z]{3}"))])
    assert len(text) == 3


def test_what_fails_fails_alone(
    sequence_for: Make, selection: BatchSelection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mask that cannot be filled, one that allows nothing, and logits that are no numbers."""
    grammar = Grammar.regex("[a-z]{20}")
    prompts = ("a", "b", "c", "d", "e")
    expected = texts(
        DecodeLoop(RandomSession(261, seed=3), PrefixStore(0)),
        [sequence_for(grammar, prompt) for prompt in prompts],
    )
    rows = [sequence_for(grammar, prompt) for prompt in prompts]
    session = RandomSession(261, seed=3)
    monkeypatch.setattr(rows[1].matcher, "_matcher", _broken(rows[1]), raising=True)
    monkeypatch.setattr(rows[2], "matcher", _Nothing(), raising=True)
    window = session._logits

    def poison(tokens: Sequence[int]) -> Any:
        found = window(tokens)
        return np.full_like(found, np.nan) if tokens[0] == rows[3].prompt_ids[0] else found

    monkeypatch.setattr(session, "_logits", poison)
    decode(DecodeLoop(session, PrefixStore(0), selection=selection), rows)
    assert [rows[0].text, rows[4].text] == [expected[0], expected[4]]
    assert isinstance(rows[1].error, GrammarError)
    assert "After 0 tokens" in str(rows[2].error)
    assert isinstance(rows[3].error, ModelError)
    assert "not finite" in str(rows[3].error)
    assert session.open_rows == 0


def _broken(sequence: TokenSequence) -> Any:
    """Its matcher, fed a token that its grammar does not have."""
    inner = sequence.matcher._matcher.deep_copy()  # type: ignore[attr-defined]
    inner.consume_token(5 + ord("#"))
    assert inner.is_error()
    return inner


class _Nothing:
    """A matcher of another backend, in a place that nothing continues."""

    is_accepting = is_finished = False

    def fill_bitmask(self, bitmask: Any) -> None:
        bitmask.fill(0)


def test_a_spent_thought_is_closed(bytes_vocabulary: Vocabulary, sequence_for: Make) -> None:
    """The limit of a thought holds for a mask as it does for a list of tokens."""
    close = ord("#") + 5
    grammar = Grammar.regex("[a-z#]{1,60}")

    def thinking() -> TokenSequence:
        return sequence_for(grammar, "p", thought=Thought(None, close, 7), max_tokens=30)

    found = [
        texts(DecodeLoop(RandomSession(261, seed=5), PrefixStore(0), selection=each), [thinking()])
        for each in (RowSelection(), BatchSelection(bytes_vocabulary.size, CPU))
    ]
    assert found[0] == found[1]
    assert "#" in found[0][0][:8]


@pytest.mark.parametrize("backend", ["llguidance", "outlines_core"])
def test_few_tokens_and_many(
    backend: Any, bytes_vocabulary: Vocabulary, selection: BatchSelection, sequence_for: Make
) -> None:
    """Where few are allowed, only their logits are asked for; the choice is the same."""
    compiler = GrammarCompiler(bytes_vocabulary, backend)
    for pattern, few in (("[ab]c", True), ("(.|\n)c", False)):
        sequence = sequence_for(Grammar.regex(pattern))
        sequence.matcher = compiler.compile(Grammar.regex(pattern)).matcher()
        logits = _Noted(torch.randn(2, 261, generator=torch.Generator().manual_seed(1)))
        place = Place(sequence, logits, 1)
        assert selection.choose([place]) == RowSelection().choose([place])
        assert logits.asked == (["at"] if few else ["full"]) + ["at"]


class _Noted:
    """Logits, and how they were asked for."""

    def __init__(self, values: torch.Tensor) -> None:
        self.values = values
        self.asked: list[str] = []

    def full(self) -> torch.Tensor:
        self.asked.append("full")
        return self.values

    def at(self, position: int, token_ids: torch.Tensor) -> torch.Tensor:
        self.asked.append("at")
        return self.values[position, token_ids]

    def expect(self, position: int, token_ids: torch.Tensor) -> None:
        """Nothing: all logits are there."""

    def contenders(self, position: int, token_ids: torch.Tensor) -> torch.Tensor:
        return token_ids


@pytest.mark.parametrize(
    ("wanted", "made"),
    [("auto", RowSelection), ("rows", RowSelection), ("batch", BatchSelection)],
)
def test_a_runtime_chooses_by_device(
    wanted: Any, made: type, tiny_model: Callable[[Any], LoadedModel]
) -> None:
    """Row by row on a CPU, unless told otherwise."""
    runtime = start(tiny_model("gemma4"), RuntimeOptions(selection=wanted))
    assert type(runtime.engine._loop._selection) is made


def test_a_selection_that_there_is_not_is_refused() -> None:
    """The error names those that there are."""
    with pytest.raises(InputError, match='"auto", "rows" or "batch"'):
        RuntimeOptions(selection="gpu")  # type: ignore[arg-type]


def test_its_thread_ends_with_it(bytes_vocabulary: Vocabulary) -> None:
    """Nothing is left of a selection that nobody holds."""
    selection = BatchSelection(bytes_vocabulary.size, CPU)
    with selection.preparing([]):
        pass
    (thread,) = selection._worker._threads
    assert thread.is_alive()
    del selection
    gc.collect()
    thread.join(5)
    assert not thread.is_alive()
