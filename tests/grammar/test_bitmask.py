"""Tests of packed bitmasks against sets."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gemma_structured.grammar import bitmask


@st.composite
def rows(draw: st.DrawFn) -> tuple[np.ndarray, int, set[int]]:
    vocab = draw(st.integers(1, 500))
    ids = draw(st.sets(st.integers(0, vocab - 1)))
    row = bitmask.allocate_row(vocab)
    for i in ids:
        row.view(np.uint32)[i // 32] |= np.uint32(1 << (i % 32))
    return row, vocab, ids


@given(rows())
def test_a_row_is_the_set_of_its_ids(case: tuple[np.ndarray, int, set[int]]) -> None:
    """Every helper tells of a row what is true of the set that it packs."""
    row, vocab, ids = case
    found = bitmask.allowed_ids(row, vocab)
    assert found.dtype == np.int64
    assert found.tolist() == sorted(ids)
    assert set(np.flatnonzero(bitmask.allowed(row, vocab)).tolist()) == ids
    assert bitmask.count(row) == len(ids)
    assert {i for i in range(-2, vocab + 40) if bitmask.is_allowed(row, i)} == ids


@given(rows(), st.sets(st.integers(0, 499)))
def test_forbidding_takes_ids_out(case: tuple[np.ndarray, int, set[int]], gone: set[int]) -> None:
    """The ids are removed, the others stay, and ids that were not there change nothing."""
    row, vocab, ids = case
    bitmask.forbid(row, {i for i in gone if i < vocab})
    assert set(bitmask.allowed_ids(row, vocab).tolist()) == ids - gone


def test_bits_past_the_vocabulary_are_no_tokens() -> None:
    """The last word may have more bits than there are tokens: they are never reported."""
    for row in (np.full(2, -1, np.int32), np.array([0] * 98 + [-1, -1], np.int32)):
        vocab = row.size * 32 - 24
        assert bitmask.allowed_ids(row, vocab).max() == vocab - 1


def test_allocating_allows_nothing() -> None:
    """A new bitmask has a row each, of enough words, and all bits are clear."""
    mask = bitmask.allocate(3, 65)
    assert (mask.shape, mask.dtype, mask.any()) == ((3, 3), np.int32, False)
    assert bitmask.words(64) == 2
