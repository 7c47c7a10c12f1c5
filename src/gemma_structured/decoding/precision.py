"""What a model computes in: float32, bfloat16, or 8-bit integers, on a CPU.

Which of the first two is faster depends on the processor: `"auto"` measures it once and keeps what
it found in the cache folder.
"""

from __future__ import annotations

import copy
import hashlib
import json
import platform
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import nn

from gemma_structured.decoding.int8 import Int8Linear, SharedProduct, is_supported
from gemma_structured.decoding.loaded_model import has_experts
from gemma_structured.decoding.model_cache import cache_root
from gemma_structured.exceptions import LoadError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from gemma_structured.decoding.load_options import Precision

__all__ = ["with_precision"]

_ROUNDS = 5
_WIDTHS = (1, 4, 4, 16, 64)
"""The numbers of tokens that are timed: mostly steps of an answer, and some of a prompt."""

_SAME_INPUT = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))
"""Linear layers that get the same input, by their names in the models of transformers."""

_CLEARLY = 0.85
"""bfloat16 is taken where it needs at most this share of the time: float32's logits are exact."""


def with_precision(
    model: PreTrainedModel, precision: Precision | None, name: str
) -> PreTrainedModel:
    """Turn a model that has just been loaded into one that computes as the user asked.

    Args:
        model: Loaded in the type that `placement` chose.
        precision: What was asked for; only `"auto"` and `"int8"` leave something to do.
        name: The model, for the error.

    Raises:
        LoadError: 8-bit integers were asked for, and cannot be had.
    """
    if precision == "int8":
        _check_int8(model, name)
        _quantize(model.get_decoder())  # type: ignore[no-untyped-call]
    elif precision == "auto" and model.device.type == "cpu" and model.dtype is torch.float32:
        model.to(getattr(torch, _faster(model)))
    return model


def _check_int8(model: PreTrainedModel, name: str) -> None:
    if has_experts(model.config):
        raise LoadError(
            f"{name!r} has a mixture of experts, whose weights precision='int8' does not reach.",
            hint="Take precision='bfloat16', or pass a quantization_config.",
            model_name=name,
        )
    if model.device.type != "cpu" or not is_supported():
        raise LoadError(
            "precision='int8' needs a CPU with exact 8-bit products (VNNI), and a PyTorch with "
            f"FBGEMM; here is {torch.backends.cpu.get_cpu_capability()}, PyTorch "
            f"{torch.__version__}, and the model is on {str(model.device)!r}.",
            hint="Take precision='bfloat16'; on a GPU pass a quantization_config.",
            model_name=name,
        )


def _quantize(module: nn.Module) -> None:
    for names in _same_input(module):
        linears = [cast("nn.Linear", getattr(module, name)) for name in names]
        product = SharedProduct(linears)
        for index, (name, linear) in enumerate(zip(names, linears, strict=True)):
            setattr(module, name, Int8Linear(linear, product, index))
    for child in module.children():
        _quantize(child)


def _same_input(module: nn.Module) -> list[tuple[str, ...]]:
    """The linear layers of a module by their names; together those that get the same input."""
    names = [name for name, child in module.named_children() if type(child) is nn.Linear]
    # A layer that shares its keys with another one asks for the queries alone.
    can_share = not getattr(module, "is_kv_shared_layer", False)
    groups = [group for group in _SAME_INPUT if can_share and set(group) <= set(names)]
    grouped = {name for group in groups for name in group}
    return [*groups, *((name,) for name in names if name not in grouped)]


def _faster(model: PreTrainedModel) -> str:
    """`"bfloat16"` if that is clearly faster for this model on this machine, else `"float32"`."""
    machine = {
        "model": model.config.to_json_string(use_diff=False),
        "torch": torch.__version__,
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "processor": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
    }
    key = hashlib.sha256(json.dumps(machine).encode()).hexdigest()[:16]
    file = cache_root() / "precision" / f"{key}.json"
    known = _read(file)
    if known is not None:
        return known
    seconds = _measure(model)
    faster = "bfloat16" if seconds["bfloat16"] <= _CLEARLY * seconds["float32"] else "float32"
    _write(file, json.dumps({"faster": faster, "seconds": seconds}))
    return faster


def _read(file: Path) -> str | None:
    try:
        faster = json.loads(file.read_text())["faster"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return faster if faster in {"float32", "bfloat16"} else None


def _write(file: Path, text: str) -> None:
    """Keep a record, whole or not at all; a cache that cannot be written costs a measurement."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=file.parent, delete=False) as temporary:
            temporary.write(text)
        Path(temporary.name).replace(file)
    except OSError:
        return


@torch.inference_mode()
def _measure(model: PreTrainedModel) -> dict[str, float]:
    """Seconds of some forwards in both types, interleaved; the model is left in float32."""
    layers = cast("nn.Module", model.get_decoder())  # type: ignore[no-untyped-call]
    lanes = {"float32": layers, "bfloat16": copy.deepcopy(layers).to(torch.bfloat16)}
    times: dict[str, list[float]] = {name: [] for name in lanes}
    for _ in range(_ROUNDS + 1):
        for name, lane in lanes.items():
            start = time.perf_counter()
            for width in _WIDTHS:
                lane(input_ids=torch.ones(1, width, dtype=torch.long), use_cache=False)
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(measured[1:]) for name, measured in times.items()}
