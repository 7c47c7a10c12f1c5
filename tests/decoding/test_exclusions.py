"""Excluded token paths: only the last token is barred, and what leads there becomes less likely."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemma_structured.decoding.exclusions import Choice, Exclusions, banned, penalties


def test_only_the_last_token_of_a_path_is_barred():
    """So that a longer value with the same start stays possible."""
    exclusions = Exclusions()
    exclusions.exclude([7, 8, 9], [Choice(1, 0.5), Choice(2, 0.25)], [9])
    assert banned(exclusions.after([7, 8])) == [9]
    assert banned(exclusions.after([7])) == []
    assert banned(exclusions.after([7, 5])) == []
    assert banned(exclusions.after([])) == []


def test_what_leads_there_is_less_likely_by_the_share_that_is_excluded():
    """A token half of whose continuations are excluded counts half."""
    exclusions = Exclusions()
    exclusions.exclude([7, 8, 9], [Choice(1, 0.9), Choice(2, 0.5)], [9])
    allowed = np.array([3, 8, 20])
    assert penalties(exclusions.after([7]), allowed) == [(1, pytest.approx(math.log(0.5)))]
    assert penalties(exclusions.after([7]), np.array([3, 20])) == []
    exclusions.exclude([7, 8, 4], [Choice(1, 0.9), Choice(2, 0.25)], [4])
    assert penalties(exclusions.after([7]), allowed) == [(1, pytest.approx(math.log(0.25)))]
    assert sorted(banned(exclusions.after([7, 8]))) == [4, 9]


def test_several_tokens_may_end_an_answer():
    """Where the end is what must not come, every token that ends it is barred."""
    exclusions = Exclusions()
    exclusions.exclude([5], [Choice(1, 0.5)], [0, 1])
    assert sorted(banned(exclusions.after([5]))) == [0, 1]


@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 3), st.floats(0.01, 1.0)), min_size=1, max_size=5),
        min_size=1,
        max_size=12,
    )
)
def test_shares_are_probabilities(paths):
    """Whatever is excluded, no penalty is infinite and none is a reward."""
    exclusions = Exclusions()
    for path in paths:
        tokens = [token for token, _ in path]
        choices = [Choice(at, probability) for at, (_, probability) in enumerate(path)]
        exclusions.exclude(tokens, choices, tokens[-1:])
        for length in range(len(tokens)):
            known = exclusions.after(tokens[:length])
            for _, amount in penalties(known, np.arange(4)):
                assert -math.inf < amount < 0
