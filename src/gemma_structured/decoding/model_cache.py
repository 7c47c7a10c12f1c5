"""Folders of converted models in the user's cache: written whole or not at all, and checked.

A folder is built beside its place and renamed into it, under a lock that dies with its process. Its
manifest holds each file's size, time and hashes. A start checks sizes, times, and the hash of a
sample (all of a small file; of a large one the head and 64 blocks spread over it): that finds cut,
emptied and replaced files in milliseconds, where hashing a gigabyte would take longer than loading
it. Where a time differs, as after a copy, the whole file is hashed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from gemma_structured.exceptions import LoadError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["CACHE_VARIABLE", "cache_root", "ensure", "is_intact"]

CACHE_VARIABLE = "GEMMA_STRUCTURED_CACHE"
"""The environment variable that names another folder for converted models."""

MANIFEST = "manifest.json"
LOCK_TIMEOUT = 900.0
"""Seconds to wait for another process that converts the same model."""

_WHOLE = 32 << 20
_HEAD = 1 << 20
_BLOCK = 4 << 10
_BLOCKS = 64


def cache_root(cache_dir: str | Path | None = None) -> Path:
    """Where converted models are kept: the argument, the variable, or the system's cache folder."""
    if cache_dir is not None:
        return Path(cache_dir).expanduser()
    named = os.environ.get(CACHE_VARIABLE)
    if named:
        return Path(named).expanduser()
    from platformdirs import user_cache_path  # noqa: PLC0415 - part of the extra `local`

    return user_cache_path("gemma-structured", appauthor=False)


def ensure(folder: Path, build: Callable[[Path], None], *, size: int) -> None:
    """Make sure that a folder holds what `build` writes; build it where it is missing or damaged.

    Args:
        folder: Its place in the cache.
        build: Writes the files into an empty folder.
        size: About how many bytes those are.

    Raises:
        LoadError: The cache cannot be written, has no room, or another process holds the lock for
            too long.
    """
    if is_intact(folder):
        return
    from filelock import FileLock, Timeout  # noqa: PLC0415 - part of the extra `local`

    hint = f"Name another folder in the environment variable {CACHE_VARIABLE}."
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f"{folder.name}.lock"), timeout=LOCK_TIMEOUT):
            if is_intact(folder):  # another process was faster
                return
            _check_room(folder.parent, size, hint)
            _rebuild(folder, build)
    except Timeout as error:
        msg = f"Another process has been preparing {str(folder)!r} for {LOCK_TIMEOUT:.0f} s."
        raise LoadError(msg, hint=f"End it, or wait. {hint}") from error
    except OSError as error:
        msg = f"The cache {str(folder.parent)!r} cannot be written: {error}."
        raise LoadError(msg, hint=hint) from error


def _check_room(parent: Path, size: int, hint: str) -> None:
    free = shutil.disk_usage(parent).free
    if free < size:
        msg = f"{str(parent)!r} has {free / 2**30:.1f} GiB free, and {size / 2**30:.1f} are needed."
        raise LoadError(msg, hint=f"Free some. {hint}")


def _rebuild(folder: Path, build: Callable[[Path], None]) -> None:
    """Build beside the folder's place, then swap; whatever a killed process left goes first."""
    for remains in folder.parent.glob(f"{folder.name}.*.partial"):
        shutil.rmtree(remains, ignore_errors=True)
    partial = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", suffix=".partial", dir=folder.parent))
    try:
        fresh = partial / "new"
        fresh.mkdir()
        build(fresh)
        _write_manifest(fresh)
        for path in (*fresh.iterdir(), fresh):
            _sync(path)
        if folder.exists():
            folder.rename(partial / "old")
        fresh.rename(folder)
        _sync(folder.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _sync(path: Path) -> None:
    """Have the system write a file or folder to disk, where it can (Windows opens no folders)."""
    if path.is_dir() and os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() or os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_intact(folder: Path) -> bool:
    """Whether a folder holds what was once written there."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        records = {str(name): dict(record) for name, record in manifest["files"].items()}
        checks = [_check(folder / name, record) for name, record in records.items()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
    if not checks or not all(intact for intact, _ in checks):
        return False
    if any(moved for _, moved in checks):
        _refresh_manifest(folder)
    return True


def _check(path: Path, record: dict[str, object]) -> tuple[bool, bool]:
    """Whether a file is as recorded, and whether its time differs all the same."""
    status = path.stat()
    if status.st_size != record["size"]:
        return False, False
    if status.st_mtime_ns != record["mtime_ns"]:
        return _sha256(_all(path)) == record["sha256"], True
    return _sha256(_sample(path, status.st_size)) == record["sample_sha256"], False


def _refresh_manifest(folder: Path) -> None:
    """Take down the new times, so that the next start need not hash everything again."""
    try:
        _write_manifest(folder)
    except OSError:
        return  # a cache that is only read stays right, and slower


def _write_manifest(folder: Path) -> None:
    files = {
        path.name: {
            "size": path.stat().st_size,
            "mtime_ns": path.stat().st_mtime_ns,
            "sha256": _sha256(_all(path)),
            "sample_sha256": _sha256(_sample(path, path.stat().st_size)),
        }
        for path in sorted(folder.iterdir())
        if path.name != MANIFEST and not path.name.endswith(".new")
    }
    fresh = folder / f"{MANIFEST}.{os.getpid()}.new"
    fresh.write_text(json.dumps({"files": files}, indent=1), encoding="utf-8")
    fresh.replace(folder / MANIFEST)


def _sha256(blocks: Iterator[bytes]) -> str:
    digest = hashlib.sha256()
    for block in blocks:
        digest.update(block)
    return digest.hexdigest()


def _all(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while block := stream.read(_HEAD):
            yield block


def _sample(path: Path, size: int) -> Iterator[bytes]:
    if size <= _WHOLE:
        yield from _all(path)
        return
    with path.open("rb") as stream:
        yield stream.read(_HEAD)
        for i in range(_BLOCKS):
            stream.seek(_HEAD + (size - _HEAD - _BLOCK) * i // (_BLOCKS - 1))
            yield stream.read(_BLOCK)
