"""Agents from end to end: three real tools, real models and servers, and runs that are killed."""

from __future__ import annotations

import json
import runpy
import signal
import subprocess
import sys
import textwrap
from collections import Counter
from pathlib import Path

import pytest

import gemma_structured as gs
from gemma_structured.testing import FakeOpenRouter
from gemma_structured.testing.openrouter_replies import Answer

EXAMPLE = Path(__file__).parents[1] / "examples" / "agent_that_survives.py"
QUESTION = "How much more than two lions does the file about coffee's animal weigh?"

CHILD = textwrap.dedent(
    """
    import json, os, runpy, signal, sys
    from pathlib import Path
    import gemma_structured as gs
    import gemma_structured.agent as agent

    example, folder, base_url, key, where, count, question = sys.argv[1:]
    count = int(count)

    def die_at(kind):
        global count
        if kind == where:
            count -= 1
            if count == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    put, run = gs.ConversationStore.put, agent.run_call

    def killing_put(self, name, conversation):
        put(self, name, conversation)
        die_at("state")

    def killing_run(tool, call, context):
        with open(Path(folder) / "made.log", "a") as log:
            log.write(json.dumps([call.name, dict(call.written)]) + "\\n")
        die_at("call")
        return run(tool, call, context)

    gs.ConversationStore.put, agent.run_call = killing_put, killing_run
    if base_url == "embedded":
        model, parallel = gs.LocalModel("embedded"), (1, 1)
    else:
        model, parallel = gs.OpenRouterModel("a/b", api_key=key, base_url=base_url), (1, 4)
    end = runpy.run_path(example)["answer"](model, Path(folder), question, parallel=parallel)
    print("output:", end.output)
    """
)


def run_child(
    folder: Path, base_url: str, key: str, *, where: str = "never", count: int = 1,
    question: str = QUESTION,
) -> subprocess.CompletedProcess[str]:  # fmt: skip
    """A run in a process of its own, which kills itself at some state, or inside some call."""
    arguments = [str(EXAMPLE), str(folder), base_url, key, where, str(count), question]
    return subprocess.run(
        [sys.executable, "-c", CHILD, *arguments], capture_output=True, text=True, timeout=240, check=False
    )  # fmt: skip


def made(folder: Path) -> Counter[str]:
    """Which calls were made, how often."""
    return Counter((folder / "made.log").read_text().splitlines())


SQL = "SELECT weight FROM animals WHERE name = 'lion'"
SCRIPT = (
    Answer(
        text="Let me look.",
        tool_calls=[("query", json.dumps({"sql": SQL})), ("search", '{"word":"coffee"}'),
                    ("search", '{"word":"tea"}')],
        finish_reason="tool_calls",
    ),
    Answer(text=None, tool_calls=[("calculate", '{"expression":"190 * 2"}')], finish_reason="tool_calls"),
    Answer(text='"380"'),
)  # fmt: skip
CALLS = {
    json.dumps(["query", {"sql": SQL}]),
    json.dumps(["search", {"word": "coffee"}]),
    json.dumps(["search", {"word": "tea"}]),
    json.dumps(["calculate", {"expression": "190 * 2"}]),
}
STATES = 10
"""What a whole run keeps: the question, three turns, and before and after the calls of query, search and
calculate, the two searches together."""


def test_three_tools_on_a_server(tmp_path):
    """The tools really run, what they return is sent back, and the typed answer ends it."""
    with FakeOpenRouter(*SCRIPT) as server:
        assert server.key is not None
        done = run_child(tmp_path, server.base_url, server.key)
        assert done.stdout == "output: 380\n", done.stderr
        assert made(tmp_path) == dict.fromkeys(CALLS, 1)
        sent = [request.body["messages"] for request in server.chat_requests]
    returns = [m["content"] for m in sent[-1] if m["role"] == "tool"]
    assert returns[-4:] == ["[[190]]", '["coffee.txt"]', '["tea.txt"]', "380"]
    assert [m["role"] for m in sent[1]][-4:] == ["assistant", "tool", "tool", "tool"]
    kept = gs.ConversationStore(tmp_path / "conversations.db").get("animals")
    assert kept[-1] == gs.AssistantMessage('"380"')


@pytest.mark.parametrize(
    ("where", "count"),
    [*(("state", n) for n in range(1, STATES)), *(("call", n) for n in range(1, 5))],
)
def test_a_killed_run_goes_on(tmp_path, where, count):
    """Killed with SIGKILL at any state, or inside any call, it resumes and repeats no call."""
    with FakeOpenRouter(*SCRIPT) as server:
        assert server.key is not None
        killed = run_child(tmp_path, server.base_url, server.key, where=where, count=count)
        assert killed.returncode == -signal.SIGKILL
        done = run_child(tmp_path, server.base_url, server.key)
        assert done.stdout == "output: 380\n", done.stderr
        assert len(server.chat_requests) == 3
        sent = server.chat_requests[-1].body["messages"]
    calls = made(tmp_path)
    assert set(calls.values()) == {1}
    assert set(calls) <= CALLS
    returns = [m["content"] for m in sent if m["role"] == "tool"][-4:]
    interrupted = sum("interrupted" in text for text in returns)
    # A call that was begun is not made again: its return says that nobody knows what it did.
    assert len(calls) + interrupted >= 4
    if where == "call":
        assert interrupted


@pytest.mark.parametrize(
    ("question", "expected", "answer"),
    [
        ("How heavy is the lion?", ("query", "'lion'"), "190"),
        ("Which file is about coffee?", ("search", "coffee"), "coffee.txt"),
    ],
)
def test_tools_on_the_embedded_model(local_model, tmp_path, question, expected, answer):
    """A real model calls the right tool with arguments that fit, and answers with its return."""
    example = runpy.run_path(str(EXAMPLE))
    end = example["answer"](local_model, tmp_path, question)
    _, asked, returned, _ = end.conversation[len(example["EARLIER"]) :]
    (call,) = asked.tool_calls
    assert call.name == expected[0]
    assert expected[1] in str(call.written)
    assert not returned.returns[0].is_error
    assert end.output == answer
    assert 0 < end.usage.cached_tokens < end.usage.prompt_tokens


def test_a_named_tool_on_the_embedded_model(local_model, tmp_path):
    """The calculator, which so small a model does not choose of itself, is called and calculates."""
    example = runpy.run_path(str(EXAMPLE))
    tools = example["make_tools"](tmp_path)
    agent = gs.Agent(
        local_model, tools=tools, tool_choice="calculate", parallel=(1, 1), max_tokens=99
    )
    for event in agent.stream(example["EARLIER"].user("How much is 7 * 6?")):
        if isinstance(event, gs.AgentReturn):
            break
    assert event.call.name == "calculate"
    assert event.returned.value == eval(event.call.written["expression"])


def test_the_embedded_model_ends_its_calls(local_model):
    """A base model, which never writes its end token, makes as many calls as it was shown."""

    @gs.tool
    def weather(city: str) -> None:
        """Tell how warm it is."""

    def ask(one: str, other: str) -> str:
        return f"How warm is it in {one} and in {other}?"

    earlier = gs.Conversation()
    for cities in (("Oslo", "Rome"), ("Lima", "Cairo")):
        calls = tuple(gs.ToolCall("weather", {"city": city}) for city in cities)
        earlier = earlier.user(ask(*cities)).add(gs.AssistantMessage("", None, calls))
    calls = local_model.call_tools(earlier.user(ask("Paris", "Quito")), [weather], max_tokens=200)
    assert [call.arguments["city"] for call in calls] == ["Paris", "Quito"]


def test_a_killed_run_of_the_embedded_model_goes_on(local_model, tmp_path):
    """Killed before its call, it resumes in another process: the call counts as interrupted."""
    example = runpy.run_path(str(EXAMPLE))
    question = "How heavy is the lion?"
    killed = run_child(tmp_path, "embedded", "", where="call", question=question)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    before = gs.ConversationStore(tmp_path / "conversations.db").get("animals")
    assert before.pending_calls == ()
    assert before[-1].returns[0].is_error
    end = example["answer"](local_model, tmp_path, question)
    assert end.conversation[: len(before)] == before
    assert isinstance(end.output, str)
    assert len(end.output) <= 12
    assert sum(made(tmp_path).values()) == 1
