"""Build the wheel, compare it with the sources, and use it in a new environment without torch."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "src"


def main() -> None:
    """Check everything, or exit with what is wrong."""
    with tempfile.TemporaryDirectory() as folder:
        wheel = build(Path(folder))
        compare(wheel)
        python = install(wheel, Path(folder) / "venv")
        run(python, ROOT / "tests" / "torch_free.py")
    print(f"{wheel.name}: complete, and works without torch")


def build(folder: Path) -> Path:
    """Build the wheel from this tree."""
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", folder, ROOT)
    (wheel,) = folder.glob("*.whl")
    return wheel


def compare(wheel: Path) -> None:
    """Every tracked file of the package is in the wheel, and the licence and `py.typed` are."""
    tracked = subprocess.run(
        ["git", "ls-files", "gemma_structured"],
        cwd=SOURCES,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split("\n")
    packed = set(zipfile.ZipFile(wheel).namelist())
    missing = {name for name in tracked if name} - packed
    if missing or "gemma_structured/py.typed" not in packed:
        sys.exit(f"Not in the wheel: {sorted(missing)}")
    if not any(name.endswith("licenses/LICENSE") for name in packed):
        sys.exit("The licence is not in the wheel.")


def install(wheel: Path, folder: Path) -> Path:
    """Install the wheel alone, without any extra, into a new environment."""
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    constraints = ROOT / "constraints.txt"
    run(python, "-m", "pip", "install", "--quiet", "--constraint", constraints, wheel)
    return python


def run(*command: str | Path) -> None:
    """Run a command; its failure is ours."""
    subprocess.run([str(part) for part in command], check=True, cwd=ROOT)


if __name__ == "__main__":
    main()
