"""The GGUF reader: against the writer of the package `gguf`, and against damaged files."""

from __future__ import annotations

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFWriter
from gguf.quants import dequantize, quantize
from hypothesis import given, settings
from hypothesis import strategies as st

from gemma_structured.decoding import gguf_file
from gemma_structured.decoding.gguf_file import GgufFile

QUANTIZED = np.random.default_rng(0).normal(size=(70, 64)).astype(np.float32)
VECTOR = np.arange(5, dtype=np.float32)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> bytes:
    """A file with every kind of metadata and two tensors, by the library's own writer."""
    path = tmp_path_factory.mktemp("gguf") / "file.gguf"
    writer = GGUFWriter(path, "gemma3")
    writer.add_uint8("u8", 200)
    writer.add_int8("i8", -5)
    writer.add_uint16("u16", 60_000)
    writer.add_int16("i16", -300)
    writer.add_uint32("u32", 4_000_000_000)
    writer.add_int32("i32", -70_000)
    writer.add_uint64("u64", 1 << 60)
    writer.add_int64("i64", -(1 << 60))
    writer.add_float32("f32", 0.5)
    writer.add_float64("f64", 0.1)
    writer.add_bool("yes", val=True)
    writer.add_string("text", "héllo\n\0")
    writer.add_array("strings", ["a", "", "日本"])
    writer.add_array("numbers", [1, -2, 3])
    writer.add_array("floats", [0.5, -1.5])
    packed = quantize(QUANTIZED, GGMLQuantizationType.Q8_0)
    writer.add_tensor("big", packed, raw_dtype=GGMLQuantizationType.Q8_0)
    writer.add_tensor("small", VECTOR)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path.read_bytes()


def test_metadata_is_read_as_written(data):
    """Every type of value comes back."""
    metadata = GgufFile(data).metadata
    assert metadata["general.architecture"] == "gemma3"
    expected = {
        "u8": 200,
        "i8": -5,
        "u16": 60_000,
        "i16": -300,
        "u32": 4_000_000_000,
        "i32": -70_000,
        "u64": 1 << 60,
        "i64": -(1 << 60),
        "f32": 0.5,
        "f64": 0.1,
        "yes": True,
        "text": "héllo\n\0",
        "strings": ["a", "", "日本"],
        "numbers": [1, -2, 3],
        "floats": [0.5, -1.5],
    }
    assert {key: metadata[key] for key in expected} == expected


@pytest.mark.parametrize("rows", [1, 7, 70, 1000])
def test_tensors_are_unpacked_slice_by_slice(data, rows, monkeypatch):
    """Slices of any height add up to what the library unpacks at once."""
    monkeypatch.setattr(gguf_file, "ROWS_AT_A_TIME", rows)
    source = GgufFile(data)
    big, small = source.tensors
    assert (big.name, big.shape, small.name, small.shape) == ("big", (70, 64), "small", (5,))
    slices = list(source.rows(big))
    assert max(len(part) for part in slices) <= rows
    packed = quantize(QUANTIZED, GGMLQuantizationType.Q8_0)
    expected = dequantize(packed, GGMLQuantizationType.Q8_0)
    assert np.array_equal(np.concatenate(slices), expected)
    assert np.array_equal(np.concatenate(list(source.rows(small))).ravel(), VECTOR)


@pytest.mark.parametrize("content", [b"", b"GGUF", b"\0" * 64, b"GGUF\x02" + b"\0" * 40])
def test_what_is_no_gguf_file_is_refused(content):
    """Another magic, another version or nothing at all is a `ValueError`."""
    with pytest.raises(ValueError, match="GGUF"):
        GgufFile(content)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_damaged_files_raise_and_never_hang(data, draw):
    """Cut or altered anywhere, a file is read or refused with a `ValueError`."""
    cut = draw.draw(st.integers(0, len(data)))
    broken = bytearray(data[:cut])
    for _ in range(draw.draw(st.integers(0, 3))):
        if broken:
            broken[draw.draw(st.integers(0, min(len(broken), 1500) - 1))] = draw.draw(
                st.integers(0, 255)
            )
    try:
        source = GgufFile(bytes(broken))
        for tensor in source.tensors:
            for _ in source.rows(tensor):
                pass
    except ValueError:
        pass
