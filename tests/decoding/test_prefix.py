"""The prefix store: the longest kept beginning of a prompt, within its memory."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from gemma_structured.decoding.prefix import PrefixStore


@dataclass(frozen=True)
class Kept:
    """A snapshot of some length and size."""

    length: int
    nbytes: int = 10


def test_the_longest_beginning_is_found() -> None:
    """It leaves the prompt at least one token, whose logits are wanted."""
    store = PrefixStore(100)
    for ids in ([1], [1, 2, 3], [1, 2, 4], [2]):
        store.add(ids, Kept(len(ids)))
    assert store.longest([1, 2, 3, 4]) == Kept(3)
    assert store.longest([1, 2, 3]) == Kept(1)
    assert store.longest([1, 2, 5]) == Kept(1)
    assert store.longest([3]) is None
    assert store.longest([1]) is None
    assert store.longest([]) is None
    assert [1, 2, 3] in store
    assert [1, 2] not in store


def test_the_least_recently_used_go_first() -> None:
    """Finding one counts as using it."""
    store = PrefixStore(30)
    for i in range(3):
        store.add([i], Kept(1))
    assert store.longest([0, 9]) is not None
    store.add([3], Kept(1))
    assert [i for i in range(4) if [i] in store] == [0, 2, 3]
    assert (len(store), store.nbytes) == (3, 30)


def test_what_is_larger_than_the_store_is_not_kept() -> None:
    """Nor does it push out what is there; a store of no size keeps nothing."""
    store = PrefixStore(30)
    store.add([1], Kept(1))
    store.add([2], Kept(1, nbytes=31))
    assert [1] in store
    assert [2] not in store
    nothing = PrefixStore(0)
    nothing.add([1], Kept(1))
    assert len(nothing) == 0


def test_it_can_be_emptied() -> None:
    """Then it holds no memory."""
    store = PrefixStore(30)
    store.add([1], Kept(1))
    store.clear()
    assert (len(store), store.nbytes, store.longest([1, 2])) == (0, 0, None)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=5), max_size=20),
    st.lists(st.integers(0, 2), max_size=7),
)
def test_it_agrees_with_a_search_through_all(kept: list[list[int]], prompt: list[int]) -> None:
    """Whatever is kept, the longest proper beginning is found."""
    store = PrefixStore(10_000)
    for ids in kept:
        store.add(ids, Kept(len(ids)))
    lengths = [len(ids) for ids in kept if len(ids) < len(prompt) and prompt[: len(ids)] == ids]
    found = store.longest(prompt)
    assert (found.length if found else 0) == max(lengths, default=0)
