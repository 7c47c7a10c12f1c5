"""The cache of converted models: whole or not there, checked, and safe between processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from gemma_structured.decoding import model_cache
from gemma_structured.decoding.model_cache import cache_root, ensure, is_intact
from gemma_structured.exceptions import LoadError

CONTENT = bytes(range(256)) * 64


def start(script: str, *arguments: Path) -> subprocess.Popen[bytes]:
    """Run a script in a process of its own."""
    return subprocess.Popen([sys.executable, "-c", script, *map(str, arguments)])


class Builder:
    """Writes two files, and counts how often."""

    def __init__(self) -> None:
        self.builds = 0

    def __call__(self, folder: Path) -> None:
        self.builds += 1
        (folder / "weights.bin").write_bytes(CONTENT)
        (folder / "config.json").write_text("{}")


@pytest.fixture
def build() -> Builder:
    """A builder that has built nothing yet."""
    return Builder()


@pytest.fixture
def folder(tmp_path) -> Path:
    """A place in a cache that does not exist yet."""
    return tmp_path / "cache" / "model-v1"


@pytest.fixture(params=[1 << 20, 1 << 10], ids=["small", "sampled"])
def sampling(request, monkeypatch) -> None:
    """Files small enough to be hashed whole, and files of which a sample is hashed."""
    monkeypatch.setattr(model_cache, "_WHOLE", request.param)
    monkeypatch.setattr(model_cache, "_HEAD", 64)
    monkeypatch.setattr(model_cache, "_BLOCK", 8)


@pytest.mark.usefixtures("sampling")
def test_a_folder_is_built_once(folder, build):
    """The second call finds it intact."""
    for _ in range(3):
        ensure(folder, build, size=1)
    assert build.builds == 1
    assert is_intact(folder)
    assert (folder / "weights.bin").read_bytes() == CONTENT


def cut(folder):
    (folder / "weights.bin").write_bytes(CONTENT[:-1])


def empty(folder):
    (folder / "weights.bin").write_bytes(b"")


def flip(folder):
    (folder / "weights.bin").write_bytes(CONTENT[:5000] + b"!" + CONTENT[5001:])


def lose(folder):
    (folder / "config.json").unlink()


def lose_manifest(folder):
    (folder / "manifest.json").unlink()


def break_manifest(folder):
    (folder / "manifest.json").write_text("{")


def empty_manifest(folder):
    (folder / "manifest.json").write_text('{"files": {}}')


def odd_manifest(folder):
    (folder / "manifest.json").write_text('{"files": [1]}')


def odd_record(folder):
    (folder / "manifest.json").write_text('{"files": {"weights.bin": {"size": "x"}}}')


@pytest.mark.usefixtures("sampling")
@pytest.mark.parametrize(
    "damage",
    [
        cut,
        empty,
        flip,
        lose,
        lose_manifest,
        break_manifest,
        empty_manifest,
        odd_manifest,
        odd_record,
    ],
)
def test_a_damaged_folder_is_rebuilt(damage, folder, build):
    """Whatever is missing, cut or changed, the next start makes it whole again."""
    ensure(folder, build, size=1)
    damage(folder)
    assert not is_intact(folder)
    ensure(folder, build, size=1)
    assert build.builds == 2
    assert is_intact(folder)
    assert (folder / "weights.bin").read_bytes() == CONTENT
    assert [path.name for path in folder.parent.iterdir() if path.is_dir()] == [folder.name]


@pytest.mark.usefixtures("sampling")
def test_a_replaced_head_is_seen_though_the_time_is_the_same(folder, build):
    """The sample covers the head of the file, where a format keeps its table."""
    ensure(folder, build, size=1)
    path = folder / "weights.bin"
    status = path.stat()
    path.write_bytes(b"!" + CONTENT[1:])
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert not is_intact(folder)


@pytest.mark.usefixtures("sampling")
def test_zeroed_regions_are_seen_though_the_time_is_the_same(folder, build):
    """A region that a crash of the machine left empty meets one of the sampled blocks."""
    ensure(folder, build, size=1)
    path = folder / "weights.bin"
    status = path.stat()
    path.write_bytes(CONTENT[:8000] + bytes(1000) + CONTENT[9000:])
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert not is_intact(folder)


@pytest.mark.usefixtures("sampling")
def test_a_copied_folder_is_intact(folder, build, tmp_path):
    """Other times make it hash everything once, and take the times down."""
    ensure(folder, build, size=1)
    copied = tmp_path / "elsewhere"
    shutil.copytree(folder, copied, copy_function=shutil.copyfile)
    for path in copied.iterdir():
        os.utime(path, ns=(1, 1))
    assert is_intact(copied)
    record = json.loads((copied / "manifest.json").read_text())["files"]["weights.bin"]
    assert record["mtime_ns"] == 1
    assert not list(copied.glob("*.new"))


def test_a_failed_build_leaves_nothing(folder, build):
    """An error passes through, and the next start begins anew."""

    def fail(new):
        (new / "half").write_text("x")
        raise KeyError("broken")

    with pytest.raises(KeyError):
        ensure(folder, fail, size=1)
    assert not any(path.is_dir() for path in folder.parent.iterdir())
    ensure(folder, build, size=1)
    assert is_intact(folder)


def test_a_failed_rebuild_keeps_the_old_folder(folder, build):
    """What was there is only replaced by something whole."""
    ensure(folder, build, size=1)
    cut(folder)

    def fail(_):
        raise KeyError("broken")

    with pytest.raises(KeyError):
        ensure(folder, fail, size=1)
    assert (folder / "config.json").read_text() == "{}"


DIE_WHILE_BUILDING = """
import os, signal, sys
from pathlib import Path
from gemma_structured.decoding.model_cache import ensure

def build(new):
    (new / "weights.bin").write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)

ensure(Path(sys.argv[1]), build, size=1)
"""


def test_a_killed_process_blocks_nobody(folder, build):
    """Its lock is gone with it, and what it left behind is cleaned up."""
    assert start(DIE_WHILE_BUILDING, folder).wait(60) == -signal.SIGKILL
    assert list(folder.parent.glob("*.partial"))
    ensure(folder, build, size=1)
    assert is_intact(folder)
    assert not list(folder.parent.glob("*.partial"))


BUILD_SLOWLY = """
import sys, time
from pathlib import Path
from gemma_structured.decoding.model_cache import ensure, is_intact

def build(new):
    with open(sys.argv[2], "a") as stream:
        stream.write("built\\n")
    time.sleep(0.5)
    (new / "weights.bin").write_bytes(b"whole")

ensure(Path(sys.argv[1]), build, size=1)
assert is_intact(Path(sys.argv[1]))
"""


def test_of_several_processes_one_builds(folder, tmp_path):
    """The others wait for it and use what it made."""
    log = tmp_path / "log"
    processes = [start(BUILD_SLOWLY, folder, log) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert log.read_text() == "built\n"


def test_waiting_for_a_lock_ends(folder, build, monkeypatch):
    """A process that never comes to an end is told, with what to do."""
    monkeypatch.setattr(model_cache, "LOCK_TIMEOUT", 0.1)
    folder.parent.mkdir()
    with (
        FileLock(folder.with_name(f"{folder.name}.lock")),
        pytest.raises(LoadError, match="Another process"),
    ):
        ensure(folder, build, size=1)
    assert build.builds == 0


def test_a_cache_that_cannot_be_written_is_an_error(tmp_path, build):
    """The message names the variable that moves the cache."""
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(LoadError, match="GEMMA_STRUCTURED_CACHE"):
        ensure(tmp_path / "file" / "cache" / "model", build, size=1)


def test_a_full_disk_is_an_error(folder, build):
    """It is told before anything is built, with both numbers."""
    with pytest.raises(LoadError, match=r"GiB free, and 931322574\.6 are needed"):
        ensure(folder, build, size=10**18)
    assert build.builds == 0


def test_the_root_is_the_argument_the_variable_or_the_systems(tmp_path, monkeypatch):
    """In this order; `~` is the user's home."""
    monkeypatch.setenv(model_cache.CACHE_VARIABLE, str(tmp_path / "variable"))
    assert cache_root(tmp_path / "argument") == tmp_path / "argument"
    assert cache_root() == tmp_path / "variable"
    monkeypatch.setenv(model_cache.CACHE_VARIABLE, "~/x")
    assert cache_root() == Path.home() / "x"
    monkeypatch.delenv(model_cache.CACHE_VARIABLE)
    assert cache_root().name == "gemma-structured"
