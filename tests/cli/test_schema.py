"""`gemma-structured schema` and its doctor."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

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


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "not JSON"),
        (bytes(range(256)), "not JSON"),
        ('{"type": "string"}'.encode("utf-16"), "not JSON"),
        (b"[" * 100_000 + b"]" * 100_000, "not JSON"),
        (b'{"items":' * 100_000 + b"{}" + b"}" * 100_000, "not JSON"),
        (b'{"items":' * 250 + b"{}" + b"}" * 250, "200 levels deep"),
        (b'{"maximum": ' + b"9" * 5000 + b"}", "not JSON"),
        (b'{"minimum": NaN}', "/minimum: nan"),
        (b'{"maximum": 1e999}', "/maximum: inf"),
        (b'{"const": "\\ud800"}', "/const: A string holds half a surrogate pair"),
        (b"3", "an object or a boolean"),
        (b"false", "`false`"),
        (b'{"$ref": "#"}', "applies itself"),
        (b'{"$ref": "file:///etc/passwd"}', "not fetched"),
        (b'{"$schema": "http://elsewhere/draft"}', "draft"),
        (b'{"pattern": "(("}', "/pattern: "),
        (b'{"type": "integer", "minimum": 2, "maximum": 1}', "contradict"),
    ],
)
def test_the_doctor_refuses_what_is_no_schema(cli, content: bytes, told: str) -> None:
    """Whatever is in the file: exit code 2, and what is wrong where."""
    Path("odd.json").write_bytes(content)
    run = cli("schema", "doctor", "odd.json")
    assert run.exit_code == 2, run.stderr
    assert run.stderr.startswith("Error: ")
    assert told in run.stderr
    assert len(run.stderr) < 2500
    assert run.stdout == ""


@pytest.mark.parametrize(
    "schema",
    [
        {"enum": [f"value {n}" for n in range(50_000)]},
        {"type": "string", "pattern": "^(a+)+$"},
        {"type": "string", "pattern": r"^(a|aa)+\1(?=b)"},
        {"type": "string", "pattern": "^" + "ab" * 20_000 + "$"},
        {"type": "number", "multipleOf": 1e-300, "minimum": 1e300},
        json.loads('{"items":' * 190 + "{}" + "}" * 190),
        {"allOf": [{"anyOf": [{"required": [f"{i} {j}"]} for j in range(5)]} for i in range(40)]},
    ],
    ids=["enum", "repetition", "backreference", "length", "numbers", "depth", "product"],
)
def test_the_doctor_examines_hostile_schemas(cli, schema: object) -> None:
    """In bounded time, and without a bug."""
    Path("odd.json").write_text(json.dumps(schema))
    started = time.process_time()
    run = cli("schema", "doctor", "odd.json")
    assert time.process_time() - started < 10
    assert run.exit_code == 0, run.stderr
    assert json.loads(run.stdout.splitlines()[0])["kind"] == "mask"


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
