"""The output file: JSON Lines that survive a kill at any moment, and can be gone on with."""

from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING, TypeAlias

from gemma_structured.exceptions import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from gemma_structured.cli.documents import Key
    from gemma_structured.types import JsonValue

try:
    import fcntl
except ImportError:  # Windows: two runs at once are then not told apart
    fcntl = None  # type: ignore[assignment]

__all__ = ["Record", "RecordFile"]

Record: TypeAlias = "dict[str, JsonValue]"
"""One line: at least the document's `path` and `sha256`."""


class RecordFile:
    """A JSON Lines file, written and synced line by line.

    A line is on the disk, whole, before `write` returns. What a kill may leave behind is a last
    line without its end, which is cut off when the file is opened to go on.

    Args:
        path: The file.
        resume: Go on with what the file holds.
        overwrite: Begin anew, whatever the file holds.

    Attributes:
        keys: The documents that the file holds.
        torn_bytes: The length of the torn last line that was cut off.

    Raises:
        InputError: The file holds something and neither `resume` nor `overwrite` is given, another
            run writes to it, it holds something else than records, or it cannot be written.
    """

    def __init__(self, path: Path, *, resume: bool = False, overwrite: bool = False) -> None:
        self.path = path
        self.torn_bytes = 0
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        except OSError as error:
            raise InputError(f"{path} cannot be written: {error.strerror}") from None
        try:
            self._lock()
            self.keys: set[Key] = self._begin(resume=resume, overwrite=overwrite)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def write(self, record: Record) -> None:
        """Append a record; it is on the disk when this returns.

        Raises:
            OSError: The disk is full or gone.
        """
        line = json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n"
        rest = memoryview(line.encode("utf-8", "surrogatepass"))
        while rest:
            rest = rest[os.write(self._file, rest) :]
        self._sync()

    def close(self) -> None:
        """Let the file go, for the next run."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _lock(self) -> None:
        if fcntl is None:
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"Another run is writing to {self.path}.") from None
        except OSError:  # a file system or device without locks
            return

    def _begin(self, *, resume: bool, overwrite: bool) -> set[Key]:
        if overwrite:
            self._truncate(0)
        size = os.fstat(self._file).st_size
        if size == 0:
            return set()
        if not resume:
            raise InputError(
                f"{self.path} exists already.",
                hint="Go on with it by --resume, or begin anew by --overwrite.",
            )
        return set(self._read_keys())

    def _read_keys(self) -> Iterator[Key]:
        whole = 0
        with self.path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.endswith(b"\n"):
                    self.torn_bytes = len(line)
                    break
                whole += len(line)
                yield self._key(line, number)
        if self.torn_bytes:
            self._truncate(whole)

    def _key(self, line: bytes, number: int) -> Key:
        try:
            record = json.loads(line)
            path, sha256 = record["path"], record["sha256"]
        except (ValueError, TypeError, KeyError):
            raise InputError(
                f"{self.path}, line {number} is no record of an extraction.",
                hint="Give another output file.",
            ) from None
        return str(path), str(sha256)

    def _truncate(self, size: int) -> None:
        if os.fstat(self._file).st_size > size:
            os.ftruncate(self._file, size)
            self._sync()

    def _sync(self) -> None:
        if stat.S_ISREG(os.fstat(self._file).st_mode):  # a pipe or a device cannot be synced
            os.fsync(self._file)
