"""Every file in `examples/` runs."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))

PRINTED = {
    "first_object": "priority='express'",
    "few_shot_batch": "Person(name='Mia Chen', age=42)",
    "streaming": "{'title': 'bread'}",
    "output_types": "Refund",
    "errors": "cut after 5 tokens",
    "many_at_once": "start='Cairo' goal='Delhi'",
    "prompt_and_cost": "forward passes",
    "tested_without_a_model": "",
    "agent_with_tools": "calls weight_of",
    "agent_that_survives": "190",
    "fallback_and_images": "because LoadError",
}


def test_every_example_is_known() -> None:
    """No example is left out."""
    assert {path.stem for path in EXAMPLES} == set(PRINTED)


@pytest.mark.usefixtures("shared_embedded")
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It ends without an error, and has printed what it is about."""
    runpy.run_path(str(path), run_name="__main__")
    assert PRINTED[path.stem] in capsys.readouterr().out
