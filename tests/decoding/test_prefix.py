"""The prefix store: the longest kept beginning of a prompt, within its memory."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from gemma_structured.decoding.prefix import PrefixStore


@dataclass(frozen=True)
class Kept:
    """A snapshot of some length and size, which can be rewound so far."""

    length: int
    nbytes: int = 10
    rewindable: int = 0

    def rewound(self, count: int) -> Kept:
        assert 0 < count <= self.rewindable
        return replace(self, length=self.length - count, rewindable=self.rewindable - count)


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


def test_no_snapshot_is_wanted_in_vain() -> None:
    """A store of no size wants none, so that none is taken; nor does one that has it, or of none."""
    store = PrefixStore(30)
    assert store.wants((1, 2))
    store.add([1, 2], Kept(2))
    assert not store.wants((1, 2))
    assert store.wants((1,))
    assert not store.wants(())
    assert not PrefixStore(0).wants((1, 2))


def test_the_same_tokens_are_kept_once() -> None:
    """A second snapshot of the same tokens takes the first one's place and memory."""
    store = PrefixStore(30)
    store.add([1, 2], Kept(2, nbytes=20))
    store.add([1, 2], Kept(2, nbytes=25))
    assert (len(store), store.nbytes) == (1, 25)


HEAD = list(range(100, 140))


def test_a_part_is_shared_where_a_snapshot_can_be_rewound() -> None:
    """Of a snapshot that goes on otherwise the common part is used, as far as it can be rewound."""
    store = PrefixStore(1000)
    store.add([*HEAD, 1, 2, 3], Kept(43, rewindable=3))
    assert store.longest([*HEAD, 9]) == Kept(40)
    assert store.longest([*HEAD, 1, 9]) == Kept(41, rewindable=1)
    assert store.longest(HEAD) is None  # one more token would have to be left to the prompt
    store.add([*HEAD, 1, 2, 3, 4], Kept(44, rewindable=44))
    assert store.longest(HEAD) == Kept(39, rewindable=39)
    assert store.longest([*HEAD[:20], 7]) == Kept(20, rewindable=20)
    assert store.longest([*HEAD[:15], 7]) is None  # too few to be worth it
    store.add(HEAD[:10], Kept(10))
    assert store.longest([*HEAD[:15], 7]) == Kept(10)


def test_the_part_that_is_longest_wins() -> None:
    """Among rewound, whole, deeper and shallower ones."""
    store = PrefixStore(1000)
    store.add(HEAD[:30], Kept(30, rewindable=30))
    store.add([*HEAD, *range(50)], Kept(90, rewindable=20))
    store.add([*HEAD, 1, 1], Kept(42, rewindable=42))
    assert store.longest([*HEAD, 0, 9]) == Kept(40, rewindable=40)
    assert store.longest([*HEAD, *range(40), 99]) == Kept(80, rewindable=10)
    assert store.longest([*HEAD, *range(10), 99]) == Kept(40, rewindable=40)


def test_a_part_that_is_used_stays() -> None:
    """Using a part of a snapshot counts as using it."""
    store = PrefixStore(20)
    store.add(HEAD, Kept(40, rewindable=40))
    store.add([1], Kept(1))
    assert store.longest([*HEAD[:20], 5]) is not None
    store.add([2], Kept(1))
    assert HEAD in store
    assert [1] not in store


def test_it_can_be_emptied() -> None:
    """Then it holds no memory."""
    store = PrefixStore(30)
    store.add([1], Kept(1))
    store.clear()
    assert (len(store), store.nbytes, store.longest([1, 2])) == (0, 0, None)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.lists(
        st.tuples(st.lists(st.integers(0, 2), min_size=1, max_size=26), st.integers(0, 9)),
        max_size=20,
    ),
    st.lists(st.integers(0, 2), max_size=28),
    st.integers(1, 20),
    st.booleans(),
)
def test_it_agrees_with_a_search_through_all(
    kept: list[tuple[list[int], int]], prompt: list[int], room: int, zeros: bool
) -> None:
    """Whatever is kept and pushed out, the longest usable beginning is found, and memory adds up."""
    head = [0] * 20 if zeros else []
    store = PrefixStore(10 * room)
    order: dict[tuple[int, ...], Kept] = {}
    for tail, rewindable in kept:
        ids = (*head, *tail)
        order.pop(ids, None)
        order[ids] = Kept(len(ids), rewindable=min(rewindable, len(ids)))
        store.add(ids, order[ids])
        while len(order) > room:
            del order[next(iter(order))]
    assert (len(store), store.nbytes) == (len(order), 10 * len(order))
    asked = [*head, *prompt]
    best = 0
    for ids, snapshot in order.items():
        shared = next((n for n, (a, b) in enumerate(zip(ids, asked, strict=False)) if a != b),
                      min(len(ids), len(asked)))  # fmt: skip
        length = min(shared, len(asked) - 1)
        beyond = snapshot.length - length
        if length > best and beyond <= snapshot.rewindable and (beyond == 0 or length >= 16):
            best = length
    found = store.longest(asked)
    assert (found.length if found else 0) == best
    store.clear()
    assert store.longest(asked) is None


def test_a_search_takes_time_in_the_prompt_alone() -> None:
    """Among 3,000 snapshots of long prompts a search takes no longer than among few."""
    store = PrefixStore(10**9)
    rng = random.Random(1)
    common = [rng.randrange(1000) for _ in range(2000)]
    for i in range(3000):
        store.add([*common, i, *common[:50]], Kept(2051, rewindable=2051))
    before = time.perf_counter()
    for i in range(300):
        found = store.longest([*common, i, *common[:20], -1])
        assert found is not None
        assert found.length == 2021
    assert time.perf_counter() - before < 2
