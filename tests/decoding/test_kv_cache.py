"""The KV cache: each query sees the keys of its own row and window, whatever happened before."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gemma_structured.decoding import ragged_layer
from gemma_structured.decoding.kv_cache import REWIND_HORIZON, RaggedCache

if TYPE_CHECKING:
    from gemma_structured.decoding.ragged_forward import Run

CPU = torch.device("cpu")
HEADS, DIM = 2, 3
WINDOW = 5


class Rows:
    """A cache whose keys say which token of which row they are, beside lists that say the same."""

    def __init__(self, windows: tuple[int | None, ...] = (None, WINDOW, WINDOW, None)) -> None:
        self.cache = RaggedCache(windows)
        self.tokens: list[list[float]] = []
        self._next = 1.0

    def open(self) -> None:
        assert self.cache.add() == len(self.tokens)
        self.tokens.append([])

    @torch.inference_mode()
    def forward(self, counts: dict[int, int] | list[int], *, commit: bool = True) -> None:
        """Run what a model would, and look at what each query is shown.

        Args:
            counts: New tokens by slot, or of the first slots.
            commit: Whether it comes to its end.
        """
        counts = counts if isinstance(counts, dict) else dict(enumerate(counts))
        total = sum(counts.values())
        pack = [self._next + i for i in range(total)]
        self._next += total
        forward = self.cache.begin(counts, CPU)
        fresh_by_slot = {}
        for slot, count in counts.items():
            at = total - sum(c for s, c in counts.items() if s >= slot)
            fresh_by_slot[slot] = pack[at : at + count]
        assert forward.positions[0].tolist() == [
            len(self.tokens[slot]) + offset for slot, c in counts.items() for offset in range(c)
        ]
        states = torch.tensor(pack)[None, None, :, None].expand(1, HEADS, total, DIM)
        for index, window in enumerate(layer.window for layer in self.cache._layers):
            keys, values = self.cache.layers[index].update(states, -states)
            assert torch.equal(keys, -values)
            assert torch.isfinite(keys).all()
            for run in forward.runs:
                seen = forward.seen_by(run, keys, window)[:, 0, :, 0]
                queries = run.padded(states)
                assert torch.equal(
                    run.packed(queries.transpose(1, 2))[:, 0, 0], self._of(run, pack)
                )
                for row in range(len(run.counts)):
                    slot, fresh = run.first + row, fresh_by_slot[run.first + row]
                    assert queries[row, 0, : len(fresh), 0].tolist() == fresh
                    whole = self.tokens[slot] + fresh
                    for offset in range(len(fresh)):
                        position = len(self.tokens[slot]) + offset
                        start = 0 if window is None else max(0, position - window + 1)
                        later = len(whole) - 1 - position
                        shown = self._shown(seen[row], run.masks[window], row, offset, later)
                        assert shown == whole[start : position + 1]
        if commit:
            self.cache.commit()
            for slot, fresh in fresh_by_slot.items():
                self.tokens[slot] += fresh

    @staticmethod
    def _of(run: Run, pack: list[float]) -> torch.Tensor:
        return torch.tensor(pack[run.start : run.start + sum(run.counts)])

    @staticmethod
    def _shown(
        keys: torch.Tensor, mask: torch.Tensor | None, row: int, offset: int, later: int
    ) -> list[float]:
        if mask is None:  # the model's own: everything up to the query itself
            return keys[: len(keys) - later].tolist()
        return keys[mask[row, 0, offset]].tolist()

    def close(self, slot: int) -> None:
        self.cache.remove(slot)
        last = self.tokens.pop()
        if slot < len(self.tokens):
            self.tokens[slot] = last

    def fork(self, slot: int) -> None:
        self.cache.add(self.cache.snapshot(slot))
        self.tokens.append(list(self.tokens[slot]))

    def rewind(self, slot: int, count: int) -> None:
        self.cache.rewind(slot, count)
        del self.tokens[slot][len(self.tokens[slot]) - count :]


LENGTHS = st.sampled_from([1, 1, 2, 3, 4, 5, 6, 20, REWIND_HORIZON, REWIND_HORIZON + 30])


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data())
def test_each_query_sees_its_own_row_and_window(data: st.DataObject) -> None:
    """Whatever is opened, closed, forked, rewound and appended in whatever order."""
    rows = Rows()
    rows.open()
    for _ in range(data.draw(st.integers(1, 25))):
        slots = st.integers(0, len(rows.tokens) - 1) if rows.tokens else st.nothing()
        actions = ["open"] if len(rows.tokens) < 5 else []
        actions += ["forward", "forward", "drop", "fork", "rewind", "close"] if rows.tokens else []
        match data.draw(st.sampled_from(actions)):
            case "open":
                rows.open()
            case "close":
                rows.close(data.draw(slots))
            case "fork":
                rows.fork(data.draw(slots))
            case "rewind":
                slot = data.draw(slots)
                most = rows.cache.rewindable(slot)
                rows.rewind(slot, data.draw(st.integers(0, most)))
            case action:
                taking_part = sorted(data.draw(st.sets(slots, min_size=1)))
                counts = {slot: data.draw(LENGTHS) for slot in taking_part}
                rows.forward(counts, commit=action == "forward")
        assert rows.cache.lengths == list(map(len, rows.tokens))


def test_rewinding_reaches_back_at_least_the_horizon() -> None:
    """Any row can be taken back by the horizon, or to its start, at any time."""
    rows = Rows()
    rows.open()
    for count in [1, 300, 7, 256, 256, 1, 1, 512, 3]:
        rows.forward([count])
        assert rows.cache.rewindable(0) >= min(REWIND_HORIZON, len(rows.tokens[0]))
    with pytest.raises(ValueError, match="Cannot rewind 100000 tokens: at most "):
        rows.cache.rewind(0, 100_000)
    with pytest.raises(ValueError, match="Cannot rewind -1 tokens"):
        rows.cache.rewind(0, -1)


def test_full_attention_alone_can_be_rewound_to_its_start() -> None:
    """Without a window nothing is forgotten."""
    rows = Rows((None,))
    rows.open()
    rows.forward([1000])
    assert rows.cache.rewindable(0) == 1000
    rows.rewind(0, 1000)
    rows.forward([2])


def test_sliding_layers_take_bounded_memory() -> None:
    """A long row costs a sliding layer no more than its window, the horizon and a chunk."""
    rows = Rows((WINDOW,))
    rows.open()
    sizes = []
    for _ in range(60):
        rows.forward([100])
        sizes.append(rows.cache.nbytes)
    most_tokens = WINDOW + 2 * REWIND_HORIZON + 100
    assert sizes[-1] == sizes[10] <= 2 * 4 * HEADS * DIM * (most_tokens + 256)


def test_what_was_not_committed_did_not_happen() -> None:
    """A forward that fails half-way leaves every row as it was."""
    rows = Rows()
    rows.open()
    rows.forward([40])
    rows.forward([9], commit=False)
    assert rows.cache.lengths == [40]
    rows.forward([3])


def test_a_snapshot_is_apart_from_its_row() -> None:
    """What happens to the row afterwards does not change it, and it counts its own memory."""
    rows = Rows()
    rows.open()
    rows.forward([30])
    snapshot = rows.cache.snapshot(0)
    kept = [tuple(t.clone() for t in pair) for pair in snapshot.layers if pair]
    rows.rewind(0, 20)
    rows.forward([25])
    rows.close(0)
    for pair, before in zip(snapshot.layers, kept, strict=True):
        assert pair is not None
        assert all(map(torch.equal, pair, before))
    assert snapshot.length == 30
    assert snapshot.nbytes == 4 * 2 * 4 * HEADS * DIM * 30


def test_an_empty_row_can_be_closed_forked_and_kept() -> None:
    """A row without tokens behaves as any other, beside rows that have some."""
    rows = Rows()
    rows.open()
    rows.fork(0)
    rows.forward([4])
    rows.open()
    rows.fork(2)
    rows.close(1)
    rows.close(0)
    rows.forward([2, 3])


def test_memory_is_given_back_with_the_last_row() -> None:
    """Nothing is held while no row is open; the cost of a token stays known."""
    rows = Rows()
    for _ in range(3):
        rows.open()
    rows.forward([10, 600, 1])
    per_token = rows.cache.bytes_per_token
    assert per_token == 4 * 2 * 4 * HEADS * DIM
    for _ in range(3):
        rows.close(0)
    assert (rows.cache.nbytes, rows.cache.bytes_per_token) == (0, per_token)
    rows.open()
    rows.forward([2])


def test_memory_is_given_back_as_rows_leave() -> None:
    """The next forward keeps no slot that is not in use, and no length that no row needs."""
    rows = Rows()
    for _ in range(3):
        rows.open()
    rows.forward([10, 3000, 70])
    rows.close(1)
    rows.forward([1, 2])
    assert rows.cache.nbytes == 2 * 256 * rows.cache.bytes_per_token
    rows.close(1)
    rows.forward([1])
    assert rows.cache.nbytes == 256 * rows.cache.bytes_per_token


def test_a_row_takes_the_memory_of_the_one_before_it() -> None:
    """Where one joins as another leaves, nothing is copied."""
    rows = Rows((None,))
    for _ in range(2):
        rows.open()
    rows.forward([200, 200])
    before = rows.cache.layers[0].keys
    rows.close(0)
    rows.open()
    rows.forward([1, 200])
    assert rows.cache.layers[0].keys is before


def test_too_little_memory_leaves_a_layer_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys and values change their size together or not at all."""
    rows = Rows((None,))
    rows.open()
    rows.forward([200])
    resize, calls = ragged_layer._resized, []

    def fail_for_the_values(*args: Any) -> torch.Tensor:
        calls.append(args)
        if len(calls) == 2:
            raise torch.OutOfMemoryError
        return resize(*args)

    with monkeypatch.context() as patch:
        patch.setattr(ragged_layer, "_resized", fail_for_the_values)
        with pytest.raises(torch.OutOfMemoryError):
            rows.forward([200])
    assert len(calls) == 2
    rows.forward([200])


def test_growth_is_in_steps() -> None:
    """Appending token by token allocates seldom."""
    rows = Rows((None,))
    rows.open()
    sizes = []
    for _ in range(300):
        rows.forward([1])
        sizes.append(rows.cache.nbytes)
    assert sum(a != b for a, b in pairwise(sizes)) == 1


@pytest.mark.parametrize("closed", [0, 1, 2])
def test_a_row_that_was_not_finite_leaves_nothing_behind(closed: int) -> None:
    """Where a row overflowed, the next row in its slot reads no NaN, not even behind a mask."""
    rows = Rows((None, WINDOW))
    for _ in range(3):
        rows.open()
    rows.forward([3, 3, 3])
    nothing = torch.full((1, HEADS, 300, DIM), torch.nan)
    with torch.inference_mode():
        for _ in range(4):  # often enough for the sliding layer to forget some of it
            rows.cache.begin({closed: 300}, CPU)
            for layer in rows.cache._layers:
                layer.update(nothing, nothing)
            rows.cache.commit()
    rows.close(closed)
    rows.open()
    rows.forward([1500, 2, 2])


def test_out_of_order_calls_are_refused() -> None:
    """A commit needs a begin, and so does what a model asks of a forward."""
    cache = RaggedCache([None])
    with pytest.raises(RuntimeError, match="without begin"):
        cache.commit()
    with pytest.raises(RuntimeError, match="No forward has begun"):
        cache.get_seq_length()


def test_a_model_that_masks_itself_is_told_what_it_sees() -> None:
    """Sizes for transformers' own masks: how many keys there are, and the position of the first."""
    rows = Rows((WINDOW,))
    rows.open()
    rows.forward([600])
    rows.cache.begin({0: 1}, CPU)
    assert rows.cache.get_mask_sizes(1, 0) == (WINDOW, 600 - WINDOW + 1)
    assert rows.cache.get_seq_length() == rows.cache.layers[0].get_seq_length() == 600
    assert rows.cache.layers[0].get_max_length() == -1
