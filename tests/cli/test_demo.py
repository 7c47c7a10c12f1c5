"""`gemma-structured demo`, on scripted answers and on the embedded model."""

from __future__ import annotations

import subprocess
import sys

import pytest

from gemma_structured.demo import CASES
from gemma_structured.exceptions import IncompleteOutputError, LoadError
from gemma_structured.types import Usage


def test_objects_stand_beside_their_texts(cli) -> None:
    """Each document is shown with its object, and the summary counts what is right."""
    by_text = {case.text: case.expected for case in CASES}
    cli.answer_with(lambda request: by_text[str(request.input)])
    run = cli("demo")
    assert run.exit_code == 0, run.stderr
    assert f"{len(CASES)} of {len(CASES)} objects validate" in run.stdout
    expected = sum(case.count_right(case.expected)[1] for case in CASES)
    assert f"{expected} of {expected} values" in run.stdout
    line = next(line for line in run.stdout.splitlines() if "HALVORSEN & PRICE TOOLING LTD" in line)
    assert "{" in line


def test_a_document_that_fails_is_told(cli) -> None:
    """The others are shown all the same, and the exit code says that one failed."""
    recipe, invoice = (next(c for c in CASES if c.name == name) for name in ("recipe", "invoice"))
    cli.answer_with(
        lambda request: (
            recipe.expected
            if request.input == recipe.text
            else IncompleteOutputError("The answer was cut.", text="{", usage=Usage())
        )
    )
    run = cli("demo", invoice.name, recipe.name)
    assert run.exit_code == 1
    assert "invoice: The answer was cut." in run.stderr
    assert "1 of 2 objects validate" in run.stdout


def test_a_document_may_be_named(cli) -> None:
    """An unknown name is told, with those that there are."""
    run = cli("demo", "novel")
    assert run.exit_code == 2
    assert "spanish_review" in run.stderr


def test_a_model_that_cannot_be_loaded_is_told(cli) -> None:
    """Exit code 3, and the error's own words."""
    cli.answer_with(lambda _: LoadError("No weights.", hint="Download them."))
    run = cli("demo", "recipe")
    assert run.exit_code == 3
    assert "No weights. Download them." in run.stderr


@pytest.mark.embedded
def test_the_real_demo_runs() -> None:
    """The installed command reads a real document with the embedded model, in a process of its own."""
    command = [sys.executable, "-W", "error", "-c", "from gemma_structured.cli import main; main()"]
    run = subprocess.run(
        [*command, "demo", "support_mail", "--debug"], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert "1 of 1 objects validate" in run.stdout
    assert "of them forced" in run.stdout
