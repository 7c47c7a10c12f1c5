"""`gemma-structured extract` on scripted answers."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gemma_structured.exceptions import ContextLengthError, LoadError, TransportError


def test_objects_go_into_a_pipe_as_json_lines(cli) -> None:
    """Without a terminal, standard output has one record a document and nothing else."""
    run = cli.extract(*cli.write(a="Ada", b="Bob"))
    records = [json.loads(line) for line in run.stdout.splitlines()]
    assert run.exit_code == 0
    assert {record["path"]: record["output"] for record in records} == {
        "a.txt": {"name": "Ada", "age": 1},
        "b.txt": {"name": "Bob", "age": 1},
    }
    assert records[0]["model"] == "scripted"
    assert records[0]["usage"]["sampled_tokens"] == len('{"name":"Ada","age":1}')
    assert "2 extracted" in run.stderr


def test_standard_input_is_a_document(cli) -> None:
    """Without files the piped text is read; its path is `-`."""
    run = cli.extract(stdin="Ada")
    assert json.loads(run.stdout)["path"] == "-"
    assert json.loads(run.stdout)["output"]["name"] == "Ada"


def test_a_list_of_files_may_be_piped_in(cli) -> None:
    """`--files-from -` names documents on standard input, each of them once."""
    cli.write(a="Ada", b="Bob")
    run = cli.extract("--files-from", "-", "./a.txt", stdin="a.txt\n\nb.txt\na.txt\n")
    assert sorted(json.loads(line)["path"] for line in run.stdout.splitlines()) == [
        "a.txt",
        "b.txt",
    ]


def test_a_python_type_may_be_named(cli) -> None:
    """`--type module:Name` finds a module in the current folder, and a nested name in it."""
    Path("app_models_for_cli.py").write_text(
        "import pydantic\n"
        "class Outer:\n"
        "    class Person(pydantic.BaseModel):\n"
        "        name: str\n"
        "        age: int\n"
        "        tags: list[str] = ['none']\n"
    )
    cli.answer_with(lambda _: '{"name":"Ada","age":1,"tags":["x"]}')
    run = cli("extract", "-m", "scripted", "-t", "app_models_for_cli:Outer.Person", stdin="Ada")
    assert run.exit_code == 0, run.stderr
    assert json.loads(run.stdout)["output"] == {"name": "Ada", "age": 1, "tags": ["x"]}


def test_options_reach_the_model(cli) -> None:
    """Instruction, examples and budgets are those of the task."""
    Path("shots.jsonl").write_text('{"input": "Zoe, 9", "output": {"name": "Zoe", "age": 9}}\n\n')
    seen = []
    bind = cli.model.bind
    cli.model.bind = lambda task: seen.append(task) or bind(task)
    options = [
        "--max-tokens",
        "7",
        "--temperature",
        "0.5",
        "--seed",
        "3",
        "--max-attempts",
        "2",
        "--timeout",
        "9",
    ]
    run = cli.extract(*options, "--instruction", "Read.", "--examples", "shots.jsonl", stdin="Ada")
    assert run.exit_code == 0, run.stderr
    (task,) = seen
    assert (task.instruction, task.max_tokens, task.max_attempts, task.timeout) == (
        "Read.",
        7,
        2,
        9,
    )
    assert (task.sampling.temperature, task.sampling.seed) == (0.5, 3)
    assert [(each.input, each.output) for each in task.examples] == [
        ("Zoe, 9", {"name": "Zoe", "age": 9})
    ]


def test_a_failing_document_does_not_stop_the_rest(cli) -> None:
    """It goes to the errors with what was wrong, without its text; the exit code says so."""

    def answer(request):
        if request.input == "bad":
            return '{"name":"secret words","age":"old"}'
        if request.input == "long":
            return ContextLengthError(prompt_tokens=9, context_length=8)
        return {"name": request.input, "age": 1}

    cli.answer_with(answer)
    Path("latin.txt").write_bytes(b"caf\xe9")
    files = [*cli.write(a="Ada", b="bad", c="long", empty=" \n"), "latin.txt", "missing.txt"]
    run = cli.extract("-o", "out.jsonl", "--errors", "errors.jsonl", *files)
    assert run.exit_code == 1
    assert [record["path"] for record in cli.records()] == ["a.txt"]
    errors = {record["path"]: record for record in cli.records("errors.jsonl")}
    assert {path: record["error"] for path, record in errors.items()} == {
        "b.txt": "OutputValidationError",
        "c.txt": "ContextLengthError",
        "empty.txt": "InputError",
        "latin.txt": "InputError",
        "missing.txt": "InputError",
    }
    assert errors["b.txt"]["issues"][0]["path"] == "/age"
    assert errors["b.txt"]["attempts"] == 3
    assert "byte 3" in errors["latin.txt"]["message"]
    assert "No such file" in errors["missing.txt"]["message"]
    assert "secret words" not in Path("errors.jsonl").read_text()
    assert "1 extracted, 5 failed" in run.stderr


def test_without_an_errors_file_failures_are_told(cli) -> None:
    """Standard error names each document that failed, without a traceback."""
    cli.answer_with(lambda _: TransportError("The connection was cut."))
    run = cli.extract(*cli.write(a="Ada", b="Bob"))
    assert run.exit_code == 1
    assert run.stdout == ""
    assert "a.txt: The connection was cut." in run.stderr
    assert "Traceback" not in run.stderr


def test_what_fails_every_document_ends_the_run(cli) -> None:
    """A model that cannot be loaded is exit code 3, at the first document."""
    cli.answer_with(lambda _: LoadError("No weights.", hint="Download them."))
    run = cli.extract("--concurrency", "1", *cli.write(a="Ada", b="Bob"))
    assert run.exit_code == 3
    assert "Error: No weights. Download them." in run.stderr
    assert len(cli.model.requests) == 1


def test_results_are_written_although_another_document_ends_the_run(cli) -> None:
    """What came at the same time as the fatal error is kept."""
    cli.answer_with(
        lambda request: LoadError("gone") if request.input == "bad" else {"name": "x", "age": 1}
    )
    run = cli.extract("-o", "out.jsonl", "--concurrency", "4", *cli.write(a="Ada", z="bad"))
    assert run.exit_code == 3
    assert [record["path"] for record in cli.records()] in (["a.txt"], [])


def test_an_output_is_never_lost(cli) -> None:
    """A file that holds something is refused, gone on with, or overwritten when that is said."""
    (path,) = cli.write(a="Ada")
    assert cli.extract("-o", "out.jsonl", path).exit_code == 0
    run = cli.extract("-o", "out.jsonl", path)
    assert run.exit_code == 2
    assert "--resume" in run.stderr
    assert cli.extract("-o", "out.jsonl", "--resume", path).exit_code == 0
    assert len(cli.records()) == len(cli.model.requests) == 1
    assert cli.extract("-o", "out.jsonl", "--overwrite", path).exit_code == 0
    assert len(cli.records()) == 1
    assert len(cli.model.requests) == 2


def test_resuming_does_what_is_missing(cli) -> None:
    """Failed, new and changed documents are done; the errors are those of the last run."""
    failing = {"Bob"}
    cli.answer_with(
        lambda request: (
            TransportError("cut") if request.input in failing else {"name": request.input, "age": 1}
        )
    )
    args = ["-o", "out.jsonl", "--errors", "errors.jsonl", "--resume"]
    assert cli.extract(*args, *cli.write(a="Ada", b="Bob")).exit_code == 1
    failing.clear()
    run = cli.extract(*args, *cli.write(a="Ada", b="Bob", c="Cid"))
    assert run.exit_code == 0
    assert "2 extracted, 1 there already" in run.stderr
    assert cli.records("errors.jsonl") == []
    cli.extract(*args, *cli.write(a="Ann"))
    assert [record["output"]["name"] for record in cli.records()] == ["Ada", "Bob", "Cid", "Ann"]


def test_a_torn_last_line_is_done_again(cli) -> None:
    """What a kill left of a record is cut off, and that document extracted again."""
    files = cli.write(a="Ada", b="Bob")
    cli.extract("-o", "out.jsonl", "--concurrency", "1", *files)
    output = Path("out.jsonl")
    output.write_bytes(output.read_bytes()[:-10])
    run = cli.extract("-o", "out.jsonl", "--resume", *files)
    assert "unfinished last line" in run.stderr
    assert [record["path"] for record in cli.records()] == ["a.txt", "b.txt"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--schema", "person.json"], "either --type or --schema"),
        (["--type", "nonsense"], "module:Type"),
        (["--type", "no_such_module:T"], "no_such_module cannot be imported"),
        (["--type", "json:NoSuchName"], "json has no NoSuchName"),
        (["--type", "math:pi"], "3.14"),
        (["--resume"], "--resume needs an output file"),
        (["-o", "x", "--resume", "--overwrite"], "exclude each other"),
        (["-o", "x", "--errors", "./x"], "different files"),
        (["-o", "no/such/folder/x"], "cannot be written"),
        (["--examples", "none.jsonl"], "none.jsonl cannot be read"),
        (["--examples", "bad.jsonl"], "bad.jsonl, line 2"),
        (["--files-from", "none.txt"], "none.txt cannot be read"),
        (["--files-from", "-"], "names no documents"),
        (["--max-tokens", "0"], "--max-tokens"),
        (["--temperature", "nan"], "temperature"),
        (["--no-such-option"], "--no-such-option"),
    ],
)
def test_wrong_usage_is_told(cli, args, message) -> None:
    """Exit code 2 and one message that says what to do; no traceback, and nothing is asked."""
    Path("bad.jsonl").write_text(
        '{"input": "x", "output": {"name": "x", "age": 1}}\n{"input": "x"}\n'
    )
    wants_type = args[0] in {"--type", "--schema"}
    base = ["extract", "-m", "scripted", *([] if wants_type else ["--schema", "person.json"])]
    if args[0] == "--schema":
        args = ["--type", "math:pi", *args]
    run = cli(*base, *args, stdin="")
    assert run.exit_code == 2
    assert message in " ".join(run.stderr.split())
    assert "Traceback" not in run.stderr
    assert cli.model.requests == []


@pytest.mark.parametrize("content", ["{", '"x"', '{"type": "strnig"}', "\xff"])
def test_a_schema_that_cannot_be_used_is_told(cli, content) -> None:
    """Exit code 2, and where in the schema."""
    Path("bad.json").write_bytes(content.encode("latin-1"))
    run = cli("extract", "-m", "scripted", "--schema", "bad.json", stdin="x")
    assert run.exit_code == 2
    assert "Error: " in run.stderr
    assert "Traceback" not in run.stderr


def test_a_bug_is_called_one(cli) -> None:
    """Any other error is exit code 4; `--debug` shows where it comes from."""
    cli.answer_with(lambda _: 1 / 0)
    run = cli.extract(stdin="Ada")
    assert run.exit_code == 4
    assert "ZeroDivisionError" in run.stderr
    assert "Traceback" not in run.stderr
    assert "Traceback" in cli.extract("--debug", stdin="Ada").stderr


SLOW = """
import signal, sys, time
from gemma_structured.cli import app
from gemma_structured.testing import ScriptedModel

def answer(request):
    time.sleep(0.05)
    return {"name": request.input, "age": 1}

signal.signal(signal.SIGINT, signal.default_int_handler)  # a background shell has it ignored
app.build_model = lambda *names: ScriptedModel(answer)
sys.exit(app.run())
"""


def start(*args: str, **streams) -> subprocess.Popen[bytes]:
    """Run `extract` in a process of its own, 50 ms a document."""
    command = [sys.executable, "-c", SLOW, "extract", "-m", "x", "-s", "person.json", *args]
    return subprocess.Popen(command, **streams)


def wait_for_lines(path: Path, count: int) -> None:
    """Wait until a file has so many lines."""
    until = time.monotonic() + 60
    while not path.exists() or path.read_bytes().count(b"\n") < count:
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_killed_run_is_gone_on_with(cli) -> None:
    """Killed three times without warning, the run still ends with every document exactly once."""
    files = cli.write(**{f"d{i}": f"N{i}" for i in range(16)})
    for lines in (2, 5, 9):
        process = start("-o", "out.jsonl", "--resume", *files, stderr=subprocess.DEVNULL)
        wait_for_lines(Path("out.jsonl"), lines)
        process.kill()
        process.wait()
    with Path("out.jsonl").open("ab") as output:
        output.write(b'{"path": "d15.txt", "sha')
    assert cli.extract("-o", "out.jsonl", "--resume", *files).exit_code == 0
    assert sorted(record["path"] for record in cli.records()) == sorted(files)


def test_an_interrupted_run_keeps_what_it_has(cli) -> None:
    """Ctrl-C ends the run at once with exit code 130, a word, and whole records."""
    files = cli.write(**{f"d{i}": f"N{i}" for i in range(200)})
    process = start("-o", "out.jsonl", *files, stderr=subprocess.PIPE)
    wait_for_lines(Path("out.jsonl"), 2)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"Interrupted." in said
    assert b"Traceback" not in said
    assert 2 <= len(cli.records()) < 200


def test_two_runs_do_not_write_to_one_file(cli) -> None:
    """The second one is refused while the first is at work."""
    files = cli.write(**{f"d{i}": f"N{i}" for i in range(200)})
    process = start("-o", "out.jsonl", *files, stderr=subprocess.DEVNULL)
    try:
        wait_for_lines(Path("out.jsonl"), 1)
        run = cli.extract("-o", "out.jsonl", "--resume", *files)
    finally:
        process.kill()
        process.wait()
    assert run.exit_code == 2
    assert "Another run" in run.stderr


def test_a_closed_pipe_ends_quietly(cli) -> None:
    """Where nobody reads on (`| head -1`), the run ends without a traceback."""
    files = cli.write(**{f"d{i}": f"N{i}" for i in range(200)})
    process = start(*files, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr is not None
    said = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=30) != 0
    assert b"Traceback" not in said


def test_people_see_a_table(cli, terminal) -> None:
    """On a terminal, objects are a table with a column a field, and long work has a bar."""
    files = cli.write(a="Ada", b="Bob")
    code, text = terminal(SLOW, "extract", "-m", "x", "-s", "person.json", *files)
    assert code == 0
    for word in ("document", "name", "age", "a.txt", "Ada", "Bob", "2 extracted"):
        assert word in text
    assert "{" not in text
