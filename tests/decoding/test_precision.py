"""What a model computes in: chosen, measured once, recorded, or refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import torch

import gemma_structured as gs
from gemma_structured.decoding import precision
from gemma_structured.decoding.int8 import Int8Linear, is_supported
from gemma_structured.decoding.load_options import LoadOptions
from gemma_structured.decoding.loader import load_model
from gemma_structured.decoding.session import TransformersSession
from gemma_structured.exceptions import InputError, LoadError
from gemma_structured.testing import tiny_models

if TYPE_CHECKING:
    from pathlib import Path

needs_int8 = pytest.mark.skipif(
    not is_supported(), reason="this processor or PyTorch has no exact 8-bit products"
)
IDS = [5, 200, 41, 7, 99, 12, 63, 4]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GEMMA_STRUCTURED_CACHE", str(tmp_path))
    return tmp_path


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return tiny_models.save("gemma3", tmp_path / "small")


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ({"float32": 1.0, "bfloat16": 0.5}, "bfloat16"),
        ({"float32": 1.0, "bfloat16": 0.95}, "float32"),
    ],
)
def test_auto_takes_the_faster_type_and_keeps_it(
    cache: Path,
    small: Path,
    monkeypatch: pytest.MonkeyPatch,
    seconds: dict[str, float],
    expected: str,
) -> None:
    """Measured once a model and machine; float32 unless bfloat16 is clearly faster."""
    measured: list[dict[str, float]] = []
    real = precision._measure

    def measure(model: object) -> dict[str, float]:
        assert set(real(model)) == {"float32", "bfloat16"}  # type: ignore[arg-type]
        measured.append(seconds)
        return seconds

    monkeypatch.setattr(precision, "_measure", measure)
    options = LoadOptions(device="cpu", precision="auto")
    for _ in range(2):
        loaded = load_model(small, options)
        assert loaded.precision == expected
        assert loaded.dtype is getattr(torch, expected)
    assert measured == [seconds]
    (file,) = (cache / "precision").iterdir()
    assert json.loads(file.read_text()) == {"faster": expected, "seconds": seconds}
    file.write_text('{"faster": "float')  # cut: measured again
    assert load_model(small, options).precision == expected
    assert len(measured) == 2


def test_the_result_tells_the_precision(small: Path) -> None:
    """Of each type that can be asked for."""
    for wanted in ("float32", "bfloat16", *(["int8"] if is_supported() else [])):
        model = gs.LocalModel(small, device="cpu", precision=wanted)
        result = model.compile(gs.Choice(["yes", "no"]))("Is it?")
        assert result.precision == wanted
        assert result.output in {"yes", "no"}


@needs_int8
def test_int8_rows_are_exact(small: Path) -> None:
    """The laws hold in 8-bit integers too: a row does not depend on what it is computed with.

    To within one step of rounding: attention's sums differ in their last bit by the shape of a
    forward, and a number between two integers may then go either way.
    """
    model = load_model(small, LoadOptions(device="cpu", precision="int8")).model
    assert sum(isinstance(module, Int8Linear) for module in model.modules()) > 5
    assert type(model.get_output_embeddings()) is torch.nn.Linear
    session = TransformersSession(model, 200)
    alone = session.open()
    expected = session.forward({alone: IDS}, keep={alone: 3})[alone].full()
    rows = [session.open() for _ in range(3)]
    session.forward({rows[0]: [250] * 20, rows[1]: IDS[:4], rows[2]: [9]})
    session.forward({rows[0]: [17, 18, 19], rows[1]: IDS[4:5], rows[2]: [8] * 7})
    together = session.forward(
        {rows[0]: [3], rows[1]: IDS[5:], rows[2]: [1, 2]}, keep={rows[0]: 1, rows[1]: 3, rows[2]: 1}
    )
    spread = float(expected.std())
    torch.testing.assert_close(together[rows[1]].full(), expected, atol=0.05 * spread, rtol=0)
    session.rewind(rows[1], 3)
    again = session.forward({rows[1]: IDS[5:]}, keep={rows[1]: 3})[rows[1]].full()
    torch.testing.assert_close(again, expected, atol=0.05 * spread, rtol=0)


@needs_int8
def test_int8_is_near_float32(small: Path) -> None:
    """Its logits differ by a small part of how far logits are apart."""
    logits = []
    for wanted in ("float32", "int8"):
        model = load_model(small, LoadOptions(device="cpu", precision=wanted)).model
        with torch.inference_mode():
            logits.append(model(input_ids=torch.tensor([IDS])).logits[0])
    difference = (logits[0] - logits[1]).std() / logits[0].std()
    assert 0 < float(difference) < 0.1


@needs_int8
def test_layers_with_the_same_input_share_a_product(small: Path) -> None:
    """Each gives what it gives alone, in whatever order they are asked, on whatever input."""
    model = load_model(small, LoadOptions(device="cpu", precision="int8")).model
    plain = load_model(small, LoadOptions(device="cpu", precision="float32")).model
    layer, expected = model.get_decoder().layers[0], plain.get_decoder().layers[0]
    attention, mlp = layer.self_attn, layer.mlp
    assert attention.q_proj._product is attention.k_proj._product is attention.v_proj._product
    assert mlp.gate_proj._product is mlp.up_proj._product
    assert attention.o_proj._product is not attention.q_proj._product
    names = ("q_proj", "k_proj", "v_proj")
    alone = {name: Int8Linear(getattr(expected.self_attn, name)) for name in names}
    first, second = torch.randn(2, 1, 5, alone["q_proj"].in_features)
    with torch.inference_mode():
        for name, states in [
            *[(name, first) for name in reversed(names)],
            ("q_proj", first),  # left in the middle
            ("v_proj", second),
            ("v_proj", second),  # again
            ("k_proj", first),
        ]:
            assert torch.equal(getattr(attention, name)(states), alone[name](states)), name


@needs_int8
def test_a_shared_product_keeps_nothing_once_all_have_asked(small: Path) -> None:
    """Its results may be large: those of a whole prompt."""
    model = load_model(small, LoadOptions(device="cpu", precision="int8")).model
    with torch.inference_mode():
        model(input_ids=torch.tensor([IDS]))
    linears = [module for module in model.modules() if isinstance(module, Int8Linear)]
    assert linears
    assert all(linear._product._last is None for linear in linears)


@needs_int8
def test_layers_without_keys_of_their_own_ask_for_their_queries_alone() -> None:
    """What they share is computed elsewhere, so it is not computed here."""
    module = torch.nn.Module()
    for name in ("q_proj", "k_proj", "v_proj"):
        module.add_module(name, torch.nn.Linear(64, 8))
    module.is_kv_shared_layer = True  # type: ignore[assignment]
    precision._quantize(module)
    products = [linear._product for linear in module.children()]
    assert len(set(products)) == 3


def test_int8_is_refused_where_it_cannot_be_had(
    tmp_path: Path, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mixture of experts, and a processor or PyTorch without the kernels."""
    experts = tiny_models.save("mixtral", tmp_path / "experts")
    options = LoadOptions(device="cpu", precision="int8")
    with pytest.raises(LoadError, match=r"mixture of experts.*bfloat16"):
        load_model(experts, options)
    monkeypatch.setattr(precision, "is_supported", lambda: False)
    with pytest.raises(LoadError, match="needs a CPU with exact 8-bit products"):
        load_model(small, options)
    with pytest.raises(InputError, match="precision is 'int4'"):
        LoadOptions(precision="int4")  # type: ignore[arg-type]
