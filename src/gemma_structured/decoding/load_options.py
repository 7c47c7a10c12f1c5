"""What a user may choose about the loading of a model: plain values, read without PyTorch."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from gemma_structured.exceptions import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DeviceMap", "ExpertsImplementation", "LoadOptions", "Precision"]

DeviceMap: TypeAlias = "str | Mapping[str, int | str]"
"""Where accelerate puts the layers: `"auto"`, `"balanced"`, or a module name → device mapping."""

Precision: TypeAlias = Literal["auto", "float32", "bfloat16", "float16", "int8"]
"""The type that a model computes in."""

ExpertsImplementation: TypeAlias = Literal[
    "auto", "eager", "batched_mm", "grouped_mm", "deepgemm", "sonicmoe"
]
"""How the experts of one layer are computed (transformers' `set_experts_implementation`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """How to load a model.

    Attributes:
        device: `"auto"` takes CUDA, else Apple's MPS, else the CPU; otherwise any name that PyTorch
            knows, such as `"cuda:1"`.
        precision: What the model computes in. Unless told, that is bfloat16 on a GPU; on a CPU
            float32 for a small model, in which every way of batching gives the same logits, and
            bfloat16 for a larger one. `"auto"` takes for a small model on a CPU whichever of the
            two is faster on this machine: measured once, and kept in the cache folder. `"int8"`
            (on a CPU, without a mixture of experts) computes the layers' products in 8-bit
            integers: several times as fast, and its answers are not always those of float32.
        device_map: Where accelerate puts the layers, over several devices; replaces `device`.
        quantization_config: Passed on to transformers as it is.
        revision: Branch, tag or commit on the hub.
        token: For gated or private repositories; `None` uses the one stored by `hf auth login`.
            It is in no repr and no error.
        local_files_only: Ask no server: the checkpoint must be a folder or in the hub's cache.
        trust_remote_code: Run the code that comes with a checkpoint.
        attn_implementation: Passed on to transformers.
        experts_implementation: `"auto"` takes `grouped_mm`.
        model_kwargs: Further arguments of `from_pretrained`.

    Raises:
        InputError: A value is not one of the above.
    """

    device: str = "auto"
    precision: Precision | None = None
    device_map: DeviceMap | None = None
    quantization_config: object = None
    revision: str | None = None
    token: str | bool | None = field(default=None, repr=False)
    local_files_only: bool = False
    trust_remote_code: bool = False
    attn_implementation: str | None = None
    experts_implementation: ExpertsImplementation = "auto"
    model_kwargs: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        if self.precision is not None:
            _check_choice("precision", self.precision, get_args(Precision))
        _check_choice(
            "experts_implementation", self.experts_implementation, get_args(ExpertsImplementation)
        )
        if not self.device:
            msg = "device is empty."
            raise InputError(msg, hint='Write "auto", "cpu", "cuda", "cuda:0" or "mps".')
        if self.device_map is not None and self.device != "auto":
            msg = f"Both device ({self.device!r}) and device_map are given."
            raise InputError(msg, hint="Give one: a device map places every layer itself.")
        object.__setattr__(self, "model_kwargs", MappingProxyType(dict(self.model_kwargs)))


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        msg = f"{name} is {value!r}."
        raise InputError(msg, hint=f"Choose one of {', '.join(choices)}.")
