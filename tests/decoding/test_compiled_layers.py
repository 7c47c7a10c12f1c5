"""Compiled layers give the logits of the others; what cannot be compiled is refused at load."""

from __future__ import annotations

import copy
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import torch

import gemma_structured as gs
from gemma_structured.decoding import compiled_layers
from gemma_structured.decoding.compiled_layers import compile_layers
from gemma_structured.decoding.int8 import Int8Linear
from gemma_structured.decoding.session import TransformersSession
from gemma_structured.exceptions import InputError, LoadError

if TYPE_CHECKING:
    from collections.abc import Callable

    from transformers import PreTrainedModel

    from gemma_structured.decoding.loaded_model import LoadedModel
    from gemma_structured.testing.tiny_shapes import Architecture

    ModelFor = Callable[[str], PreTrainedModel]

TOLERANCE = 1e-4
"""In float32: compiled kernels sum in another order."""


def compiled_session(model: PreTrainedModel, length: int = 500) -> TransformersSession:
    """A session on a compiled copy of a model."""
    model = copy.deepcopy(model)
    compile_layers(model, "tiny")
    return TransformersSession(model, length, compiled=True)


@pytest.mark.parametrize("architecture", ["gemma4", "mixtral_sliding", "deepseek_v3", "afmoe"])
def test_compiled_logits_are_those_of_the_layers(
    model_for_law: ModelFor, architecture: str
) -> None:
    """Prompts, ragged steps past the sliding window, rewinding and snapshots."""
    model = model_for_law(architecture)
    sessions = [TransformersSession(model, 500), compiled_session(model)]
    rows = [[session.open() for _ in range(3)] for session in sessions]
    draw = torch.Generator().manual_seed(3)

    def step(*counts: int) -> None:
        chunks = [torch.randint(3, 200, (n,), generator=draw).tolist() for n in counts]
        found = [
            session.forward({row: chunk for row, chunk in zip(own, chunks, strict=True) if chunk})
            for session, own in zip(sessions, rows, strict=True)
        ]
        for expected, logits in zip(found[0].values(), found[1].values(), strict=True):
            torch.testing.assert_close(
                logits.full(), expected.full(), rtol=TOLERANCE, atol=TOLERANCE
            )

    step(40, 0, 0)
    step(1, 30, 7)
    step(3, 1, 5)
    for session, own in zip(sessions, rows, strict=True):
        session.rewind(own[0], 2)
        own[2] = session.open(session.snapshot(own[1]))
    step(1, 1, 1)
    step(0, 1, 0)
    step(2, 20, 3)


GRAPHS = """
import torch
from gemma_structured.decoding.compiled_layers import compile_layers
from gemma_structured.decoding.session import TransformersSession
from gemma_structured.testing import tiny_models

model, _ = tiny_models.build("mixtral")
compile_layers(model, "tiny")
torch._dynamo.utils.counters.clear()
session = TransformersSession(model, 100, compiled=True)
row = session.open()
for count in (5, 3, 1, 7, 1):
    session.forward({row: [7] * count})
print(torch._dynamo.utils.counters["stats"]["unique_graphs"], model.config.num_hidden_layers)
"""


def test_layers_and_widths_share_what_is_compiled() -> None:
    """Two graphs for three layers: one token, and any other number of them."""
    ran = subprocess.run(
        [sys.executable, "-c", GRAPHS], capture_output=True, text=True, check=True, timeout=300
    )
    assert ran.stdout.split() == ["2", "3"]


def test_answers_are_the_same(tiny_model: Callable[[Architecture], LoadedModel]) -> None:
    """One after another and in a batch, from a model that compiles."""
    loaded = tiny_model("mixtral")
    answers = []
    for compiled in (False, True):
        model = gs.LocalModel.from_transformers(
            copy.deepcopy(loaded.model), loaded.tokenizer, compile=compiled
        )
        generator = model.compile(gs.Regex("[a-z]{5,30}"), instruction="Say it.", max_tokens=60)
        answers.append([r.text for r in generator.batch(["one", "the other", "a third"])])
    assert answers[0] == answers[1]


def test_a_compiled_model_runs_in_its_session_alone(model_for_law: ModelFor) -> None:
    """Elsewhere it says so, and computes nothing."""
    session = compiled_session(model_for_law("mixtral"))
    with torch.inference_mode(), pytest.raises(RuntimeError, match="runs in its session alone"):
        session._model(input_ids=torch.ones(1, 3, dtype=torch.long), use_cache=False)


def test_what_cannot_be_compiled_is_refused(
    model_for_law: ModelFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each with its reason, before anything is compiled."""
    model = copy.deepcopy(model_for_law("mixtral"))
    monkeypatch.setattr(model.config, "num_kv_shared_layers", 2, raising=False)
    with pytest.raises(LoadError, match="'tiny' cannot be compiled: it has layers that share keys"):
        compile_layers(model, "tiny")
    monkeypatch.setattr(model.config, "num_kv_shared_layers", 0)
    model.model.layers[1].self_attn.q_proj = Int8Linear(model.model.layers[1].self_attn.q_proj)
    with pytest.raises(LoadError, match="computes in 8-bit integers"):
        compile_layers(model, "tiny")
    monkeypatch.setattr(model.model, "layers", None)
    with pytest.raises(LoadError, match="no list of layers"):
        compile_layers(model, "tiny")
    with pytest.raises(InputError, match="int8"):
        gs.LocalModel("embedded", precision="int8", compile=True)
    eager = copy.deepcopy(model_for_law("gemma4_eager"))
    with pytest.raises(LoadError, match="'eager' cannot be"):
        TransformersSession(eager, 100, compiled=True)


def test_a_missing_compiler_is_told_at_load(
    model_for_law: ModelFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what PyTorch says of it."""

    def compile_nothing(function: object) -> object:
        def run(_: object) -> None:
            raise RuntimeError("No working C++ compiler found\nand more")

        return run

    monkeypatch.setattr(compiled_layers.torch, "compile", compile_nothing)
    with pytest.raises(LoadError, match=r"\(No working C\+\+ compiler found\)") as caught:
        compile_layers(copy.deepcopy(model_for_law("mixtral")), "tiny")
    assert "C++ compiler" in str(caught.value.hint)
