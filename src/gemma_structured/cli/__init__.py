"""The command line: `gemma-structured extract`, `schema`, `models` and `demo`."""

from __future__ import annotations

import sys
from importlib.util import find_spec

__all__ = ["main"]


def main() -> None:
    """Run the command line; the entry point of the `gemma-structured` script."""
    missing = [name for name in ("typer", "rich") if find_spec(name) is None]
    if missing:
        sys.exit(
            f"The command line needs {' and '.join(missing)}: pip install 'gemma-structured[cli]'"
        )
    from gemma_structured.cli.app import run  # noqa: PLC0415 (needs the extra `cli`)

    sys.exit(run())
