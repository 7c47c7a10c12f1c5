"""Many rows chosen at once: what `Sampler` would have chosen for each, and nothing that is masked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gemma_structured.decoding.batch_sampler import choose_tokens, unpack_bitmask
from gemma_structured.decoding.sampler import Sampler, filtered_probabilities
from gemma_structured.grammar import bitmask
from gemma_structured.types import SamplingParams

if TYPE_CHECKING:
    from torch import Tensor

LOGITS = torch.tensor([2.0, -1.0, 0.5, 3.0, 0.0, 1.0, -2.0, 2.5])
ALLOWED = torch.tensor([True, False, True, False, True, True, True, True])
CHI_SQUARE_999 = {1: 10.83, 2: 13.82, 3: 16.27, 4: 18.47, 5: 20.52}
"""The 99.9 % quantiles, by degrees of freedom."""


class Fixed(Sampler):
    """A sampler whose next random number is given."""

    def __init__(self, params: SamplingParams, number: float) -> None:
        super().__init__(params)
        self._number = torch.tensor(number, dtype=torch.float64)

    def uniform(self) -> Tensor:
        return self._number


params = st.builds(
    SamplingParams,
    temperature=st.just(0.0) | st.floats(0.05, 5),
    top_k=st.none() | st.integers(1, 40),
    top_p=st.none() | st.floats(0.01, 1),
    min_p=st.none() | st.floats(0, 1),
    seed=st.integers(0, 1000),
)
row = st.tuples(
    st.lists(st.integers(-300, 300).map(lambda n: n / 16), min_size=12, max_size=12, unique=True),
    st.lists(st.booleans(), min_size=12, max_size=12).filter(any),
    params,
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(row, min_size=1, max_size=5))
def test_rows_together_as_each_alone(
    rows: list[tuple[list[float], list[bool], SamplingParams]],
) -> None:
    """Greedy and sampled, every filter, three draws in a row: the tokens that `Sampler` gives."""
    logits = torch.tensor([values for values, _, _ in rows])
    allowed = torch.tensor([mask for _, mask, _ in rows])
    alone = [Sampler(sampling) for _, _, sampling in rows]
    together = [Sampler(sampling) for _, _, sampling in rows]
    for _ in range(3):
        expected = []
        for sampler, values, mask in zip(alone, logits, allowed, strict=True):
            ids = mask.nonzero()[:, 0]
            expected.append(int(ids[sampler.choose(values[ids])]))
        assert choose_tokens(logits, allowed, together) == expected


@pytest.mark.parametrize(
    "sampling",
    [
        SamplingParams(temperature=1.0),
        SamplingParams(temperature=1.0, top_k=3),
        SamplingParams(temperature=1.5, top_k=5, top_p=0.9, min_p=0.1),
    ],
)
def test_draws_follow_the_distribution(sampling: SamplingParams) -> None:
    """4,000 rows at once, each with a seed of its own, pass a χ² test against the exact shares."""
    draws = 4000
    kept, order = filtered_probabilities(LOGITS[ALLOWED], sampling)
    expected = torch.zeros(len(LOGITS), dtype=torch.float64)
    expected[ALLOWED.nonzero()[:, 0][order]] = kept * draws
    samplers = [
        Sampler(
            SamplingParams(
                temperature=sampling.temperature,
                top_k=sampling.top_k,
                top_p=sampling.top_p,
                min_p=sampling.min_p,
                seed=seed,
            )
        )
        for seed in range(draws)
    ]
    chosen = choose_tokens(LOGITS.expand(draws, -1), ALLOWED.expand(draws, -1), samplers)
    counts = torch.bincount(torch.tensor(chosen), minlength=len(LOGITS))
    possible = expected > 0
    assert counts[~possible].sum() == 0
    statistic = ((counts - expected) ** 2 / expected)[possible].sum()
    assert statistic < CHI_SQUARE_999[int(possible.sum()) - 1]


@pytest.mark.parametrize("number", [0.0, 0.5, 1 - 2**-53])
def test_what_is_masked_or_impossible_is_never_drawn(number: float) -> None:
    """Whatever the random number: not even where the probabilities add up to less than 1."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(50, 300, generator=generator) * 4
    allowed = torch.rand(50, 300, generator=generator) < 0.3
    logits[:, 7], allowed[:, 7] = -torch.inf, True  # what the model rules out
    logits[:, 8], allowed[:, 8] = 1000.0, False
    samplers = [Fixed(SamplingParams(temperature=1.3), number) for _ in range(50)]
    chosen = choose_tokens(logits, allowed, samplers)
    assert all(allowed[r, token] and token != 7 for r, token in enumerate(chosen))


def test_ties_go_to_the_first_of_the_largest() -> None:
    """As row by row; what is masked does not count, not even what is no number."""
    logits = torch.tensor([[9.0, 5.0, 5.0, torch.nan], [1.0, 1.0, 0.0, torch.inf]])
    allowed = torch.tensor([[False, True, True, False], [True, True, True, False]])
    assert choose_tokens(logits, allowed, [Sampler(SamplingParams())] * 2) == [1, 0]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_row_that_is_not_finite_is_told_apart(temperature: float) -> None:
    """Its neighbours are chosen for as without it."""
    inf, nan = torch.inf, torch.nan
    logits = torch.tensor([[0.0, 9.0], [nan, 1.0], [inf, 1.0], [-inf, -inf], [9.0, 0.0]])
    samplers = [Sampler(SamplingParams(temperature=temperature / 10, seed=1)) for _ in range(5)]
    chosen = choose_tokens(logits, torch.ones(5, 2, dtype=torch.bool), samplers)
    assert chosen == [1, None, None, None, 0]


@pytest.mark.parametrize("temperature", [5e-324, 1e300])
def test_extreme_temperatures(temperature: float) -> None:
    """Nothing overflows: the smallest is greedy, the largest uniform."""
    chosen = [
        choose_tokens(
            LOGITS[None], ALLOWED[None], [Fixed(SamplingParams(temperature=temperature), number)]
        )[0]
        for number in (0.01, 0.99)
    ]
    assert chosen == ([7, 7] if temperature < 1 else [0, 7])


@pytest.mark.parametrize("vocab", [32, 261, 300])
def test_a_bitmask_is_unpacked(vocab: int) -> None:
    """Bit by bit as on the CPU, the sign bit too."""
    rows = np.random.default_rng(0).integers(-(2**31), 2**31, (3, bitmask.words(vocab)), np.int32)
    found = unpack_bitmask(torch.from_numpy(rows), vocab)
    assert found.tolist() == [bitmask.allowed(each, vocab).tolist() for each in rows]
