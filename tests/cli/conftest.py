"""A command line whose model answers from a script."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from gemma_structured.cli import app as app_module
from gemma_structured.testing import ScriptedModel

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from click.testing import Result

SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


class CommandLine:
    """Runs commands in a folder, with a model that answers by a function."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.model = ScriptedModel(lambda request: {"name": str(request.input), "age": 1})
        patch.chdir(folder)
        patch.setattr(app_module, "build_model", lambda *_names: self.model)
        (folder / "person.json").write_text(json.dumps(SCHEMA))

    def answer_with(self, answer: Callable[..., object]) -> None:
        """Answer every request by a function."""
        self.model = ScriptedModel(answer)

    def write(self, **texts: str) -> list[str]:
        """Write documents; returns their paths."""
        for name, text in texts.items():
            (self.folder / f"{name}.txt").write_text(text)
        return [f"{name}.txt" for name in texts]

    def __call__(self, *args: str, stdin: str | bytes | None = None) -> Result:
        """Run a command."""
        return CliRunner().invoke(app_module.app, list(args), input=stdin)

    def extract(self, *args: str, stdin: str | bytes | None = None) -> Result:
        """Run `extract` for the person schema."""
        return self("extract", "--model", "scripted", "--schema", "person.json", *args, stdin=stdin)

    def records(self, name: str = "out.jsonl") -> list[dict[str, object]]:
        """The records of a file."""
        return [json.loads(line) for line in (self.folder / name).read_text().splitlines()]


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """A command line in an empty folder."""
    return CommandLine(tmp_path, monkeypatch)


@pytest.fixture
def terminal() -> Callable[..., tuple[int, str]]:
    """Runs Python code with arguments on a terminal; gives its exit code and all that it shows."""

    def run(code: str, *args: str) -> tuple[int, str]:
        controller, end = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-c", code, *args],
            stdin=end,
            stdout=end,
            stderr=end,
            env={**os.environ, "COLUMNS": "120", "TERM": "xterm", "NO_COLOR": "1"},
        )
        os.close(end)
        seen = b""
        while True:
            try:
                piece = os.read(controller, 4096)
            except OSError:  # how Linux says that the other end is closed
                break
            if not piece:
                break
            seen += piece
        os.close(controller)
        return process.wait(timeout=30), seen.decode()

    return run
