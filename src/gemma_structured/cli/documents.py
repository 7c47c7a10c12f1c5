"""What the command line reads: documents, few-shot examples, and lists of files."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from gemma_structured.exceptions import InputError, OutputValidationError
from gemma_structured.parsing.validate import validate
from gemma_structured.types import Example

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gemma_structured.schema.output_type import OutputType

__all__ = ["STDIN", "Document", "Key", "list_sources", "read_document", "read_examples"]

STDIN = "-"
"""The name of a document that is piped in."""

Key: TypeAlias = tuple[str, str]
"""What tells one document from another: its path, and the SHA-256 of its bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A document as it was read.

    Attributes:
        path: The path as it was given; `-` for standard input.
        sha256: The hash of its bytes, as hexadecimal digits.
        content: Its bytes.
    """

    path: str
    sha256: str
    content: bytes

    @property
    def key(self) -> Key:
        """Path and hash."""
        return self.path, self.sha256

    @property
    def text(self) -> str:
        """Its text.

        Raises:
            InputError: It is not UTF-8, or empty: a model would make something up.
        """
        try:
            text = self.content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise InputError(
                f"{self.path} is not UTF-8: byte {error.start} cannot be decoded.",
                hint="Convert it first, for example with iconv.",
            ) from None
        if not text.strip():
            raise InputError(f"{self.path} is empty.")
        return text


def list_sources(files: Sequence[str], files_from: str | None) -> list[str]:
    """The paths of all the documents, each once, in the order given.

    Args:
        files: Paths from the command line; none of them means standard input.
        files_from: A file with one path a line, or `-` for standard input.

    Raises:
        InputError: There is nothing to read, or the list of paths cannot be read.
    """
    paths = [path if path == STDIN else os.path.normpath(path) for path in files]
    if files_from is not None:
        if files_from == STDIN and STDIN in paths:
            raise InputError("Standard input is either a document or the list of documents.")
        lines = _read_list(files_from).splitlines()
        paths += [os.path.normpath(line) for line in lines if line.strip()]
    elif not paths:
        if sys.stdin.isatty():
            raise InputError("No documents.", hint="Name files, or pipe a document in.")
        paths = [STDIN]
    if not paths:
        raise InputError(f"{files_from} names no documents.")
    return list(dict.fromkeys(paths))


def _read_list(source: str) -> str:
    try:
        return sys.stdin.read() if source == STDIN else Path(source).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The list of files {source} cannot be read: {_reason(error)}") from None


def read_document(path: str) -> Document:
    """Read one document.

    Raises:
        InputError: It cannot be read.
    """
    try:
        content = sys.stdin.buffer.read() if path == STDIN else Path(path).read_bytes()
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {_reason(error)}") from None
    return Document(path=path, sha256=hashlib.sha256(content).hexdigest(), content=content)


def read_examples(path: Path, output_type: OutputType[Any]) -> tuple[Example[Any], ...]:
    """Read few-shot examples: JSON Lines of `{"input": text, "output": value}`.

    Raises:
        InputError: The file cannot be read, or a line is no example of this output type.
    """
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The examples {path} cannot be read: {_reason(error)}") from None
    return tuple(_examples(text, str(path), output_type))


def _examples(text: str, path: str, output_type: OutputType[Any]) -> Iterator[Example[Any]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            record = json.loads(line)
        except ValueError as error:
            raise InputError(f"{where} is not JSON: {error}") from None
        if not isinstance(record, dict) or not isinstance(record.get("input"), str):
            raise InputError(f'{where} is not {{"input": text, "output": value}}.')
        if record.keys() != {"input", "output"}:
            raise InputError(f'{where} has the keys {sorted(record)}, not "input" and "output".')
        yield Example(record["input"], _output(record["output"], where, output_type))


def _output(value: object, where: str, output_type: OutputType[Any]) -> object:
    if output_type.is_json:
        text = json.dumps(value, ensure_ascii=False)
    elif isinstance(value, str):
        text = value
    else:
        raise InputError(f"{where}: the output of {output_type.name} must be text.")
    try:
        return validate(output_type, text)
    except OutputValidationError as error:
        issues = "; ".join(f"{each.pointer or '(root)'}: {each.message}" for each in error.issues)
        raise InputError(f"{where}: the output is no {output_type.name}: {issues}") from None


def _reason(error: Exception) -> str:
    """What the system says, without repeating the path."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
