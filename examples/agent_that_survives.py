"""An agent with three real tools (a database, a calculator, a search of files) that can be killed.

Every state of its conversation is in SQLite before anything happens, so a second run goes on where
the first one ended, and makes no call again that the model has not asked for again.
"""

from __future__ import annotations

import operator
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Annotated

from pydantic import Field

import gemma_structured as gs

ANIMALS = {"elephant": 6000, "lion": 190, "mouse": 1}
NOTES = {"tea.txt": "Green tea, two minutes.", "coffee.txt": "Coffee, four minutes, not boiling."}
OPERATORS = {"+": operator.add, "-": operator.sub, "*": operator.mul}


def make_tools(folder: Path) -> list[gs.Tool[..., object]]:
    """Three tools over what is in a folder."""
    database = folder / "animals.db"
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("CREATE TABLE IF NOT EXISTS animals (name TEXT PRIMARY KEY, weight INT)")
        connection.executemany("INSERT OR REPLACE INTO animals VALUES (?, ?)", ANIMALS.items())
    for name, text in NOTES.items():
        (folder / name).write_text(text)

    @gs.tool
    def query(sql: Annotated[str, gs.Code("sql"), Field(max_length=80)]) -> list[list[object]]:
        """Query the table animals(name, weight)."""
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            return [list(row) for row in connection.execute(sql)]

    @gs.tool
    def calculate(expression: Annotated[str, gs.Regex(r"\d{1,4} [-+*] \d{1,4}")]) -> int:
        """Calculate an expression."""
        left, sign, right = expression.split()
        return OPERATORS[sign](int(left), int(right))

    @gs.tool(concurrent=True)
    def search(word: Annotated[str, gs.Regex("[a-z]{3,10}")]) -> list[str]:
        """Find the files that hold a word."""
        return sorted(f.name for f in folder.glob("*.txt") if word in f.read_text().lower())

    return [query, calculate, search]


def exchange(question: str, tool: str, written: dict[str, str], value: object, answer: str) -> list:
    """A question that a tool answered: base models learn the form from a few of them."""
    call = gs.ToolCall(tool, written)
    returned = gs.ToolReturn(tool, value, call.id)
    return [
        gs.UserMessage(question),
        gs.AssistantMessage("", None, (call,)),
        gs.ToolMessage(returned),
        gs.AssistantMessage(f'"{answer}"'),
    ]


EARLIER = gs.Conversation(
    *exchange("How much is 12 + 30?", "calculate", {"expression": "12 + 30"}, 42, "42"),
    *exchange("Which file is about tea?", "search", {"word": "tea"}, ["tea.txt"], "tea.txt"),
    *exchange(
        "How heavy is the mouse?",
        "query",
        {"sql": "SELECT weight FROM animals WHERE name = 'mouse'"},
        [[1]],
        "1",
    ),
)


def answer(
    model: gs.Model, folder: Path, question: str, *, parallel: tuple[int, int] = (1, 1)
) -> gs.AgentOutput[str]:
    """Ask, or go on with what was asked before in this folder."""
    store = gs.ConversationStore(folder / "conversations.db")
    agent = gs.Agent(
        model,
        tools=make_tools(folder),
        output_type=Annotated[str, Field(max_length=12)],
        parallel=parallel,
        max_steps=4,
        max_tokens=200,
    )
    conversation = store.get("animals") or EARLIER.user(question)
    return agent.run(conversation, keep=store.keeper("animals"))


def main() -> None:
    model = gs.LocalModel("embedded")
    for question in ("How heavy is the lion?", "Which file is about coffee?"):
        with tempfile.TemporaryDirectory() as name:
            end = answer(model, Path(name), question)
            for message in end.conversation[len(EARLIER) :]:
                print(message)
            print(end.output, end.usage.cached_tokens, "of", end.usage.prompt_tokens, "cached")


if __name__ == "__main__":
    main()
