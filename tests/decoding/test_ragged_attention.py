"""Attention by runs of rows: nothing is padded, and the model is otherwise what it was."""

from __future__ import annotations

import copy
import threading
from typing import TYPE_CHECKING, Any

import pytest
import torch

from gemma_structured.decoding.ragged_planner import RaggedPlanner, neighbours
from gemma_structured.decoding.session import TransformersSession
from gemma_structured.exceptions import LoadError

if TYPE_CHECKING:
    from collections.abc import Callable

    from transformers import PreTrainedModel

    ModelFor = Callable[[str], PreTrainedModel]

ARCHITECTURES = ("gemma4", "gemma3", "mixtral", "afmoe", "minimax_m2", "deepseek_v3")
PROMPTS = [list(range(3, 3 + length)) for length in (4, 40, 7, 1, 25)]


def widths_of(model: PreTrainedModel) -> list[tuple[int, ...]]:
    """The shapes of the input of the model's forwards from now on."""
    shapes: list[tuple[int, ...]] = []

    def note(_: Any, __: Any, inputs: dict[str, Any]) -> None:
        shapes.append(tuple(inputs["input_ids"].shape))

    model.register_forward_pre_hook(note, with_kwargs=True)
    return shapes


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_rows_of_any_slots_and_lengths_are_one_forward_without_padding(
    model_for_law: ModelFor, architecture: str
) -> None:
    """A prompt that is read beside rows that answer, with a row between them that waits."""
    model = copy.deepcopy(model_for_law(architecture))
    session = TransformersSession(model, 400)
    rows = [session.open() for _ in PROMPTS]
    session.forward(dict(zip(rows, PROMPTS, strict=True)))
    shapes = widths_of(model)
    chunks = {rows[0]: [9], rows[1]: [8, 7, 6], rows[3]: [5] * 30, rows[4]: [4]}
    together = session.forward(chunks, keep={rows[1]: 3, rows[3]: 0})
    assert shapes == [(1, 35)]
    assert len(together[rows[3]].full()) == 0
    for index, count in ((0, 1), (1, 3), (4, 1)):
        alone = TransformersSession(model, 400)
        row = alone.open()
        expected = alone.forward({row: PROMPTS[index] + chunks[rows[index]]}, keep={row: count})
        torch.testing.assert_close(
            together[rows[index]].full(), expected[row].full(), atol=1e-4, rtol=1e-4
        )


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_model_is_otherwise_what_it_was(
    model_for_law: ModelFor, architecture: str, attention: str
) -> None:
    """Called by itself, with padding and past its window, also while a session's forward runs."""
    model = copy.deepcopy(model_for_law(architecture))
    model.set_attn_implementation(attention)
    inputs = torch.arange(2 * 60).reshape(2, 60) % 90 + 3
    padding = torch.ones_like(inputs)
    padding[0, :20] = 0
    with torch.inference_mode():
        before = model(input_ids=inputs, attention_mask=padding).logits
        session = TransformersSession(model, 400)
        row = session.open()
        seen: list[torch.Tensor] = []

        def call(*_: Any) -> None:
            with torch.inference_mode():
                seen.append(model(input_ids=inputs, attention_mask=padding).logits)

        def call_once(*_: Any) -> None:
            handle.remove()
            _run(call)

        handle = model.get_output_embeddings().register_forward_pre_hook(call_once)
        session.forward({row: PROMPTS[1]})
        call()
    assert len(seen) == 2
    for logits in seen:
        torch.testing.assert_close(logits[:, 20:], before[:, 20:], atol=1e-5, rtol=1e-5)


def _run(call: Callable[[], None]) -> None:
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()


def test_a_model_that_attends_by_itself_is_refused(
    model_for_law: ModelFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that would ignore the rows is not run wrongly."""
    model = copy.deepcopy(model_for_law("mixtral"))
    monkeypatch.setattr(type(model), "_supports_attention_backend", False)
    with pytest.raises(LoadError, match=r"MixtralForCausalLM computes its attention by itself"):
        TransformersSession(model, 100)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_mask_is_made_once_for_all_layers(dtype: torch.dtype) -> None:
    """For each kind of layer; that of a long prompt is made again, since it is large."""
    cpu = torch.device("cpu")
    planner = RaggedPlanner([5, 9], {None: [0, 0], 4: [0, 0]}, cpu, causal_default=True)
    (run,) = planner.forward({0: 2, 1: 3}).runs
    scores = torch.ones(2, dtype=dtype)
    added = run.added_mask(None, 2, scores)
    visible = run.masks[None]
    assert added is not None
    assert visible is not None
    assert added.dtype is dtype
    for part in added.split(3, dim=2):  # the queries of two heads, one behind another
        assert torch.equal(part == 0, visible)
        assert (part[~visible] == torch.finfo(dtype).min).all()
    assert run.added_mask(None, 2, scores) is added
    assert run.added_mask(4, 2, scores) is not added
    assert run.added_mask(None, 1, scores) is not added
    (run,) = planner.forward({0: 17}).runs
    assert run.added_mask(4, 1, scores) is not run.added_mask(4, 1, scores)
    (run,) = planner.forward({1: 1}).runs
    assert run.added_mask(4, 1, scores) is None


def test_slots_attend_together_where_they_are_neighbours_with_few_tokens() -> None:
    """A gap and a long row part them."""
    assert list(neighbours({0: 1, 1: 16, 2: 17, 3: 1, 5: 2, 6: 2})) == [
        (0, (1, 16)),
        (2, (17,)),
        (3, (1,)),
        (5, (2, 2)),
    ]
    assert list(neighbours({4: 600})) == [(4, (600,))]
