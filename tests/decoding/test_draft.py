"""Drafts: where they are copied from, how long they are, and that they change no distribution."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Literal

import pytest
import torch
from pydantic import BaseModel, Field

import gemma_structured as gs
from gemma_structured.decoding.draft import DraftContext, Drafters, DraftLength, PromptLookup
from gemma_structured.decoding.loop import DecodeLoop
from gemma_structured.decoding.prefix import PrefixStore
from gemma_structured.decoding.session import TransformersSession
from gemma_structured.grammar.compiler import GrammarCompiler
from gemma_structured.grammar.spec import Grammar
from gemma_structured.testing.random_session import RandomSession
from gemma_structured.types import SamplingParams

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor
    from transformers import PreTrainedModel

    from gemma_structured.decoding.loaded_model import LoadedModel
    from gemma_structured.decoding.sequence import TokenSequence
    from gemma_structured.grammar.vocabulary import Vocabulary
    from gemma_structured.models.local import LocalModel
    from gemma_structured.testing.tiny_shapes import Architecture

Z = 3.719
"""The standard normal's 99.99 % quantile."""


def critical(degrees: int) -> float:
    """χ² that is passed once in 10,000 times (Wilson and Hilferty)."""
    spread = 2 / (9 * degrees)
    return degrees * (1 - spread + Z * spread**0.5) ** 3


class CountingLookup(PromptLookup):
    """Counts what was tried and what was chosen, over all of them."""

    proposed = accepted = 0

    def learn(self, proposed: int, accepted: int) -> None:
        """Count."""
        CountingLookup.proposed += proposed
        CountingLookup.accepted += accepted
        super().learn(proposed, accepted)


CHOICES = ("abc", "de", "fg", "hi")
GRAMMAR = Grammar.regex("x: " + "".join(f"[{letters}]" for letters in CHOICES))
SOURCE = "x: adfh, x: begi, x: cdgh"
PROMPT = "p"


def exact(logits_of: Callable[[Sequence[int]], Tensor], vocabulary: Vocabulary) -> dict[str, float]:
    """The probability of every answer, each token's from a fresh forward, masked and normalised."""
    known = {"x: ": 1.0}
    for letters in CHOICES:
        ids = vocabulary.encode(letters)
        longer: dict[str, float] = {}
        for text, probability in known.items():
            logits = logits_of(vocabulary.encode(PROMPT + text))[-1, ids].double()
            for letter, share in zip(letters, torch.softmax(logits, 0).tolist(), strict=True):
                longer[text + letter] = probability * share
        known = longer
    return known


def chi_squared(counts: Counter[str], expected: dict[str, float]) -> tuple[float, int]:
    """The statistic and its degrees of freedom; answers that are rare count as one."""
    total = counts.total()
    rare = {text for text, probability in expected.items() if probability * total < 5}
    cells = [(counts[text], expected[text] * total) for text in expected if text not in rare]
    if rare:
        cells.append((sum(counts[t] for t in rare), sum(expected[t] for t in rare) * total))
    return sum((seen - due) ** 2 / due for seen, due in cells), len(cells) - 1


@pytest.mark.parametrize("drafts", [True, False])
def test_samples_follow_the_exact_distribution(
    model_for_law: Callable[[str], PreTrainedModel],
    fresh_logits: Callable[[PreTrainedModel, Sequence[int]], Tensor],
    sequence_for: Callable[..., TokenSequence],
    bytes_vocabulary: Vocabulary,
    decode_together: Callable[..., list[str]],
    *,
    drafts: bool,
) -> None:
    """With drafts, of which some are right and some wrong, as without: as enumeration says."""
    model, rows = model_for_law("mixtral"), 50
    expected = exact(lambda ids: fresh_logits(model, ids), bytes_vocabulary)
    assert sum(expected.values()) == pytest.approx(1.0)
    loop = DecodeLoop(TransformersSession(model, 100), PrefixStore(0), max_forward_tokens=rows * 5)
    CountingLookup.proposed = CountingLookup.accepted = 0
    counts: Counter[str] = Counter()
    for first in range(0, 1500, rows):
        sequences = [
            sequence_for(
                GRAMMAR,
                PROMPT,
                sampling=SamplingParams(temperature=1.0, seed=seed),
                drafts=CountingLookup(SOURCE, bytes_vocabulary.encode) if drafts else None,
            )
            for seed in range(first, first + rows)
        ]
        counts.update(decode_together(loop, *sequences))
    assert counts.keys() <= expected.keys()
    statistic, degrees = chi_squared(counts, expected)
    assert degrees >= 8
    assert statistic < critical(degrees)
    if drafts:
        assert 200 < CountingLookup.accepted < CountingLookup.proposed - 200


def test_another_distribution_is_told_apart() -> None:
    """The test above could fail: two answers that swapped their places are seen."""
    expected = {"a": 0.5, "b": 0.3, "c": 0.2}
    counts = Counter({"a": 1250, "b": 750, "c": 500})
    assert chi_squared(counts, expected) == (pytest.approx(0.0), 2)
    swapped = Counter({"a": 1250, "b": 500, "c": 750})
    assert chi_squared(swapped, expected)[0] > critical(2)
    assert critical(10) == pytest.approx(35.56, rel=0.02)  # as in tables


@pytest.fixture
def context_after(bytes_vocabulary: Vocabulary) -> Callable[[str], DraftContext]:
    """Makes the state after an answer."""

    def make(answer: str) -> DraftContext:
        ids = bytes_vocabulary.encode(answer)
        matcher = GrammarCompiler(bytes_vocabulary).compile(Grammar.regex("[^~]*")).matcher()
        matcher.accept(ids)
        return DraftContext(
            output_ids=ids,
            pieces=[bytes_vocabulary.decode([i]) for i in ids],
            next_ids=ids[-1:],
            matcher=matcher,
        )

    return make


@pytest.mark.parametrize(
    ("source", "answer", "draft"),
    [
        ("from Nora Feld", "name:Nora", " Fel"),
        ("Nora", "name:Nor", "a"),
        ("nothing of it", "name:", ""),
        ("", '[{"kind":"lamp"},{"kind":"', "lamp"),
        ("", "abc1 abc2 abc", "2 ab"),  # the last of equal matches
        ("", "xabc1 abc2 xabc", "1 ab"),  # the longest match
        ("a lamp of brass", "xa lamp x, ya lamp", " of "),  # as long in both: the document
        ("a lamp of brass", "xa lamp x, ya lamp of", " bra"),
        ("ABC1 xyABC2", "xyABC", "2"),  # a longer match further on
    ],
)
def test_a_draft_goes_on_after_the_longest_match(
    context_after: Callable[[str], DraftContext],
    bytes_vocabulary: Vocabulary,
    source: str,
    answer: str,
    draft: str,
) -> None:
    """In the document, or where the answer said so before."""
    lookup = PromptLookup(source, bytes_vocabulary.encode)
    assert bytes_vocabulary.decode(lookup.propose(context_after(answer), 9)) == draft


def test_a_draft_s_length_follows_what_was_chosen() -> None:
    """Longer up to the limit while all is right, short after what was wrong, never nothing."""
    length = DraftLength(16)
    lengths = [length.value]
    for accepted in (4, 10, 16, 5, 0, 0, 2):
        length.learn(length.value, accepted)
        lengths.append(length.value)
    assert lengths == [4, 10, 16, 16, 12, 2, 2, 6]
    length.learn(0, 0)
    assert length.value == 6


def test_copies_and_repeats_are_learnt_apart(
    context_after: Callable[[str], DraftContext], bytes_vocabulary: Vocabulary
) -> None:
    """A document that is copied stays worth long drafts where the answer repeats itself wrongly."""
    lookup = PromptLookup("one lamp of brass, thanks", bytes_vocabulary.encode)
    copied, repeated = context_after("one lamp"), context_after("abcdefgh abc")
    assert len(lookup.propose(copied, 16)) == 4
    lookup.learn(4, 4)
    assert len(lookup.propose(repeated, 16)) == 4
    lookup.learn(4, 0)
    assert len(lookup.propose(repeated, 16)) == 2
    assert len(lookup.propose(copied, 16)) == 10
    assert len(lookup.propose(copied, 3)) == 3


def test_the_next_drafter_is_asked_where_the_first_has_no_guess(
    context_after: Callable[[str], DraftContext], bytes_vocabulary: Vocabulary
) -> None:
    """And only the one that guessed learns."""
    first = PromptLookup("one lamp of brass", bytes_vocabulary.encode)
    second = PromptLookup("two oak shelves", bytes_vocabulary.encode)
    both = Drafters(first, second)
    assert bytes_vocabulary.decode(both.propose(context_after("two oak"), 9)) == " she"
    both.learn(4, 4)
    assert len(second.propose(context_after("two oak"), 16)) == len(" shelves")
    assert len(first.propose(context_after("one lamp"), 16)) == 4
    assert both.propose(context_after("zzz"), 9) == []


def test_no_draft_follows_half_a_forced_run(
    sequence_for: Callable[..., TokenSequence], bytes_vocabulary: Vocabulary
) -> None:
    """A run that is longer than a chunk is forwarded whole before anything is guessed."""
    forced = "abcdefghij" * 4
    grammar = Grammar.regex(f"(a|b){forced}[xy]z")
    session = RandomSession(261)
    loop = DecodeLoop(session, PrefixStore(0), prefill_chunk=8)
    sequence = sequence_for(
        grammar, "p", drafts=PromptLookup(forced + "xz", bytes_vocabulary.encode)
    )
    loop.start(sequence)
    while not sequence.finished:
        loop.step([sequence])
    assert sequence.error is None
    plain = sequence_for(grammar, "p")
    loop.start(plain)
    while not plain.finished:
        loop.step([plain])
    assert sequence.text == plain.text


@pytest.mark.parametrize(
    ("architecture", "drafts", "expected"),
    [
        ("gemma4", "auto", False),
        ("gemma4", "on", True),
        ("deepseek_v3", "auto", False),
        ("gemma3", "auto", True),
        ("gemma3", "off", False),
    ],
)
def test_drafts_are_off_where_they_do_not_pay(
    tiny_model: Callable[[Architecture], LoadedModel],
    architecture: Architecture,
    drafts: Literal["auto", "on", "off"],
    expected: bool,
) -> None:
    """A mixture of experts on a CPU pays for each guess, unless the user says otherwise."""
    loaded = tiny_model(architecture)
    model = gs.LocalModel.from_transformers(loaded.model, loaded.tokenizer, drafts=drafts)
    assert model.runtime().drafts is expected


class Line(BaseModel):
    """A line of an order."""

    article: str = Field(max_length=30)
    supplier: str = Field(max_length=30)


class Order(BaseModel):
    """An order."""

    lines: list[Line] = Field(min_length=2, max_length=2)


def text_of(lines: list[Line]) -> str:
    """A document that says these lines."""
    return " ".join(f"Some {x.article} from {x.supplier}." for x in lines)


EXAMPLE = [
    Line(article="brass lamps", supplier="Hale Brothers"),
    Line(article="oak shelves", supplier="Hale Brothers"),
]
DOCUMENT = "Some steel hinges from Nordic Trade Ltd. Some copper wires from Nordic Trade Ltd."


class DocumentLookup(PromptLookup):
    """Copies from the document alone."""

    def propose(self, context: DraftContext, room: int) -> list[int]:
        """Hide all but the end of the answer."""
        last = slice(-32, None)
        alone = DraftContext(
            output_ids=[],
            pieces=context.pieces[last],
            next_ids=context.next_ids,
            matcher=context.matcher,
        )
        return super().propose(alone, room)


def test_repeating_the_answer_saves_forwards(
    local_model: LocalModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a list of alike items, beyond what copying the document saves; the text is the same."""
    generator = local_model.compile(
        Order,
        instruction="Read the order lines.",
        examples=[gs.Example(text_of(EXAMPLE), Order(lines=EXAMPLE))],
        max_tokens=120,
    )
    both = generator(DOCUMENT)
    monkeypatch.setattr("gemma_structured.decoding.draft.PromptLookup", DocumentLookup)
    copied = generator(DOCUMENT)
    assert both.text == copied.text
    assert both.usage.drafted_tokens > copied.usage.drafted_tokens > 0
    assert both.usage.forward_passes < copied.usage.forward_passes
