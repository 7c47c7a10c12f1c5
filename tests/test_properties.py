"""Random types at high temperature: what is finished validates, and nearly all of it finishes."""

from __future__ import annotations

import enum
import os
import random
from collections import Counter
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional, Union
from uuid import UUID

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, create_model

import gemma_structured as gs
from gemma_structured.decoding.loop import DecodeLoop
from gemma_structured.decoding.prefix import PrefixStore
from gemma_structured.decoding.sampler import Sampler
from gemma_structured.decoding.sequence import TokenSequence
from gemma_structured.grammar.compiler import GrammarCompiler
from gemma_structured.grammar.spec import Grammar
from gemma_structured.models.local import LocalModel
from gemma_structured.parsing.validate import validate
from gemma_structured.schema.bounds import Bounds
from gemma_structured.types import SamplingParams

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gemma_structured.decoding.loaded_model import LoadedModel
    from gemma_structured.grammar.vocabulary import Vocabulary

RANDOM_LOGITS_TYPES = int(os.environ.get("GS_RANDOM_LOGITS_TYPES", "2000"))
TINY_MODEL_TYPES = int(os.environ.get("GS_TINY_MODEL_TYPES", "200"))
MAX_TOKENS = 3000
TIGHT = Bounds(string_length=24, items=4, properties=3, key_length=8)
"""What a random walk can come to the end of: without bounds it would stay in a string for ever."""


class Colour(enum.Enum):
    RED = "red"
    GREEN = "grün"
    THREE = 3


class Tree(BaseModel):
    """A recursive type."""

    label: str
    children: list[Tree] = Field(default_factory=list, max_length=1)


SCALARS: tuple[Any, ...] = (
    str,
    int,
    float,
    bool,
    None,
    date,
    datetime,
    UUID,
    Decimal,
    Colour,
    bytes,
    Literal["a", "b", 3],
    Annotated[int, Field(ge=-5, le=300)],
    Annotated[float, Field(gt=0, lt=2.5)],
    Annotated[int, Field(multiple_of=7, ge=0, le=700)],
    Annotated[str, Field(min_length=2, max_length=6)],
    Annotated[str, Field(pattern=r"^[A-Z]{2}\d{1,3}$")],
    Annotated[str, gs.Regex(r"\w{1,5}(-\w{1,3})?")],
    Annotated[str, gs.Choice(["öl", "日本", "🙂🙂"])],
    Tree,
)


def random_type(rng: random.Random, depth: int = 0) -> Any:
    """A type that a user might write."""
    kinds = ["scalar"] * 3 + (
        ["list", "optional", "union", "dict", "tuple", "model", "set"] * (depth < 3)
    )
    match rng.choice(kinds):
        case "list":
            return list[random_type(rng, depth + 1)]  # type: ignore[misc]
        case "set":
            return set[rng.choice([int, str, date])]  # type: ignore[misc]
        case "optional":
            return Optional[random_type(rng, depth + 1)]  # noqa: UP045
        case "union":
            return Union[random_type(rng, depth + 1), rng.choice([int, str, bool])]  # noqa: UP007
        case "dict":
            return dict[str, random_type(rng, depth + 1)]  # type: ignore[misc]
        case "tuple":
            return tuple[random_type(rng, depth + 1), rng.choice([int, bool])]  # type: ignore[misc]
        case "model":
            return random_model(rng, depth + 1)
        case _:
            return rng.choice(SCALARS)


def random_model(rng: random.Random, depth: int = 0) -> type[BaseModel]:
    """A Pydantic model with a few fields, some of which have a default or an alias."""
    fields: dict[str, Any] = {}
    for i in range(rng.randint(1, 4)):
        field = rng.choice(
            [
                Field(),
                Field(default=None),
                Field(alias=f"näme {i}"),
                Field(description="What it is"),
            ]
        )
        fields[f"field_{i}"] = (random_type(rng, depth), field)
    return create_model(f"Model{rng.randrange(10**6)}", **fields)


class RandomLogits:
    """A session whose logits are random: the law must hold for whatever a model likes."""

    context_length = 10**6

    def __init__(self, size: int, seed: int) -> None:
        self._size = size
        self._random = torch.Generator().manual_seed(seed)
        self._lengths: dict[int, int] = {}

    def open(self, snapshot: object = None) -> Any:
        assert snapshot is None
        self._lengths[row := len(self._lengths)] = 0
        return row

    def close(self, row: int) -> None:
        del self._lengths[row]

    def length(self, row: int) -> int:
        return self._lengths[row]

    def rewindable(self, row: int) -> int:
        return self._lengths[row]

    def rewind(self, row: int, count: int) -> None:
        self._lengths[row] -= count

    def fork(self, row: int) -> Any:
        raise AssertionError("not used")

    def snapshot(self, row: int) -> Any:
        raise AssertionError("not used")

    def forward(
        self, chunks: Mapping[Any, Sequence[int]], *, keep: Mapping[Any, int] | None = None
    ) -> Any:
        for row, chunk in chunks.items():
            self._lengths[row] += len(chunk)
        return dict.fromkeys(chunks, self)

    def full(self) -> torch.Tensor:
        return 3 * torch.randn(1, self._size, generator=self._random)

    def at(self, position: int, token_ids: torch.Tensor) -> torch.Tensor:
        assert position == 0
        return 3 * torch.randn(len(token_ids), generator=self._random)

    def expect(self, position: int, token_ids: torch.Tensor) -> None:
        """Nothing: all logits are there."""

    def contenders(self, position: int, token_ids: torch.Tensor) -> torch.Tensor:
        assert position == 0
        return token_ids


def walk(
    output_type: gs.OutputType[Any], vocabulary: Vocabulary, compiler: GrammarCompiler, seed: int
) -> str:
    """Decode with random logits; say how it ended. What is finished must validate."""
    grammar, _ = Grammar.for_output_type(output_type, TIGHT)
    sequence = TokenSequence(
        [0],
        compiler.compile(grammar).matcher(),
        vocabulary,
        Sampler(SamplingParams(temperature=1.5, seed=seed)),
        max_tokens=MAX_TOKENS,
    )
    loop = DecodeLoop(RandomLogits(vocabulary.size, seed), PrefixStore(0))  # type: ignore[arg-type]
    loop.start(sequence)
    while not sequence.finished:
        loop.step([sequence])
    if sequence.error is not None:
        raise sequence.error
    if sequence.finish_reason == "length":
        return "incomplete"
    issues = wrong_with(output_type, sequence.text)
    assert {issue.keyword for issue in issues} <= RESIDUAL, (sequence.text, issues)
    return "residual" if issues else "valid"


def wrong_with(output_type: gs.OutputType[Any], text: str) -> tuple[gs.Issue, ...]:
    try:
        validate(output_type, text)
    except gs.OutputValidationError as error:
        return error.issues
    return ()


RESIDUAL = {"uniqueItems", "set_type"}
"""What no mask can hold, and what is checked after it and asked again."""


def test_what_random_logits_write_validates(tiny_model: Callable[[Any], LoadedModel]):
    """Over 2,000 random types, at least 95 % finish and every one of those validates."""
    loaded = tiny_model("mixtral")
    model = LocalModel.from_transformers(loaded.model, loaded.tokenizer)
    vocabulary = model.runtime().vocabulary
    compiler = GrammarCompiler(vocabulary, max_size=4)
    ended: Counter[str] = Counter()

    @settings(
        max_examples=RANDOM_LOGITS_TYPES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(rng=st.randoms(use_true_random=False), seed=st.integers(0, 2**32))
    def one_more(rng: random.Random, seed: int) -> None:
        output_type = gs.OutputType.of(random_model(rng))
        ended[walk(output_type, vocabulary, compiler, seed)] += 1

    one_more()
    total = sum(ended.values())
    assert total >= 0.9 * RANDOM_LOGITS_TYPES, ended
    assert ended["incomplete"] <= 0.05 * total, ended
    assert ended["residual"] <= 0.05 * total, ended


@pytest.mark.parametrize("architecture", ["gemma4", "deepseek_v3"])
def test_what_a_tiny_model_writes_validates(
    tiny_model: Callable[[Any], LoadedModel], architecture: str
):
    """The same through the public API, on random weights: a valid object or a typed error."""
    loaded = tiny_model(architecture)
    model = LocalModel.from_transformers(loaded.model, loaded.tokenizer)
    ended: Counter[str] = Counter()
    for seed in range(TINY_MODEL_TYPES // 2):
        output_type = random_model(random.Random(10_000 + seed))
        try:
            result = model.generate(
                "doc", output_type, temperature=1.5, seed=seed, max_tokens=800, bounds=TIGHT
            )
        except gs.IncompleteOutputError:
            ended["incomplete"] += 1
        except gs.OutputValidationError as error:
            unexpected = {issue.keyword for issue in error.issues} - RESIDUAL
            ended["residual" if not unexpected else f"invalid: {error}"] += 1
        else:
            assert isinstance(result.output, output_type)
            ended["valid"] += 1
    assert ended["valid"] >= 0.95 * (TINY_MODEL_TYPES // 2), ended
