"""Where a checkpoint's files are, and how large its weights are before any of them is read."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gemma_structured.exceptions import LoadError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gemma_structured.decoding.load_options import LoadOptions

__all__ = ["WeightsSize", "locate", "measure_weights"]

SMALL_FILES = ("*.json", "*.jinja", "*.txt", "*.model", "*.py", "*.tiktoken")
"""What a checkpoint holds beside its weights."""

MAX_HEADER_BYTES = 100_000_000
"""The longest header that the safetensors format allows."""

_BYTES = {
    "F64": 8,
    "I64": 8,
    "U64": 8,
    "F32": 4,
    "I32": 4,
    "U32": 4,
    "F16": 2,
    "BF16": 2,
    "I16": 2,
    "U16": 2,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsSize:
    """How large the weights of a checkpoint are.

    Attributes:
        parameters: How many numbers its floating-point tensors hold.
        bytes_on_disk: What its tensors take on disk.
        widest: The floating-point type that most of them have, such as `"BF16"`.
    """

    parameters: int
    bytes_on_disk: int
    widest: str

    def in_memory(self, bytes_per_parameter: int) -> int:
        """What the weights take in memory with that many bytes for each number."""
        return self.parameters * bytes_per_parameter


def locate(source: str | Path, options: LoadOptions) -> Path:
    """Find the folder of a checkpoint, and download it where it is only on the hub.

    Raises:
        LoadError: No such folder; other errors of the hub's client are its own.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise LoadError(
                f"The folder {str(source)!r} holds no config.json.",
                hint="Give the folder that save_pretrained or `hf download` wrote.",
                model_name=str(source),
            )
        return path
    if isinstance(source, Path) or _is_path_like(source):
        raise LoadError(
            f"There is no folder {str(source)!r}.",
            hint="Give a folder that exists, or a hub id like 'google/gemma-4-26B-A4B-it'.",
            model_name=str(source),
        )
    return _download(source, options)


def _is_path_like(source: str) -> bool:
    """Whether a name can only be a path: a hub id is `name` or `owner/name`."""
    return source.startswith((".", "/", "~", "\\")) or source.count("/") > 1 or "\\" in source


def _download(repo_id: str, options: LoadOptions) -> Path:
    from huggingface_hub import snapshot_download  # noqa: PLC0415 - part of the extra `local`

    def fetch(patterns: Sequence[str]) -> Path:
        return Path(
            snapshot_download(
                repo_id,
                revision=options.revision,
                token=options.token,
                local_files_only=options.local_files_only,
                allow_patterns=list(patterns),
            )
        )

    folder = fetch([*SMALL_FILES, "*.safetensors"])
    if not any(folder.glob("*.safetensors")):
        folder = fetch([*SMALL_FILES, "pytorch_model*.bin"])
    return folder


def measure_weights(folder: Path) -> WeightsSize | None:
    """Add up a checkpoint's tensors from the headers of its safetensors files.

    The format is 8 bytes of length, a JSON header, then the data
    (https://huggingface.co/docs/safetensors/index#format).

    Returns:
        `None` where the folder has no such file.

    Raises:
        LoadError: A file is cut off or is no safetensors file.
    """
    sizes: dict[str, int] = {}
    numbers: dict[str, int] = {}
    for file in sorted(folder.glob("*.safetensors")):
        for tensor in _headers(file):
            count = 1
            for length in tensor["shape"]:
                count *= length
            dtype = str(tensor["dtype"])
            numbers[dtype] = numbers.get(dtype, 0) + count
            sizes[dtype] = sizes.get(dtype, 0) + count * _BYTES.get(dtype, 1)
    if not sizes:
        return None
    return WeightsSize(
        parameters=sum(numbers.values()),
        bytes_on_disk=sum(sizes.values()),
        widest=max(numbers, key=lambda dtype: numbers[dtype]),
    )


def _headers(file: Path) -> Iterator[Mapping[str, list[int]]]:
    damaged = LoadError(
        f"{file.name} is cut off or is no safetensors file.",
        hint="Delete it and download it again.",
    )
    size = file.stat().st_size
    with file.open("rb") as stream:
        start = stream.read(8)
        if len(start) < 8:  # noqa: PLR2004 - the length that the format begins with
            raise damaged
        (length,) = struct.unpack("<Q", start)
        if length > min(size - 8, MAX_HEADER_BYTES):
            raise damaged
        try:
            header = json.loads(stream.read(length))
        except ValueError:
            raise damaged from None
    header.pop("__metadata__", None)
    end = max((tensor["data_offsets"][1] for tensor in header.values()), default=0)
    if end > size - 8 - length:
        raise damaged
    yield from header.values()
