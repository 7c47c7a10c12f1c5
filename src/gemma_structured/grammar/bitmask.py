"""Token bitmasks: one bit a token, packed into 32-bit words, as every grammar library has them.

Bit `i % 32` of word `i // 32` tells whether token `i` is allowed. All helpers take one row,
`[words]`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

__all__ = [
    "allocate",
    "allocate_row",
    "allowed",
    "allowed_ids",
    "count",
    "forbid",
    "is_allowed",
    "keep_only",
    "words",
]

_BITS = 32


def words(vocab: int) -> int:
    """How many 32-bit words hold one bit for each of `vocab` tokens."""
    return (vocab + _BITS - 1) // _BITS


def allocate(rows: int, vocab: int) -> NDArray[np.int32]:
    """A bitmask `[rows, words(vocab)]` that allows nothing."""
    return np.zeros((rows, words(vocab)), dtype=np.int32)


def allocate_row(vocab: int) -> NDArray[np.int32]:
    """One row, `[words(vocab)]`, that allows nothing."""
    return np.zeros(words(vocab), dtype=np.int32)


def allowed(row: NDArray[np.int32], vocab: int) -> NDArray[np.bool_]:
    """The row as booleans, `[vocab]`."""
    bits = np.unpackbits(_as_bytes(row), bitorder="little", count=vocab)
    return bits.view(np.bool_)


def allowed_ids(row: NDArray[np.int32], vocab: int) -> NDArray[np.int64]:
    """The ids of the allowed tokens, ascending."""
    occupied = np.flatnonzero(row)
    if occupied.size * 8 > row.size:
        return np.flatnonzero(allowed(row, vocab)).astype(np.int64, copy=False)
    bits = np.unpackbits(_as_bytes(row[occupied]), bitorder="little").reshape(-1, _BITS)
    where, bit = np.nonzero(bits)
    ids = occupied[where].astype(np.int64) * _BITS + bit
    return ids[ids < vocab]


def is_allowed(row: NDArray[np.int32], token_id: int) -> bool:
    """Whether the row allows a token; ids outside the row are not allowed."""
    if not 0 <= token_id < row.size * _BITS:
        return False
    return bool((int(row[token_id // _BITS]) >> (token_id % _BITS)) & 1)


def count(row: NDArray[np.int32]) -> int:
    """How many tokens the row allows."""
    return int(np.bitwise_count(row.view(np.uint32)).sum())


def forbid(row: NDArray[np.int32], token_ids: Iterable[int]) -> None:
    """Clear the bits of some tokens, in place."""
    view = row.view(np.uint32)
    for token_id in token_ids:
        view[token_id // _BITS] &= np.uint32(~(1 << (token_id % _BITS)) & 0xFFFFFFFF)


def keep_only(row: NDArray[np.int32], token_id: int) -> None:
    """Allow one token and no other, in place."""
    row.fill(0)
    row.view(np.uint32)[token_id // _BITS] = np.uint32(1 << (token_id % _BITS))


def _as_bytes(row: NDArray[np.int32]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(row, dtype="<i4").view(np.uint8)
