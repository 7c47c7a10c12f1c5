"""The sampler: the distribution that it says, the filters of transformers, and seeds that hold."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from gemma_structured.decoding.sampler import Sampler, filtered_probabilities
from gemma_structured.exceptions import ModelError
from gemma_structured.types import SamplingParams

LOGITS = torch.tensor([2.0, -1.0, 0.5, 3.0, 0.0, 1.0, -2.0, 2.5])
CHI_SQUARE_999 = {1: 10.83, 2: 13.82, 3: 16.27, 4: 18.47, 5: 20.52, 6: 22.46, 7: 24.32}
"""The 99.9 % quantiles, by degrees of freedom."""


def as_distribution(logits: torch.Tensor, params: SamplingParams) -> torch.Tensor:
    """The probability of each token, 0 for those that are filtered out."""
    kept, order = filtered_probabilities(logits, params)
    probabilities = torch.zeros(len(logits), dtype=torch.float64)
    probabilities[order] = kept
    return probabilities


@pytest.mark.parametrize(
    "params",
    [
        SamplingParams(temperature=1.0, seed=1),
        SamplingParams(temperature=0.5, seed=2),
        SamplingParams(temperature=3.0, seed=3),
        SamplingParams(temperature=1.0, top_k=3, seed=4),
        SamplingParams(temperature=1.0, top_p=0.8, seed=5),
        SamplingParams(temperature=1.5, min_p=0.2, seed=6),
        SamplingParams(temperature=1.5, top_k=6, top_p=0.9, min_p=0.1, seed=7),
    ],
)
def test_draws_follow_the_distribution(params: SamplingParams) -> None:
    """The counts of 4,000 draws pass a χ² test, and no token is drawn that was filtered out."""
    draws = 4000
    sampler = Sampler(params)
    counts = torch.bincount(
        torch.tensor([sampler.choose(LOGITS) for _ in range(draws)]), minlength=len(LOGITS)
    )
    expected = as_distribution(LOGITS, params) * draws
    possible = expected > 0
    assert counts[~possible].sum() == 0
    statistic = ((counts - expected) ** 2 / expected)[possible].sum()
    assert statistic < CHI_SQUARE_999[int(possible.sum()) - 1]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    st.lists(st.floats(-20, 20, width=32), min_size=1, max_size=30, unique=True),
    st.floats(0.05, 5),
    st.none() | st.integers(1, 40),
    st.none() | st.floats(0.01, 1),
    st.none() | st.floats(0, 1),
)
def test_the_filters_are_those_of_transformers(
    values: list[float],
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    min_p: float | None,
) -> None:
    """In every combination, the same distribution as its own warpers in its own order."""
    logits = torch.tensor(values)
    warpers = LogitsProcessorList([TemperatureLogitsWarper(temperature)])
    if top_k is not None:
        warpers.append(TopKLogitsWarper(top_k))
    if top_p is not None:
        warpers.append(TopPLogitsWarper(top_p))
    if min_p is not None:
        warpers.append(MinPLogitsWarper(min_p))
    warped = warpers(torch.zeros(1, 0, dtype=torch.long), logits.double()[None])[0]
    params = SamplingParams(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
    ours, theirs = as_distribution(logits, params), torch.softmax(warped, dim=0)
    if not _is_borderline(logits, params):
        torch.testing.assert_close(ours, theirs, atol=1e-9, rtol=1e-9)


def _is_borderline(logits: torch.Tensor, params: SamplingParams) -> bool:
    """Whether a token lies so near a filter's edge that rounding decides."""
    kept = [
        as_distribution(
            logits,
            SamplingParams(
                temperature=params.temperature,
                top_k=params.top_k,
                top_p=None if params.top_p is None else min(1.0, params.top_p * factor),
                min_p=None if params.min_p is None else min(1.0, params.min_p * factor),
            ),
        )
        > 0
        for factor in (1 - 1e-9, 1, 1 + 1e-9)
    ]
    return not (torch.equal(kept[0], kept[1]) and torch.equal(kept[1], kept[2]))


def test_without_a_temperature_the_first_of_the_largest_is_taken() -> None:
    """Ties go to the smaller index, every time; filters and seeds do not matter."""
    sampler = Sampler(SamplingParams(top_k=1, seed=3))
    assert {sampler.choose(torch.tensor([1.0, 5.0, 5.0])) for _ in range(5)} == {1}


def test_a_very_small_temperature_is_greedy() -> None:
    """Nothing overflows on the way to zero."""
    sampler = Sampler(SamplingParams(temperature=5e-324, seed=0))
    assert sampler.choose(LOGITS) == 3
    assert Sampler(SamplingParams(temperature=1e-30, seed=0)).choose(LOGITS) == 3


def test_a_very_large_temperature_is_uniform() -> None:
    """Every token is as likely."""
    found = as_distribution(LOGITS, SamplingParams(temperature=1e300))
    torch.testing.assert_close(found, torch.full((8,), 1 / 8, dtype=torch.float64))


@pytest.mark.parametrize("seed", [0, 7, 2**63, -1, 2**70])
def test_a_seed_is_enough_to_draw_the_same(seed: int) -> None:
    """Any integer; PyTorch's own random state is neither used nor changed."""
    params = SamplingParams(temperature=1.0, seed=seed)
    before = torch.random.get_rng_state()
    first, second = Sampler(params), Sampler(params)
    drawn = [first.choose(LOGITS) for _ in range(30)]
    torch.rand(3)
    assert [second.choose(LOGITS) for _ in range(30)] == drawn
    torch.random.set_rng_state(before)


def test_other_seeds_and_none_draw_otherwise() -> None:
    """Two seeds differ, and so do two samplers without one."""
    samplers = [Sampler(SamplingParams(temperature=1.0, seed=seed)) for seed in (1, 2, None, None)]
    drawn = {tuple(sampler.choose(LOGITS) for _ in range(40)) for sampler in samplers}
    assert len(drawn) == 4


def test_one_draw_takes_one_random_number() -> None:
    """So that a sequence draws the same whatever else was asked of its logits."""
    params = SamplingParams(temperature=1.0, seed=5)
    one, other = Sampler(params), Sampler(params)
    one.choose(torch.zeros(3))
    other.choose(torch.zeros(300))
    assert [one.choose(LOGITS) for _ in range(20)] == [other.choose(LOGITS) for _ in range(20)]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_logits_that_are_no_numbers_are_an_error(bad: float, temperature: float) -> None:
    """An overflow of the model's is said, not sampled from."""
    sampler = Sampler(SamplingParams(temperature=temperature, seed=0))
    with pytest.raises(ModelError, match=r"not finite.*precision='float32'"):
        sampler.choose(torch.tensor([0.0, bad, 1.0]))
    with pytest.raises(ModelError, match="not finite"):
        sampler.choose(torch.full((3,), -float("inf")))


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_token_that_the_model_rules_out_is_never_drawn(temperature: float) -> None:
    """A logit of minus infinity is a probability of zero."""
    sampler = Sampler(SamplingParams(temperature=temperature, seed=0))
    logits = torch.tensor([-float("inf"), 0.0, -float("inf"), 0.0])
    assert {sampler.choose(logits) for _ in range(50)} <= {1, 3}


def test_the_kept_probabilities_are_in_order_and_whole() -> None:
    """Descending, summing to one, with the indexes that they belong to."""
    kept, order = filtered_probabilities(LOGITS, SamplingParams(temperature=1.0, top_k=3))
    assert order.tolist() == [3, 7, 0]
    assert kept.tolist() == sorted(kept.tolist(), reverse=True)
    assert float(kept.sum()) == pytest.approx(1.0)
