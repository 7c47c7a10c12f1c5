"""Read a GGUF file: its metadata, and its tensors one slice of rows at a time.

The format is a header, key-value metadata, a table of tensors, then their data
(https://github.com/ggml-org/ggml/blob/master/docs/gguf.md). The package `gguf` unpacks the blocks;
its reader is not used because it keeps every string of a 262,144-token vocabulary as an array.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, TypeAlias, cast

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

__all__ = ["GgufFile", "GgufTensor", "GgufValue"]

GgufValue: TypeAlias = "int | float | bool | str | list[int] | list[float] | list[bool] | list[str]"

_SCALARS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
"""The metadata types of a fixed size, as `struct` formats."""

_STRING, _ARRAY = 8, 9

_UNPACKED = frozenset({0, 1, 2, 3, 6, 7, 8, 10, 11, 12, 13, 14, 30})
"""The block types that are unpacked here: plain floats, Q4_0 to Q8_0 and the K kinds."""

_ALIGNMENT = 32
_VERSION = 3
ROWS_AT_A_TIME = 8_192


@dataclass(frozen=True, slots=True, kw_only=True)
class GgufTensor:
    """One tensor of a GGUF file.

    Attributes:
        name: Its name in llama.cpp's convention.
        shape: In the order of PyTorch: rows first.
        block_type: How its blocks are packed (`gguf.GGMLQuantizationType`).
        offset: Where its data begins, from the start of the file.
    """

    name: str
    shape: tuple[int, ...]
    block_type: int
    offset: int


class GgufFile:
    """A parsed GGUF file over its bytes.

    Raises:
        ValueError: The bytes are not a GGUF file of version 3, or end too early.
    """

    def __init__(self, data: bytes | memoryview) -> None:
        self._data = memoryview(data)
        self.metadata: dict[str, GgufValue] = {}
        try:
            self.tensors = self._parse()
        except (struct.error, UnicodeDecodeError, KeyError) as error:
            msg = f"The GGUF file is damaged: {error}"
            raise ValueError(msg) from error

    def _parse(self) -> tuple[GgufTensor, ...]:
        magic, version, tensor_count, entries = struct.unpack_from("<4sIQQ", self._data)
        if magic != b"GGUF" or version != _VERSION:
            msg = f"This is not a GGUF file of version {_VERSION}."
            raise ValueError(msg)
        position = struct.calcsize("<4sIQQ")
        for _ in range(entries):
            key, position = self._string(position)
            (kind,) = struct.unpack_from("<I", self._data, position)
            self.metadata[key], position = self._value(kind, position + 4)
        table: list[GgufTensor] = []
        for _ in range(tensor_count):
            tensor, position = self._tensor(position)
            table.append(tensor)
        start = -(-position // _ALIGNMENT) * _ALIGNMENT
        return tuple(
            GgufTensor(name=t.name, shape=t.shape, block_type=t.block_type, offset=start + t.offset)
            for t in table
        )

    def _string(self, position: int) -> tuple[str, int]:
        (length,) = struct.unpack_from("<Q", self._data, position)
        position += 8
        if position + length > len(self._data):
            msg = "a string passes the end of the file"
            raise struct.error(msg)
        return str(self._data[position : position + length], "utf-8"), position + length

    def _value(self, kind: int, position: int) -> tuple[GgufValue, int]:
        if kind == _STRING:
            return self._string(position)
        if kind != _ARRAY:
            scalar = f"<{_SCALARS[kind]}"
            (value,) = struct.unpack_from(scalar, self._data, position)
            return value, position + struct.calcsize(scalar)
        element, count = struct.unpack_from("<IQ", self._data, position)
        position += 12
        if element == _STRING:
            strings: list[str] = []
            for _ in range(count):
                string, position = self._string(position)
                strings.append(string)
            return strings, position
        array = f"<{count}{_SCALARS[element]}"
        values = list(struct.unpack_from(array, self._data, position))
        return cast("GgufValue", values), position + struct.calcsize(array)

    def _tensor(self, position: int) -> tuple[GgufTensor, int]:
        name, position = self._string(position)
        (dimensions,) = struct.unpack_from("<I", self._data, position)
        layout = f"<{dimensions}QIQ"
        *lengths, block_type, offset = struct.unpack_from(layout, self._data, position + 4)
        tensor = GgufTensor(
            name=name, shape=tuple(reversed(lengths)), block_type=block_type, offset=offset
        )
        return tensor, position + 4 + struct.calcsize(layout)

    def rows(self, tensor: GgufTensor) -> Iterator[np.ndarray]:
        """Unpack a tensor to float32, some thousand rows at a time, so that memory stays low.

        Raises:
            ValueError: Its data is not all there, or is packed in a way that `gguf` cannot unpack.
        """
        import numpy as np  # noqa: PLC0415 - part of the extra `local`
        from gguf import GGML_QUANT_SIZES, GGMLQuantizationType  # noqa: PLC0415 - extra `embedded`
        from gguf.quants import dequantize  # noqa: PLC0415 - part of the extra `embedded`

        kind = GGMLQuantizationType(tensor.block_type)  # a ValueError where there is no such type
        if kind not in _UNPACKED:
            msg = f"The GGUF file packs {tensor.name!r} as {kind.name}, which is not supported."
            raise ValueError(msg)
        elements, size = GGML_QUANT_SIZES[kind]
        *leading, row_length = tensor.shape
        row_count = prod(leading)
        blocks, rest = divmod(row_length, elements)
        row_bytes = blocks * size
        if rest or not blocks or row_count * row_bytes > len(self._data) - tensor.offset:
            msg = f"The GGUF file is damaged: the data of {tensor.name!r} is not all there."
            raise ValueError(msg)
        for first in range(0, row_count, ROWS_AT_A_TIME):
            count = min(ROWS_AT_A_TIME, row_count - first)
            packed = np.frombuffer(
                self._data, np.uint8, count * row_bytes, tensor.offset + first * row_bytes
            )
            yield dequantize(packed.reshape(count, row_bytes), kind).reshape(count, row_length)
