"""Rows on real models: whatever is done to a row, its logits are those of a fresh forward.

Contexts pass the sliding window, the rewind horizon beyond it, and the compaction beyond that.
Tolerances: float32 1e-4; bfloat16 is compared with a bfloat16 forward, whose own steps are 0.06.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    rule,
    run_state_machine_as_test,
)
from transformers import PretrainedConfig

from gemma_structured.decoding.kv_cache import REWIND_HORIZON
from gemma_structured.decoding.session import Row, TransformersSession, layer_windows
from gemma_structured.exceptions import LoadError
from gemma_structured.testing.tiny_shapes import CONTEXT_LENGTH, SLIDING_WINDOW

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor
    from transformers import PreTrainedModel

    from gemma_structured.decoding.loaded_model import LoadedModel

    Fresh = Callable[[PreTrainedModel, Sequence[int]], Tensor]
    RandomIds = Callable[[PreTrainedModel, int, int], list[int]]

TOLERANCE = 1e-4
BEYOND = SLIDING_WINDOW + 2 * REWIND_HORIZON
"""A context of which sliding layers have forgotten the beginning."""


class Checked:
    """A session whose every logit is compared with a fresh forward's."""

    def __init__(self, model: PreTrainedModel, fresh: Fresh, tolerance: float = TOLERANCE) -> None:
        self.session = TransformersSession(model, CONTEXT_LENGTH)
        self.tokens: dict[Row, list[int]] = {}
        self._model = model
        self._fresh = fresh
        self._tolerance = tolerance

    def open(self, snapshot: object = None, tokens: Sequence[int] = ()) -> Row:
        row = self.session.open(snapshot)  # type: ignore[arg-type]
        self.tokens[row] = list(tokens)
        return row

    def close(self, row: Row) -> None:
        self.session.close(row)
        del self.tokens[row]

    def fork(self, row: Row) -> Row:
        twin = self.session.fork(row)
        self.tokens[twin] = list(self.tokens[row])
        return twin

    def rewind(self, row: Row, count: int) -> None:
        self.session.rewind(row, count)
        del self.tokens[row][len(self.tokens[row]) - count :]

    def forward(self, chunks: dict[Row, list[int]], keep: dict[Row, int] | None = None) -> None:
        logits = self.session.forward(chunks, keep=keep)
        assert logits.keys() == chunks.keys()
        for row, chunk in chunks.items():
            self.tokens[row] += chunk
            assert self.session.length(row) == len(self.tokens[row])
            wanted = 1 if keep is None else keep.get(row, 1)
            expected = self._fresh(self._model, self.tokens[row])
            expected = expected[len(expected) - wanted :]
            assert logits[row].full().shape == expected.shape
            torch.testing.assert_close(logits[row].full(), expected, atol=self._tolerance, rtol=0)
            at, some = wanted // 2, torch.tensor([3, 0, 7])
            if not wanted:
                continue
            torch.testing.assert_close(
                logits[row].at(at, some), expected[at, some], atol=self._tolerance, rtol=0
            )


@pytest.fixture
def checked(law_model: PreTrainedModel, fresh_logits: Fresh) -> Checked:
    return Checked(law_model, fresh_logits)


@pytest.fixture
def ids(law_model: PreTrainedModel, random_ids: RandomIds) -> list[int]:
    return random_ids(law_model, 1000, 1)


def test_a_prefill_in_chunks(checked: Checked, ids: list[int]) -> None:
    """Chunks of any length, single tokens among them, with one position kept or several."""
    row = checked.open()
    for count, keep in [
        (1, 1),
        (5, 5),
        (60, 2),
        (1, 1),
        (100, 0),
        (200, 3),
        (2, 2),
        (300, 1),
        (31, 31),
    ]:
        start = len(checked.tokens[row])
        checked.forward({row: ids[start : start + count]}, {row: keep})


def test_rows_are_opened_from_a_snapshot(checked: Checked, ids: list[int]) -> None:
    """As often as wanted, also after the row that it was taken of has gone on or ended."""
    first = checked.open()
    checked.forward({first: ids[:BEYOND]})
    snapshot = checked.session.snapshot(first)
    assert snapshot.length == BEYOND
    checked.forward({first: ids[BEYOND : BEYOND + 50]})
    second = checked.open(snapshot, ids[:BEYOND])
    checked.forward({second: ids[600:640]}, {second: 40})
    checked.close(first)
    third = checked.open(snapshot, ids[:BEYOND])
    checked.forward({third: ids[700:701]})
    checked.forward({second: ids[:3], third: ids[3:10]})


def test_a_fork_goes_its_own_way(checked: Checked, ids: list[int]) -> None:
    """Both branches are exact, and each can be rewound and forked again."""
    row = checked.open()
    checked.forward({row: ids[:BEYOND]})
    twin = checked.fork(row)
    checked.forward({row: ids[600:605], twin: ids[700:720]}, {row: 2, twin: 20})
    checked.rewind(twin, 15)
    third = checked.fork(twin)
    checked.forward({row: ids[:1], twin: ids[1:3], third: ids[3:9]})


def test_rewinding_and_replaying(checked: Checked, ids: list[int]) -> None:
    """By every distance up to the horizon, repeatedly, beyond the window."""
    row = checked.open()
    checked.forward({row: ids[:BEYOND]})
    for distance in [1, 5, SLIDING_WINDOW, SLIDING_WINDOW + 1, 0, REWIND_HORIZON // 2]:
        checked.rewind(row, distance)
        checked.forward({row: ids[700 : 700 + distance + 3]}, {row: 3})
    checked.rewind(row, min(REWIND_HORIZON, checked.session.rewindable(row)))
    checked.forward({row: ids[:2]}, {row: 2})
    with pytest.raises(ValueError, match="Cannot rewind"):
        checked.session.rewind(row, checked.session.rewindable(row) + 1)


def test_a_row_is_rewound_to_its_start(checked: Checked, ids: list[int]) -> None:
    """A row without tokens is as good as new."""
    row = checked.open()
    checked.forward({row: ids[:40]})
    checked.rewind(row, 40)
    checked.forward({row: ids[50:100]}, {row: 50})


def test_a_ragged_batch(checked: Checked, ids: list[int]) -> None:
    """Rows of other lengths gain other numbers of tokens in one forward, join and leave."""
    a, b, c = checked.open(), checked.open(), checked.open()
    checked.forward({a: ids[:BEYOND], b: ids[:3], c: ids[:90]}, {a: 1, b: 3, c: 0})
    checked.forward({a: ids[:1], b: ids[1:2], c: ids[2:3]})
    checked.forward({a: ids[:7], b: ids[100:400], c: ids[5:6]}, {a: 7, b: 2, c: 1})
    d = checked.open()
    checked.forward({d: ids[:10], b: ids[10:12]})
    checked.close(b)
    checked.forward({a: ids[1:2], c: ids[300:600], d: ids[3:5]}, {a: 1, c: 4, d: 2})
    checked.close(a)
    checked.forward({c: ids[1:2], d: ids[2:3]})
    e = checked.open()
    checked.forward({e: ids[:64], c: ids[:1], d: ids[:1]}, {e: 0, c: 1, d: 1})
    checked.forward({e: ids[64:65], c: ids[1:2], d: ids[1:2]})


def test_memory_is_given_back_as_rows_leave(checked: Checked, ids: list[int]) -> None:
    """What a long row needed goes with it, and the rows that stay are exact."""
    a, b, c, d = (checked.open() for _ in range(4))
    checked.forward({a: ids[:40], b: ids[:BEYOND], c: ids[5:95], d: ids[:3]})
    checked.close(b)  # the last row moves into its slot
    checked.close(a)
    checked.forward({d: ids[3:5], c: ids[95:96]}, {d: 2, c: 1})
    session = checked.session
    assert session.nbytes == 2 * 256 * session.bytes_per_token
    checked.rewind(c, 30)
    checked.forward({c: ids[200:800]}, {c: 3})
    checked.close(d)
    checked.forward({c: ids[:2]}, {c: 2})
    assert session.nbytes <= 1024 * session.bytes_per_token


def test_not_every_row_takes_part(checked: Checked, ids: list[int]) -> None:
    """Rows that sit out a forward keep their place, whatever slots lie between the others."""
    rows = [checked.open() for _ in range(4)]
    for i, row in enumerate(rows):
        checked.forward({row: ids[i : i + 40]})
    checked.forward({rows[0]: ids[:2], rows[2]: ids[5:6], rows[3]: ids[8:12]})
    checked.forward({rows[3]: ids[:1], rows[1]: ids[1:4]})
    checked.forward({row: ids[i : i + 1] for i, row in enumerate(rows)})


class SessionMachine(RuleBasedStateMachine):
    """Anything that may be done to rows, in any order."""

    rows: Bundle[Row] = Bundle("rows")
    snapshots: Bundle[tuple[object, list[int]]] = Bundle("snapshots")
    chunks = st.tuples(st.sampled_from([1, 1, 2, 9, 33, 150, 300]), st.integers(0, 600))

    model: PreTrainedModel
    fresh: Fresh
    ids: list[int]

    longest: list[int]

    def __init__(self) -> None:
        super().__init__()
        self.checked = Checked(self.model, self.fresh)

    @initialize(target=rows, length=st.sampled_from([600, 300, 40]))
    def read_a_prompt(self, length: int) -> Row:
        row = self.checked.open()
        self.checked.forward({row: self.ids[:length]})
        return row

    @rule(target=rows)
    def open(self) -> Row:
        return self.checked.open()

    @rule(target=rows, snapshot=snapshots)
    def open_from(self, snapshot: tuple[object, list[int]]) -> Row:
        return self.checked.open(*snapshot)

    @rule(target=rows, row=rows)
    def fork(self, row: Row) -> Row:
        return self.checked.fork(row)

    @rule(target=snapshots, row=rows)
    def snapshot(self, row: Row) -> tuple[object, list[int]]:
        return self.checked.session.snapshot(row), list(self.checked.tokens[row])

    @rule(row=consumes(rows))
    def close(self, row: Row) -> None:
        self.checked.close(row)

    @rule(row=rows, share=st.floats(0, 1))
    def rewind(self, row: Row, share: float) -> None:
        self.checked.rewind(row, int(share * self.checked.session.rewindable(row)))

    @rule(row=rows, chunk=chunks, keep=st.integers(0, 3))
    def forward_one(self, row: Row, chunk: tuple[int, int], keep: int) -> None:
        self._forward({row: chunk}, keep)

    @rule(chunks=st.lists(chunks, min_size=8, max_size=8), keep=st.integers(0, 3))
    def forward_all(self, chunks: list[tuple[int, int]], keep: int) -> None:
        self._forward(dict(zip(self.checked.tokens, chunks, strict=False)), keep)

    @rule(
        chunks=st.lists(chunks, min_size=8, max_size=8),
        keep=st.integers(0, 3),
        parity=st.integers(0, 1),
    )
    def forward_every_other(self, chunks: list[tuple[int, int]], keep: int, parity: int) -> None:
        rows = list(self.checked.tokens)[parity::2]
        self._forward(dict(zip(rows, chunks, strict=False)), keep)

    def _forward(self, chunks: dict[Row, tuple[int, int]], keep: int) -> None:
        if chunks:
            new = {row: self.ids[start : start + count] for row, (count, start) in chunks.items()}
            self.checked.forward(new, {row: min(keep, len(ids)) for row, ids in new.items()})
            self.longest.append(max(map(len, self.checked.tokens.values())))

    def teardown(self) -> None:
        for row in list(self.checked.tokens):
            self.checked.close(row)
        assert self.checked.session.open_rows == 0
        assert self.checked.session.nbytes == 0


@pytest.mark.parametrize("name", ["gemma4", "deepseek_v3"])
def test_anything_in_any_order(
    name: str,
    model_for_law: Callable[[str], PreTrainedModel],
    fresh_logits: Fresh,
    random_ids: RandomIds,
) -> None:
    """Random opening, forwarding, rewinding, forking, keeping and closing stays exact."""
    model = model_for_law(name)
    members = {
        "model": model,
        "fresh": staticmethod(fresh_logits),
        "ids": random_ids(model, 1000, 2),
        "longest": [],
    }
    machine = type("Machine", (SessionMachine,), members)
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=40,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert len(machine.longest) > 100
    assert max(machine.longest) > BEYOND


def test_bfloat16_rows_agree_with_a_fresh_forward(
    model_for_law: Callable[[str], PreTrainedModel], fresh_logits: Fresh, random_ids: RandomIds
) -> None:
    """In half precision too, as closely as its rounding allows."""
    model = copy.deepcopy(model_for_law("gemma3")).to(torch.bfloat16)
    ids = random_ids(model, 1000, 3)
    checked = Checked(model, fresh_logits, tolerance=0.25)
    a, b = checked.open(), checked.open()
    checked.forward({a: ids[:BEYOND], b: ids[:70]}, {a: 2, b: 5})
    checked.forward({a: ids[:1], b: ids[100:130]})
    checked.rewind(a, 1)
    checked.forward({checked.fork(a): ids[5:7], a: ids[3:4]})


@pytest.mark.embedded
def test_the_embedded_model_is_exact_too(
    embedded_model: LoadedModel, random_ids: RandomIds
) -> None:
    """Beyond its window of 512: chunks, a snapshot, a fork, a rewind and a ragged batch."""
    model = embedded_model.model
    ids = random_ids(model, 900, 5)

    def fresh(_: PreTrainedModel, tokens: Sequence[int]) -> Tensor:
        with torch.inference_mode():
            last = model(input_ids=torch.tensor([tokens]), use_cache=False, logits_to_keep=4).logits
        return last[0].float()

    checked = Checked(model, fresh, tolerance=2e-3)
    row = checked.open()
    checked.session.forward({row: ids[:300]}, keep={row: 0})
    checked.tokens[row] += ids[:300]
    checked.forward({row: ids[300:800]}, {row: 2})
    twin = checked.open(checked.session.snapshot(row), ids[:800])
    checked.rewind(row, 120)
    checked.forward({row: ids[:5], twin: ids[800:801]}, {row: 4, twin: 1})


def test_handles_are_not_reused(model_for_law: Callable[[str], PreTrainedModel]) -> None:
    """A closed row's handle is an error, whoever has moved into its slot."""
    session = TransformersSession(model_for_law("mixtral"), 100)
    first, second = session.open(), session.open()
    session.close(first)
    with pytest.raises(KeyError):
        session.length(first)
    assert session.length(second) == 0
    assert session.open() not in (first, second)
    assert (session.open_rows, session.context_length) == (2, 100)


def test_the_cost_of_a_token_is_known_after_the_first_forward(
    model_for_law: Callable[[str], PreTrainedModel],
) -> None:
    """Memory is counted while rows are open, and free when none is."""
    model = model_for_law("mixtral")
    session = TransformersSession(model, 100)
    assert (session.bytes_per_token, session.nbytes) == (0, 0)
    row = session.open()
    session.forward({row: [1, 2, 3]})
    heads_and_dim = model.config.num_key_value_heads * model.config.head_dim
    assert session.bytes_per_token == 3 * 2 * heads_and_dim * 4
    assert session.nbytes >= 3 * session.bytes_per_token
    assert session.snapshot(row).nbytes == 3 * session.bytes_per_token
    session.close(row)
    assert session.nbytes == 0


def test_experts_follow_the_width_of_a_forward(
    model_for_law: Callable[[str], PreTrainedModel],
) -> None:
    """Many tokens are grouped by expert and few are not, with the same logits."""
    model = copy.deepcopy(model_for_law("mixtral"))
    session = TransformersSession(model, 200, switch_experts=True)
    plain = TransformersSession(model_for_law("mixtral"), 200)
    row, twin = session.open(), plain.open()
    for ids, experts in (([5, 6, 7] * 30, "grouped_mm"), ([8], "batched_mm")):
        logits = session.forward({row: ids})[row].full()
        assert set(model.get_experts_implementation().values()) == {experts}
        torch.testing.assert_close(
            logits, plain.forward({twin: ids})[twin].full(), atol=1e-4, rtol=1e-4
        )


def test_a_foreign_snapshot_is_refused(model_for_law: Callable[[str], PreTrainedModel]) -> None:
    """A snapshot of another engine is a mistake of the caller's."""
    session = TransformersSession(model_for_law("mixtral"), 100)
    with pytest.raises(TypeError, match="Not a snapshot of this session"):
        session.open("snapshot")  # type: ignore[arg-type]
    assert session.open_rows == 0


def test_attention_that_takes_no_mask_is_refused(
    model_for_law: Callable[[str], PreTrainedModel],
) -> None:
    """The error names the implementation and the one to load the model with."""
    model = copy.deepcopy(model_for_law("mixtral"))
    model.config._attn_implementation = "flash_attention_2"
    with pytest.raises(LoadError, match=r"'flash_attention_2'.*attn_implementation='sdpa'"):
        TransformersSession(model, 100)


def test_the_windows_of_layers_are_read_from_the_configuration() -> None:
    """By layer types, by one window for all, or none where it is switched off."""
    kinds = ["sliding_attention", "full_attention"]
    assert layer_windows(
        PretrainedConfig(num_hidden_layers=2, layer_types=kinds, sliding_window=8)
    ) == [8, None]
    assert layer_windows(PretrainedConfig(num_hidden_layers=2, sliding_window=8)) == [8, 8]
    assert layer_windows(PretrainedConfig(num_hidden_layers=1)) == [None]
    off = PretrainedConfig(num_hidden_layers=1, sliding_window=8, use_sliding_window=False)
    assert layer_windows(off) == [None]
    linear = PretrainedConfig(num_hidden_layers=1, layer_types=["linear_attention"])
    with pytest.raises(LoadError, match="linear_attention, which cannot be rewound"):
        layer_windows(linear)
