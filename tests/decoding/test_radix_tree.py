"""The radix tree: a map by token ids that finds what has most in common with a prompt."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemma_structured.decoding.radix_tree import RadixTree, _Node

KEYS = st.lists(st.integers(0, 2), min_size=1, max_size=6).map(tuple)


def nodes(tree: RadixTree[str]) -> list[_Node[str]]:
    """Every node but the root."""
    found, pending = [], list(tree._root.children.values())
    while pending:
        found.append(node := pending.pop())
        pending += node.children.values()
    return found


def in_common(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    """Equal ids at the start, counted one by one."""
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b),
                min(len(one), len(other)))  # fmt: skip


def test_the_nearest_come_first() -> None:
    """By how much they have in common, then by their length."""
    tree: RadixTree[str] = RadixTree()
    for key in ("abcd", "ab", "abx", "abcdef", "q"):
        tree.put([ord(c) for c in key], key)
    found = list(tree.nearest([ord(c) for c in "abcz"]))
    assert found == [(3, "abcd"), (3, "abcdef"), (2, "ab"), (2, "abx"), (0, "q")]


def test_what_was_never_kept_cannot_be_removed() -> None:
    """Neither an unknown sequence nor the beginning of a known one."""
    tree: RadixTree[str] = RadixTree()
    tree.put([1, 2, 3], "x")
    for ids in ([1, 2], [1, 2, 3, 4], [9], []):
        with pytest.raises(KeyError):
            tree.remove(ids)
    tree.remove([1, 2, 3])
    assert (len(tree), nodes(tree)) == (0, [])


def test_long_sequences_part_anywhere() -> None:
    """Sequences that part at and around the ends of what is compared at once are told apart."""
    tree: RadixTree[int] = RadixTree()
    base = list(range(1000))
    for at in (0, 1, 255, 256, 257, 511, 512, 999):
        tree.put([*base[:at], -1], at)
    for at in (0, 1, 255, 256, 257, 511, 512, 999):
        assert next(tree.nearest([*base[:at], -1, 5])) == (at + 1, at)
        assert next(tree.nearest([*base[:at], -2]))[0] == at


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.booleans(), KEYS), max_size=40), KEYS)
def test_it_is_a_map(actions: list[tuple[bool, tuple[int, ...]]], asked: tuple[int, ...]) -> None:
    """After any puts and removals it holds what a dict holds, in no more nodes than it needs."""
    tree: RadixTree[str] = RadixTree()
    known: dict[tuple[int, ...], str] = {}
    for number, (put, key) in enumerate(actions):
        if put:
            tree.put(key, f"{key} {number}")
            known[key] = f"{key} {number}"
        elif key in known:
            tree.remove(key)
            del known[key]
    assert len(tree) == len(known)
    for node in nodes(tree):
        assert node.value is not None or len(node.children) > 1
        assert node.parent.children[node.edge[0]] is node
    shared = {value: in_common(key, asked) for key, value in known.items()}
    found = list(tree.nearest(asked))
    assert {value: common for common, value in found} == shared
    assert [common for common, _ in found] == sorted(shared.values(), reverse=True)
