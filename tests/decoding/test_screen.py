"""The screen rules out only what cannot be the largest logit; 8-bit products are exact by row."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from gemma_structured.decoding import head, screen
from gemma_structured.decoding.int8 import Int8Linear, Int8Matrix, is_supported, rounded
from gemma_structured.decoding.screen import Screen
from gemma_structured.decoding.session import TransformersSession

if TYPE_CHECKING:
    from collections.abc import Callable

    from transformers import PreTrainedModel

    from gemma_structured.decoding.screen import ScreenedStates
    from gemma_structured.decoding.session import Logits

    ModelFor = Callable[[str], PreTrainedModel]

pytestmark = pytest.mark.skipif(
    not is_supported(), reason="this processor or PyTorch has no exact 8-bit products"
)


@pytest.fixture
def screen_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Screen tiny heads too, from the first choice on."""
    monkeypatch.setattr(screen, "_FEWEST_TOKENS", 1)
    monkeypatch.setattr(head, "_READS_BEFORE_SCREEN", 1)


def random_head(*, bias: bool = False, dtype: torch.dtype = torch.float32) -> nn.Linear:
    """A head whose rows and states have outliers, as a language model's have."""
    linear = nn.Linear(48, 5000, bias=bias)
    with torch.no_grad():
        linear.weight.mul_(torch.rand(5000, 1).mul_(4).exp_())
        linear.weight[:, 7] *= 30
        linear.weight[17] = 0
    return linear.to(dtype)


def random_states(count: int) -> torch.Tensor:
    states = torch.randn(count, 48)
    states[:, 3] *= 50
    return states


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bias", [False, True])
def test_every_logit_is_within_its_bounds(*, bias: bool, dtype: torch.dtype) -> None:
    """The model's own logits, in its own type, and those without any rounding."""
    torch.manual_seed(0)
    linear = random_head(bias=bias, dtype=dtype)
    states = torch.cat([random_states(30), torch.zeros(1, 48), 1e-20 * random_states(1)]).to(dtype)
    screened = Screen(linear).read(states)
    own = linear(states).float()
    exact = nn.functional.linear(
        states.double(), linear.weight.double(), linear.bias.double() if bias else None
    )
    for index in range(len(states)):
        least, most = screened.bounds(index)
        for logits in (own[index], exact[index]):
            slack = 1e-6 * logits.abs() + 1e-30
            assert bool((least <= logits + slack).all())
            assert bool((logits - slack <= most).all())


def test_few_tokens_are_left() -> None:
    """Of 5,000 random tokens, whose largest logits are close to each other, at most 0.5 %."""
    torch.manual_seed(1)
    linear = nn.Linear(640, 5000, bias=False)
    states = torch.randn(20, 640)
    screened = Screen(linear).read(states)
    left = [
        int((most >= least.max()).sum())
        for least, most in (screened.bounds(index) for index in range(len(states)))
    ]
    assert max(left) <= 25, left


def best_of(logits: Logits, position: int, token_ids: torch.Tensor) -> int:
    """The choice among the contenders."""
    kept = logits.contenders(position, token_ids)
    return int(kept[logits.at(position, kept).argmax()])


def test_greedy_choices_are_those_of_the_whole_head(
    law_model: PreTrainedModel, screen_at_once: None
) -> None:
    """With a soft cap and without, among all tokens and among a part of them."""
    session = TransformersSession(law_model, 200)
    row = session.open()
    size = law_model.get_output_embeddings().out_features
    left = 0
    for step in range(30):
        logits = session.forward({row: [step % 97 + 1]})[row]
        for allowed in (torch.arange(size), torch.arange(1, size, 3)):
            assert best_of(logits, 0, allowed) == int(allowed[logits.full()[0, allowed].argmax()])
            logits = session.forward({row: [5]})[row]
            left += len(logits.contenders(0, allowed)) < len(allowed) / 2
    assert left > 40  # of 60: tiny models' logits are close to each other
    assert len(logits.contenders(0, torch.arange(30))) == 30  # few: their own logits cost less


def test_the_screen_reads_a_draft_at_once(
    model_for_law: ModelFor, screen_at_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All expected positions of all rows share one product, and no other position is in it."""
    session = TransformersSession(model_for_law("gemma4"), 200)
    rows = [session.open(), session.open()]
    session.forward({row: [1, 2, 3] for row in rows})
    counts = []
    read = Screen.read

    def count(self: Screen, states: torch.Tensor) -> ScreenedStates:
        counts.append(len(states))
        return read(self, states)

    monkeypatch.setattr(Screen, "read", count)
    logits = session.forward({rows[0]: [4, 5, 6, 7], rows[1]: [8]}, keep={rows[0]: 4, rows[1]: 1})
    everything = torch.arange(logits[rows[0]].full().shape[1])
    fresh = session.forward({rows[0]: [4, 5, 6, 7], rows[1]: [8]}, keep={rows[0]: 4, rows[1]: 1})
    for row, positions in ((rows[0], 4), (rows[1], 1)):
        for position in range(positions):
            expected = int(fresh[row].full()[position].argmax())
            assert best_of(fresh[row], position, everything) == expected
    assert counts == []  # all logits were there already
    fresh = session.forward({rows[0]: [4, 5, 6, 7], rows[1]: [8]}, keep={rows[0]: 4, rows[1]: 1})
    for row in rows:
        fresh[row].expect(0, everything)
    best = [best_of(fresh[rows[0]], position, everything) for position in range(4)]
    best.append(best_of(fresh[rows[1]], 0, everything))
    assert counts == [5]
    assert best == [*fresh[rows[0]].full().argmax(1).tolist(), int(fresh[rows[1]].full().argmax())]

    counts.clear()
    fresh = session.forward({rows[0]: [4, 5, 6, 7], rows[1]: [8]}, keep={rows[0]: 4, rows[1]: 1})
    fresh[rows[0]].expect(2, everything)
    fresh[rows[1]].expect(0, torch.arange(30))  # few: their own logits cost less
    best = [best_of(fresh[rows[0]], position, everything) for position in (2, 3, 1)]
    assert counts == [2, 1]
    assert best == fresh[rows[0]].full().argmax(1)[[2, 3, 1]].tolist()


def test_a_screen_is_made_once_it_pays(
    model_for_law: ModelFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither in a short run, nor for a small vocabulary."""
    model = model_for_law("gemma4")
    everything = torch.arange(model.get_output_embeddings().out_features)
    for fewest, expected in ((1, [False] * 31 + [True] * 2), (10_000, [False] * 33)):
        monkeypatch.setattr(screen, "_FEWEST_TOKENS", fewest)
        session = TransformersSession(model, 100)
        row = session.open()
        made = []
        for _ in expected:
            session.forward({row: [1]})[row].contenders(0, everything)
            made.append(session._head._screen is not None)
        assert made[-32:] == expected[-32:]


def test_what_is_no_number_is_left_to_the_sampler(
    model_for_law: ModelFor, screen_at_once: None
) -> None:
    """Nothing is ruled out by comparisons with NaN."""
    model = copy.deepcopy(model_for_law("gemma4"))
    session = TransformersSession(model, 100)
    row = session.open()
    everything = torch.arange(model.get_output_embeddings().out_features)
    session.forward({row: [1]})[row].contenders(0, everything)
    with torch.no_grad():
        model.get_decoder().norm.weight.fill_(float("nan"))
    logits = session.forward({row: [2]})[row]
    assert len(logits.contenders(0, everything)) == len(everything)


def test_a_row_does_not_depend_on_its_neighbours() -> None:
    """A state alone and among others, very large ones too, gives the same numbers to the bit."""
    torch.manual_seed(2)
    layer = Int8Linear(random_head(bias=True))
    states = random_states(6) * torch.tensor([[1e-3], [1], [1e4], [0], [1], [1]])
    together = layer(states[None])[0]
    for index in range(6):
        torch.testing.assert_close(
            layer(states[index : index + 1])[0], together[index], rtol=0, atol=0
        )


def test_a_product_is_that_of_the_rounded_matrices() -> None:
    """Exact integer arithmetic on what both sides are rounded to, within a half step each."""
    torch.manual_seed(3)
    weight, rows = torch.randn(300, 64), torch.randn(20, 64)
    matrix = Int8Matrix(weight)
    expected = rounded(rows).double() @ matrix.weight().double().T
    torch.testing.assert_close(
        matrix.product(rounded(rows)).double(), expected, rtol=1e-5, atol=1e-5
    )
    steps = weight.abs().amax(dim=1, keepdim=True) / 127
    assert bool(((weight - matrix.weight()).abs() <= 0.5001 * steps).all())
    steps = rows.abs().amax(dim=1, keepdim=True) / 127
    assert bool(((rows - rounded(rows)).abs() <= 0.5001 * steps).all())
