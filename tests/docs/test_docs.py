"""Every Python example of the documentation runs, page by page, and prints what it says it prints."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SHOWN = re.compile(r"^ *# ?> ?(.*)$", re.MULTILINE)


def page_name(page: Path) -> str:
    """The page's path, for the test's name."""
    return str(page.relative_to(ROOT))


def run(code: str, page: Path, line: int, names: dict[str, object]) -> None:
    """Run an example as if it stood at its line of the page."""
    exec(compile("\n" * line + code, page, "exec", dont_inherit=True), names)


@pytest.mark.usefixtures("shared_embedded")
@pytest.mark.parametrize(
    "page", [page for page in PAGES if FENCE.search(page.read_text())], ids=page_name
)
def test_a_page_runs(
    page: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Examples of one page build on each other; `# >` shows all that one prints."""
    module = ModuleType("documentation")  # Pydantic resolves a type's names in its module
    monkeypatch.setitem(sys.modules, module.__name__, module)
    text = page.read_text()
    for example in FENCE.finditer(text):
        run(example[1], page, text.count("\n", 0, example.start(1)), module.__dict__)
        printed = capsys.readouterr().out.splitlines()
        if shown := SHOWN.findall(example[1]):
            assert printed == shown, example[1]


def test_every_page_of_the_site_is_in_its_navigation() -> None:
    """No page is left out, and none is named that does not exist."""
    named = set(re.findall(r": ([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE))
    docs = ROOT / "docs"
    assert named == {str(page.relative_to(docs)) for page in docs.rglob("*.md")}


def test_commands_in_the_documentation_exist() -> None:
    """Every option that a shell example gives to our command is one that it has."""
    from typer.testing import CliRunner

    from gemma_structured.cli.app import app

    helps = {
        name: CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "200"}).stdout
        for name in ("extract", "schema", "models", "demo")
    }
    for page in PAGES:
        for block in re.findall(r"```bash\n(.*?)```", page.read_text(), re.DOTALL):
            commands = block.replace("\\\n", " ").splitlines()
            for line in commands:
                for name, rest in re.findall(r"gemma-structured (\w+)([^|#]*)", line):
                    for option in re.findall(r" (--?[a-z][\w-]*)", rest):
                        assert re.search(rf"(^|\s){option}\s", helps[name]), f"{page.name}: {line}"
