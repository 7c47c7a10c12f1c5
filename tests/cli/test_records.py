"""The output file survives a kill at any byte."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemma_structured.cli.records import RecordFile
from gemma_structured.exceptions import InputError

texts = st.text(st.characters(codec=None, exclude_categories=()), max_size=20)


def record(number: int, text: str) -> dict[str, object]:
    """A record with a text in it."""
    return {"path": f"{number}.txt", "sha256": "0", "output": text}


@given(st.lists(texts, max_size=5), st.integers(0, 1000))
def test_a_file_cut_anywhere_holds_its_whole_records(outputs: list[str], cut: int) -> None:
    """After a cut at any byte, the keys are those of the whole lines, and writing goes on there."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "out.jsonl"
        with RecordFile(path) as file:
            for number, text in enumerate(outputs):
                file.write(record(number, text))
        content = path.read_bytes()
        path.write_bytes(content[:cut])
        whole = content[:cut].count(b"\n")
        with RecordFile(path, resume=True) as file:
            assert file.keys == {(f"{number}.txt", "0") for number in range(whole)}
            for number in range(whole, len(outputs)):
                file.write(record(number, outputs[number]))
        assert path.read_bytes() == content


@pytest.mark.parametrize("content", [b"notes\n", b"[]\n", b'{"path": 1}\n', b"\xff\n", b"\n"])
def test_a_file_with_something_else_is_left_alone(tmp_path: Path, content: bytes) -> None:
    """Lines that are no records are refused with their number, and stay."""
    path = tmp_path / "out.jsonl"
    path.write_bytes(content)
    with pytest.raises(InputError, match="line 1"):
        RecordFile(path, resume=True)
    assert path.read_bytes() == content


def test_a_file_has_one_writer(tmp_path: Path) -> None:
    """While one run has the file, no other does; afterwards it may."""
    path = tmp_path / "out.jsonl"
    with RecordFile(path), pytest.raises(InputError, match="Another run"):
        RecordFile(path)
    RecordFile(path).close()


def test_a_record_must_be_json(tmp_path: Path) -> None:
    """A number that JSON does not have is refused before anything is written."""
    path = tmp_path / "out.jsonl"
    with RecordFile(path) as file, pytest.raises(ValueError, match="JSON"):
        file.write({"path": "a", "sha256": "0", "output": float("nan")})
    assert path.read_bytes() == b""
