"""Where a checkpoint's files are, and how large its weights are before any of them is read."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, cast

from gemma_structured.exceptions import LoadError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["WeightsSize", "has_weights", "local_folder", "measure_weights"]

MAX_HEADER_BYTES = 100_000_000
"""The longest header that the safetensors format allows."""

_SIZES = {"64": 8, "32": 4, "16": 2}
"""Bytes by the number in a type's name, such as `BF16`; other types take one."""


class _Tensor(TypedDict):
    dtype: str
    shape: list[int]
    data_offsets: list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsSize:
    """How large the weights of a checkpoint are.

    Attributes:
        parameters: How many numbers its tensors hold.
        bytes_on_disk: What its tensors take on disk.
    """

    parameters: int
    bytes_on_disk: int

    @classmethod
    def of(cls, numbers: Mapping[str, int]) -> WeightsSize:
        """The size of tensors that hold so many numbers of each type."""
        bytes_on_disk = sum(count * _SIZES.get(dtype[-2:], 1) for dtype, count in numbers.items())
        return cls(parameters=sum(numbers.values()), bytes_on_disk=bytes_on_disk)


def local_folder(source: str | Path) -> Path | None:
    """The checkpoint folder that a source names; `None` where it can only be a hub id.

    Raises:
        LoadError: It is a path, and there is no checkpoint.
    """
    try:
        path = Path(source).expanduser()
        is_folder = path.is_dir()
    except (OSError, ValueError, RuntimeError):  # too long, a NUL, an unknown user's home
        return None
    name = str(source)
    if is_folder:
        if (path / "config.json").is_file():
            return path
        raise LoadError(
            f"The folder {name!r} holds no config.json.",
            hint="Give the folder that save_pretrained or `hf download` wrote.",
            model_name=name,
        )
    if isinstance(source, Path) or name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise LoadError(
            f"There is no folder {name!r}.",
            hint="Give a folder that exists, or a hub id like 'google/gemma-4-26B-A4B-it'.",
            model_name=name,
        )
    return None


def has_weights(folder: Path) -> bool:
    """Whether every file of weights that a checkpoint names is there."""
    for single in ("model.safetensors", "pytorch_model.bin"):
        if (folder / single).is_file():
            return True
        index = folder / f"{single}.index.json"
        if index.is_file():
            files: Iterable[str] = json.loads(index.read_bytes())["weight_map"].values()
            if all((folder / file).is_file() for file in set(files)):
                return True
    return False


def measure_weights(folder: Path) -> WeightsSize | None:
    """Add up a checkpoint's tensors from the headers of its safetensors files.

    The format is 8 bytes of length, a JSON header, then the data
    (https://huggingface.co/docs/safetensors/index#format).

    Returns:
        `None` where the folder has no such file.

    Raises:
        LoadError: A file is cut off or is no safetensors file.
    """
    numbers: dict[str, int] = {}
    for file in sorted(folder.glob("model*.safetensors")):
        for tensor in _tensors(file):
            dtype = tensor["dtype"]
            numbers[dtype] = numbers.get(dtype, 0) + prod(tensor["shape"])
    return WeightsSize.of(numbers) if numbers else None


def _tensors(file: Path) -> list[_Tensor]:
    """The tensors that a file's header lists, once it is known that their data is all there."""
    damaged = LoadError(
        f"{file.name} is cut off or is no safetensors file.",
        hint="Delete it and download it again.",
    )
    size = file.stat().st_size
    with file.open("rb") as stream:
        try:
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > min(size - 8, MAX_HEADER_BYTES):
                raise damaged
            header = cast("dict[str, _Tensor]", json.loads(stream.read(length)))
            header.pop("__metadata__", None)
            tensors = list(header.values())
            end = max((tensor["data_offsets"][1] for tensor in tensors), default=0)
        except (ValueError, struct.error, KeyError, TypeError, AttributeError, IndexError):
            raise damaged from None
    if end != size - 8 - length:
        raise damaged
    return tensors
