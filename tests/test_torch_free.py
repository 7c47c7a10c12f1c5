"""The package without the extra `local`. CI runs the same script where nothing of it is installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_everything_but_local_models_works_without_torch() -> None:
    """Importing, typing, remote models and test doubles need neither torch nor numpy."""
    script = Path(__file__).with_name("torch_free.py")
    command = [sys.executable, "-W", "error", str(script), "--block"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "works without torch" in run.stdout
