"""Which model is asked: the names, the fallbacks, the budget; and the list of them."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest
from typer.testing import CliRunner

import gemma_structured as gs
from gemma_structured.cli.app import app
from gemma_structured.cli.models import build_model
from gemma_structured.testing import FakeOpenRouter
from gemma_structured.testing.openrouter_replies import Answer, Failure

MODEL = "google/gemma-4-26b-a4b-it"
PRICES = {
    MODEL: {"prompt": "0.00000007", "completion": "0.00000035", "input_cache_read": "0.00000001"},
    f"{MODEL}:free": {"prompt": "0", "completion": "0"},
    "arcee-ai/trinity-mini": {"prompt": "-1", "completion": "-1"},
}
ADA = '{"name":"Ada","age":36}'


@pytest.fixture
def fake(monkeypatch):
    """OpenRouter, as the environment names it."""
    with FakeOpenRouter(answer=ADA, pricing=PRICES) as server:
        monkeypatch.setenv("OPENROUTER_API_KEY", server.key)
        monkeypatch.setenv("OPENROUTER_BASE_URL", server.base_url)
        yield server


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs a command in a folder with a schema and a document, against the real models."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "person.json").write_text('{"type":"object","required":["name","age"]}')
    for name in "abc":
        (tmp_path / f"{name}.txt").write_text(f"Ada is 36, says {name}.")

    def invoke(*args):
        return CliRunner().invoke(app, list(args))

    return invoke


def extract(run, *args, files=("a.txt",)):
    return run("extract", "-s", "person.json", *args, *files)


def test_a_remote_model_extracts(fake, run) -> None:
    """The slug is what OpenRouter is asked for, and the record says what it cost."""
    ran = extract(run, "-m", f"openrouter:{MODEL}")
    record = json.loads(ran.stdout)
    assert ran.exit_code == 0
    assert record["output"] == {"name": "Ada", "age": 36}
    assert record["usage"]["cost"] == "0.001"
    assert "skipped" not in record
    assert fake.chat_requests[0].body["model"] == MODEL
    assert "0.001 USD" in ran.stderr


def test_the_fallback_answers_where_the_first_cannot(fake, run) -> None:
    """The record says who answered and why the other did not; both costs are counted."""
    fake.script(Answer(text="", error={"code": 400, "message": "no"}), *[Failure(status=503)] * 3)
    remote = ["-m", f"openrouter:{MODEL}", "--fallback", "openrouter:arcee-ai/trinity-mini"]
    assert extract(run, *remote).exit_code == 1, "a wrong request is no reason to ask another model"
    ran = extract(run, *remote)
    record = json.loads(ran.stdout)
    assert record["model"] == "arcee-ai/trinity-mini"
    assert record["skipped"][0]["model"] == MODEL
    assert record["skipped"][0]["error"] == "APIStatusError"
    assert "503" in record["skipped"][0]["message"]


def test_a_local_model_that_cannot_be_loaded_is_told_once(fake, run) -> None:
    """The fallbacks answer all the documents; without any it is exit code 3."""
    ran = extract(
        run, "-m", "./no-such-model", "--fallback", f"openrouter:{MODEL}", files=("a.txt", "b.txt")
    )
    assert ran.exit_code == 0, ran.stderr
    assert [json.loads(line)["model"] for line in ran.stdout.splitlines()] == [MODEL] * 2
    assert ran.stderr.count("./no-such-model cannot be loaded") == 1
    assert extract(run, "-m", "./no-such-model").exit_code == 3
    assert extract(run, "-m", "./no-such-model", "--fallback", "./nor-this").exit_code == 3


def test_where_every_model_fails_for_good_the_run_ends(fake, run, monkeypatch) -> None:
    """A wrong key fails every document: one message, exit code 3."""
    monkeypatch.setenv("OPENROUTER_API_KEY", "sk-or-v1-wrong-wrong-wrong")
    ran = extract(run, "-m", f"openrouter:{MODEL}", files=("a.txt", "b.txt", "c.txt"))
    assert ran.exit_code == 3
    assert "OPENROUTER_API_KEY" in ran.stderr
    assert "wrong-wrong" not in ran.stderr
    assert ran.stderr.count("Error:") == 1


def test_a_budget_is_kept_by_all_the_models_of_a_run(fake, run) -> None:
    """What could pass it is not sent, the run ends with exit code 3, and what is there is kept."""
    fake._answer = Answer(
        text=ADA, usage={"prompt_tokens": 400, "completion_tokens": 300, "cost": 0.0006}
    )
    options = ["-m", f"openrouter:{MODEL}", "--concurrency", "1", "-o", "out.jsonl"]
    ran = extract(run, *options, "--budget", "0.0025", files=("a.txt", "b.txt", "c.txt"))
    assert ran.exit_code == 3
    assert "budget of 0.0025" in ran.stderr
    assert len(fake.chat_requests) == 2
    assert "0.0012 USD" in ran.stderr
    assert extract(run, *options, "--resume", files=("a.txt", "b.txt", "c.txt")).exit_code == 0
    assert len(fake.chat_requests) == 3


@pytest.mark.parametrize("budget", ["-1", "much", "nan"])
def test_a_budget_without_sense_is_refused(fake, run, budget) -> None:
    """Exit code 2, before anything is loaded or asked."""
    ran = extract(run, "-m", f"openrouter:{MODEL}", f"--budget={budget}")
    assert ran.exit_code == 2
    assert "dollars" in ran.stderr
    assert fake.requests == []


def test_failed_documents_cost_too(fake, run) -> None:
    """Their attempts are in the sum, and in the record of the error."""
    fake._answer = "no idea"
    ran = extract(run, "-m", f"openrouter:{MODEL}", "--errors", "errors.jsonl")
    assert ran.exit_code == 1
    assert "0.003 USD" in ran.stderr
    assert json.loads(Path("errors.jsonl").read_text())["usage"]["cost"] == "0.003"


def test_names_make_models(fake) -> None:
    """One name a model, several a `FallbackModel` whose remote members share one budget."""
    single = build_model(f"openrouter:{MODEL}")
    assert isinstance(single, gs.OpenRouterModel)
    both = build_model(f"openrouter:{MODEL}", ["openrouter:a/b"], "0.50")
    assert both.name == f"{MODEL} | a/b"
    assert isinstance(both, gs.FallbackModel)
    budgets = {member.budget for member in both.models}
    assert [budget.limits[0] for budget in budgets] == [Decimal("0.50")]
    for name in ("", "openrouter:"):
        with pytest.raises(gs.InputError):
            build_model("openrouter:a/b", [name])


def test_models_are_listed_into_a_pipe_as_json(fake, run) -> None:
    """One line a model: its price as OpenRouter says it, its context, what it supports."""
    ran = run("models")
    records = {record["model"]: record for record in map(json.loads, ran.stdout.splitlines())}
    assert ran.exit_code == 0
    assert list(records) == sorted(PRICES)
    assert records[MODEL] == {
        "model": MODEL,
        "context_length": 131_072,
        "pricing": {
            "prompt": "0.00000007",
            "completion": "0.00000035",
            "request": "0",
            "image": "0",
            "cached": "0.00000001",
        },
        "supports": ["images", "json_object", "tools"],
        "parameters": ["max_tokens", "response_format", "tools"],
    }
    assert records["arcee-ai/trinity-mini"]["pricing"] is None


def test_models_are_found_by_words(fake, run) -> None:
    """All the words, in any case; none that fits is told with exit code 2."""
    names = [
        json.loads(line)["model"] for line in run("models", "GEMMA", "free").stdout.splitlines()
    ]
    assert names == [f"{MODEL}:free"]
    ran = run("models", "no-such-model")
    assert ran.exit_code == 2
    assert "no-such-model" in ran.stderr


def test_people_see_the_models_as_a_table(fake, terminal) -> None:
    """On a terminal: dollars a million tokens; free and unknown prices are called that."""
    code, text = terminal("from gemma_structured.cli import main; main()", "models")
    assert code == 0
    lines = {line.split()[1]: line for line in text.splitlines() if "/" in line}
    assert "0.07" in lines[MODEL]
    assert "0.35" in lines[MODEL]
    assert "131,072" in lines[MODEL]
    assert "images, json_object, tools" in lines[MODEL]
    assert lines[f"{MODEL}:free"].count("free") == 3
    assert lines["arcee-ai/trinity-mini"].count("?") == 2
    assert "{" not in text


def test_a_server_that_fails_is_told(run, monkeypatch) -> None:
    """Exit code 3 and one line, whatever the server says."""
    with FakeOpenRouter(key="sk-or-v1-another-another") as server:
        monkeypatch.setenv("OPENROUTER_BASE_URL", server.base_url)
        monkeypatch.setenv("OPENROUTER_API_KEY", "sk-or-v1-wrong-wrong-wrong")
        ran = run("models")
    assert ran.exit_code == 3
    assert "401" in ran.stderr
    assert "wrong-wrong" not in ran.stderr
    assert "Traceback" not in ran.stderr
