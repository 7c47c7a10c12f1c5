"""The Berkeley Function Calling Leaderboard's data and checker, from its package `bfcl-eval`.

The package pins what clashes with everything, so it is installed apart, without its dependencies:

    pip install --no-deps --target .bfcl bfcl-eval

Its checker is used as it is. It looks up only one thing elsewhere, whether a model's names of functions
have underscores for dots, in a table whose import needs the SDKs of every vendor; that table is replaced
by one entry that says yes.
"""

from __future__ import annotations

import copy
import json
import random
import sys
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import gemma_structured as gs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SETS = ("simple_python", "multiple", "parallel")
INSTALL = "pip install --no-deps --target {} bfcl-eval"


@dataclass(frozen=True)
class Question:
    """One entry: what is asked, the functions as the data describes them, and the right calls."""

    id: str
    set: str
    text: str
    functions: list[dict[str, Any]]
    answers: list[dict[str, Any]]

    @property
    def tools(self) -> list[gs.Tool[..., Any]]:
        """The functions, with their parameters in JSON Schema."""
        return [
            gs.Tool.from_schema(
                function["name"].replace(".", "_"),
                to_json_schema(function["parameters"]),
                lambda arguments: arguments,
                description=function["description"],
            )
            for function in self.functions
        ]

    @property
    def parallel(self) -> tuple[int, int]:
        """How many calls may be made: one, but in the set of parallel ones."""
        return (1, 8) if self.set == "parallel" else (1, 1)


def read(folder: Path, set_: str, sample: int, seed: int) -> list[Question]:
    """Draw questions from a set; a larger sample begins with the smaller one."""
    data = _data(folder)
    entries = list(_lines(data / f"BFCL_v4_{set_}.json"))
    answers = {e["id"]: e for e in _lines(data / "possible_answer" / f"BFCL_v4_{set_}.json")}
    random.Random(seed).shuffle(entries)
    return [
        Question(
            id=entry["id"],
            set=set_,
            text=entry["question"][0][0]["content"],
            functions=entry["function"],
            answers=answers[entry["id"]]["ground_truth"],
        )
        for entry in entries[:sample]
    ]


def to_json_schema(parameters: dict[str, Any]) -> dict[str, Any]:
    """A function's parameters in JSON Schema, types mapped as the leaderboard does for servers.

    Unlike there, objects whose members are named are closed: a signature takes no other arguments.
    """
    from bfcl_eval.constants.type_mappings import GORILLA_TO_OPENAPI

    def convert(node: dict[str, Any]) -> dict[str, Any]:
        node = copy.deepcopy(node)
        written = node.get("type", "string")
        node["type"] = GORILLA_TO_OPENAPI.get(written, "string")
        if written == "float":
            told = f"{node.get('description', '')} This is a float type value."
            node |= {"format": "float", "description": told.strip()}
        if isinstance(node.get("properties"), dict):
            node["properties"] = {k: convert(v) for k, v in node["properties"].items()}
            node["additionalProperties"] = False
        if isinstance(node.get("items"), dict):
            node["items"] = convert(node["items"])
        return node

    return convert(parameters)


def matches(question: Question, calls: list[tuple[str, dict[str, Any]]]) -> bool:
    """Whether the leaderboard's checker takes the calls for right."""
    from bfcl_eval.constants.enums import Language

    _stand_in_for_the_table()
    from bfcl_eval.eval_checker.ast_eval.ast_checker import ast_checker

    output = [{name: arguments} for name, arguments in calls]
    verdict = ast_checker(
        question.functions, output, question.answers, Language.PYTHON, question.set, _MODEL
    )
    return bool(verdict["valid"])


_MODEL = "ours"


def _stand_in_for_the_table() -> None:
    name = "bfcl_eval.constants.model_config"
    if name not in sys.modules:
        table = ModuleType(name)
        table.MODEL_CONFIG_MAPPING = {_MODEL: SimpleNamespace(underscore_to_dot=True)}
        sys.modules[name] = table


def _data(folder: Path) -> Path:
    if not (folder / "bfcl_eval").is_dir():
        raise SystemExit(f"There is no bfcl_eval in {folder}. Run: {INSTALL.format(folder)}")
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    return folder / "bfcl_eval" / "data"


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)
