"""`gemma-structured schema` and its doctor."""

from __future__ import annotations

import json
from pathlib import Path

ACCIDENT = "gemma_structured.demo.schemas:Accident"


def test_the_schema_of_a_type_is_shown(cli) -> None:
    """It is JSON that names the type's fields in their order."""
    run = cli("schema", ACCIDENT)
    assert run.exit_code == 0, run.stderr
    assert list(json.loads(run.stdout)["properties"])[:2] == ["ship", "accident"]


def test_the_grammar_says_what_it_bounds_and_leaves(cli) -> None:
    """Standard output is the schema that the mask enforces, standard error the rest."""
    Path("list.json").write_text('{"type": "array", "items": {"type": "string"}}')
    run = cli("schema", "list.json", "--grammar")
    assert run.exit_code == 0
    assert json.loads(run.stdout)["maxItems"] == 256
    assert "(root): maxItems 256 is put in" in run.stderr
    assert "The mask enforces all of it." in run.stderr


def test_the_doctor_tells_what_is_known(cli) -> None:
    """Into a pipe, each finding is a line of JSON; the first says whether the mask is exact."""
    Path("list.json").write_text('{"type": "array", "items": {"type": "string"}}')
    run = cli("schema", "doctor", "list.json")
    assert run.exit_code == 0
    rows = [json.loads(line) for line in run.stdout.splitlines()]
    assert rows[0] == {"kind": "mask", "place": "", "message": "exact"}
    assert {"kind": "bounded", "place": "(root)", "message": "maxItems 256"} in rows


def test_a_type_that_is_text_has_no_schema(cli) -> None:
    """A regular expression is told apart, with exit code 2."""
    Path("plates_for_cli.py").write_text(
        'import gemma_structured as gs\nPLATE = gs.Regex("[A-Z]+")\n'
    )
    run = cli("schema", "plates_for_cli:PLATE")
    assert run.exit_code == 2
    assert "has no JSON Schema" in run.stderr
    assert cli("schema", "doctor", "plates_for_cli:PLATE").exit_code == 0


def test_only_the_doctor_is_a_command(cli) -> None:
    """Two words of which the first is another are wrong usage, and so is an unknown file."""
    assert "schema doctor" in cli("schema", "nurse", ACCIDENT).stderr
    assert cli("schema", "nurse", ACCIDENT).exit_code == 2
    assert cli("schema", "none.json").exit_code == 2
