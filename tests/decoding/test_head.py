"""The head: logits of a few tokens are those of all, and a model's own ways with logits count."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

from gemma_structured.decoding.head import Head
from gemma_structured.decoding.session import TransformersSession
from gemma_structured.exceptions import LoadError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor
    from transformers import PreTrainedModel

    ModelFor = Callable[[str], PreTrainedModel]
    Fresh = Callable[[PreTrainedModel, Sequence[int]], Tensor]

IDS = [5, 200, 41, 7, 99, 12]


def count_projections(model: PreTrainedModel) -> list[int]:
    """Count how many positions the head is multiplied with from now on."""
    counts: list[int] = []

    def note(_: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        counts.append(output.shape[:-1].numel())

    model.get_output_embeddings().register_forward_hook(note)
    return counts


def test_a_few_logits_equal_all_logits(law_model: PreTrainedModel, fresh_logits: Fresh) -> None:
    """At every position, whether few or many tokens are asked for, soft cap included."""
    session = TransformersSession(law_model, 100)
    for _ in range(2):  # the first forward compares with the model, later ones trust
        row = session.open()
        logits = session.forward({row: IDS}, keep={row: 4})[row]
        expected = fresh_logits(law_model, IDS)[-4:]
        for position in range(4):
            for ids in ([0], [250, 3], list(range(0, 200, 2))):
                few = logits.at(position, torch.tensor(ids))
                assert few.dtype is torch.float32
                torch.testing.assert_close(few, expected[position, ids], atol=1e-4, rtol=0)
        torch.testing.assert_close(logits.full(), expected, atol=1e-4, rtol=0)


def test_the_head_is_not_run_for_a_few_tokens(model_for_law: ModelFor) -> None:
    """After the first forward only the rows of the asked tokens are multiplied."""
    model = copy.deepcopy(model_for_law("gemma4"))
    session = TransformersSession(model, 100)
    row = session.open()
    session.forward({row: IDS})
    counts = count_projections(model)
    logits = session.forward({row: IDS}, keep={row: 3})[row]
    logits.at(0, torch.tensor([3, 4]))
    assert sum(counts) == 0
    logits.at(1, torch.arange(400))
    logits.at(2, torch.arange(400))
    logits.full()
    assert sum(counts) == 3  # many tokens: the whole product, once for all positions


def test_a_bias_belongs_to_its_tokens(model_for_law: ModelFor, fresh_logits: Fresh) -> None:
    """A head with a bias adds it to the few as to the many."""
    model = copy.deepcopy(model_for_law("mixtral"))
    projection = model.get_output_embeddings()
    projection.bias = nn.Parameter(torch.randn(projection.out_features))
    session = TransformersSession(model, 100)
    row = session.open()
    logits = session.forward({row: IDS})[row]
    ids = torch.tensor([9, 2])
    expected = fresh_logits(model, IDS)[-1, ids]
    torch.testing.assert_close(logits.at(0, ids), expected, atol=1e-4, rtol=0)


def scale_logits(model: PreTrainedModel) -> None:
    """Have a model scale its logits after the head, as some families do."""
    inner = model.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        output = inner(*args, **kwargs)
        output.logits = output.logits * 0.25
        return output

    model.forward = forward  # type: ignore[method-assign]


def test_a_model_with_its_own_way_with_logits_computes_them(
    model_for_law: ModelFor, fresh_logits: Fresh
) -> None:
    """Where the projection alone gives other logits, the model's own are used from then on."""
    model = copy.deepcopy(model_for_law("mixtral"))
    scale_logits(model)
    session = TransformersSession(model, 100)
    a, b = session.open(), session.open()
    for _ in range(2):
        session.forward({a: [1, 2, 3]}, keep={a: 0})
        found = session.forward({a: IDS, b: IDS[:2]}, keep={a: 3, b: 1})
        for row, ids in ((a, [1, 2, 3, *IDS]), (b, IDS[:2])):
            expected = fresh_logits(model, ids)[-3 if row == a else -1 :]
            torch.testing.assert_close(found[row].full(), expected, atol=1e-4, rtol=0)
            at = found[row].at(0, torch.tensor([4, 1]))
            torch.testing.assert_close(at, expected[0, [4, 1]], atol=1e-4, rtol=0)
        for row in (a, b):
            session.rewind(row, session.length(row))


def test_weights_that_cannot_be_gathered_go_through_the_module(
    model_for_law: ModelFor, fresh_logits: Fresh
) -> None:
    """A head that is no plain linear layer (a quantised one) is called, not looked into."""

    class Quantised(nn.Linear):
        """Any subclass may mean something else by its weight."""

    model = copy.deepcopy(model_for_law("mixtral"))
    old = model.get_output_embeddings()
    new = Quantised(old.in_features, old.out_features, bias=False)
    new.weight = old.weight
    model.set_output_embeddings(new)
    session = TransformersSession(model, 100)
    row = session.open()
    session.forward({row: IDS[:1]})
    expected = fresh_logits(model, IDS)[-1, [8]]
    counts = count_projections(model)
    logits = session.forward({row: IDS[1:]})[row].at(0, torch.tensor([8]))
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=0)
    assert sum(counts) == 1


def test_a_model_without_a_head_is_refused(model_for_law: ModelFor) -> None:
    """The error says what to give instead."""
    with pytest.raises(LoadError, match=r"no language-model head. Give a causal language model"):
        Head(model_for_law("mixtral").base_model)
