"""Calls of functions on the Berkeley Function Calling Leaderboard, on the embedded model's weights.

    pip install --no-deps --target .bfcl bfcl-eval
    python benchmarks/function_calling.py --bfcl .bfcl
    python benchmarks/function_calling.py --bfcl .bfcl --sample 50 --seed 1 --json results.json --resume

Its sets `simple_python`, `multiple` and `parallel`, a sample of each. The lanes have the same weights,
decode greedily, and are shown the same functions and the same earlier exchanges (a base model learns the
form of a call from those). They differ in the form of a call and in what is held:

- ours, prompted: JSON between two tags, the form of families without one of their own; held.
- ours, native: FunctionGemma's form, whose control tokens stand in place of unused ones. That family
  has this architecture and vocabulary, but these weights were never trained on its tokens: what is
  measured is the form, not the model.
- outlines: JSON, by a schema of the calls; held by outlines, with the backend named.
- free: the prompt of the first lane, and nothing held. Every call between tags that is JSON is read.

A text parses if it holds calls, each a name and an object; it validates if every name is offered and its
arguments are what the parameters' JSON Schema says; it matches if the leaderboard's own checker takes it.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from bfcl import SETS, matches, read
from jsonschema import Draft202012Validator
from rich.console import Console
from rich.progress import track
from rich.table import Table
from transformers import StoppingCriteria, StoppingCriteriaList

import gemma_structured as gs
from gemma_structured.schema.free_text import FREE_TEXT
from gemma_structured.testing.tiny_tokenizers import build_tokenizer
from gemma_structured.tools import ToolOffer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bfcl import Question
    from transformers import PreTrainedTokenizerBase

    Calls = list[tuple[str, dict[str, Any]]]
    Lane = Callable[[Question], tuple[str, Calls]]

MAX_TOKENS = 1000
BOUNDS = gs.Bounds(integer_digits=9, string_length=60, items=10, properties=8, key_length=32)
"""A base model may go on with a text, a list or a number for ever; with these, calls end in time."""
ONE_CALL = [
    (
        "How warm is it in Oslo today, in Celsius?",
        [("get_weather", {"city": "Oslo", "unit": "celsius"})],
    ),
    ("Book a table for 4 at Luigi's.", [("book_table", {"restaurant": "Luigi's", "seats": 4})]),
]
SOME_CALLS = [
    (
        "How warm is it in Oslo and in Rome today, in Celsius?",
        [
            ("get_weather", {"city": "Oslo", "unit": "celsius"}),
            ("get_weather", {"city": "Rome", "unit": "celsius"}),
        ],
    ),
    (
        "Book a table for 4 at Luigi's, one for 2 at Chez Anne and one for 6 at Asado.",
        [
            ("book_table", {"restaurant": "Luigi's", "seats": 4}),
            ("book_table", {"restaurant": "Chez Anne", "seats": 2}),
            ("book_table", {"restaurant": "Asado", "seats": 6}),
        ],
    ),
]


@dataclass(frozen=True)
class Record:
    """What one lane made of one question."""

    lane: str
    set: str
    id: str
    text: str
    parses: bool
    validates: bool
    matches: bool
    seconds: float


def conversation(question: Question) -> gs.Conversation:
    """The earlier exchanges, and the question."""
    earlier: list[gs.UserMessage | gs.AssistantMessage] = []
    for asked, calls in SOME_CALLS if question.parallel[1] > 1 else ONE_CALL:
        made = tuple(gs.ToolCall(name, written) for name, written in calls)
        earlier += [gs.UserMessage(asked), gs.AssistantMessage("", None, made)]
    return gs.Conversation(*earlier).user(question.text)


def ours(model: gs.LocalModel) -> Lane:
    """A lane of this package."""

    def call(question: Question) -> tuple[str, Calls]:
        try:
            turn = _turns(model, question)(conversation(question))
        except gs.IncompleteOutputError as error:
            return error.text, []
        except gs.GemmaStructuredError as error:
            return repr(error), []
        calls = [(each.name, dict(each.written)) for each in turn.calls]
        return "\n".join(json.dumps(each, ensure_ascii=False) for each in calls), calls

    return call


def _turns(model: gs.LocalModel, question: Question) -> Any:
    offer = ToolOffer.of(question.tools, choice="required", parallel=question.parallel)
    return model.turns(FREE_TEXT, offer, bounds=BOUNDS, max_tokens=MAX_TOKENS, max_attempts=1)


def outlines(backend: str, model: gs.LocalModel) -> Lane:
    """A lane of outlines with one of its backends, which is built once and not for each question."""
    from outlines import Generator, from_transformers
    from outlines.backends import _get_backend

    loaded = model.runtime().loaded
    wrapped = from_transformers(loaded.model, loaded.tokenizer)
    built = _get_backend(backend, wrapped)

    def call(question: Question) -> tuple[str, Calls]:
        many = question.parallel[1] > 1
        prompt = _in_json(_turns(model, question).prompt(conversation(question)), many=many)
        prompt = prompt.removeprefix(loaded.tokenizer.bos_token)  # outlines' tokenizer call adds it
        try:
            processor = built.get_json_schema_logits_processor(json.dumps(_calls_schema(question)))
            generator = Generator(wrapped, processor=processor)
            text = generator(prompt, max_new_tokens=MAX_TOKENS, do_sample=False)
        except Exception as error:  # noqa: BLE001 - a schema that a backend does not take
            return f"{type(error).__name__}: {error}"[-200:], []
        try:
            value = json.loads(text)
        except ValueError:
            return text, []
        return text, _read_calls(value if many else [value])

    return call


def _in_json(prompt: str, *, many: bool) -> str:
    """A prompt whose calls are JSON alone: an array where there may be several."""
    one = r"<tool_call>\n(.*)\n</tool_call>"

    def rewrite(found: re.Match[str]) -> str:
        calls = re.findall(one, found[0])
        return f"[{','.join(calls)}]" if many else calls[0]

    return re.sub(f"{one}(?:\n{one})*", rewrite, prompt)


def _calls_schema(question: Question) -> dict[str, Any]:
    calls = [
        {
            "type": "object",
            "properties": {"name": {"const": tool.name}, "arguments": tool.parameters.value},
            "required": ["name", "arguments"],
            "additionalProperties": False,
        }
        for tool in question.tools
    ]
    call = calls[0] if len(calls) == 1 else {"anyOf": calls}
    least, most = question.parallel
    if most == 1:
        return call
    return {"type": "array", "items": call, "minItems": least, "maxItems": most}


def free(model: gs.LocalModel) -> Lane:
    """Nothing held: the model ends its answer as the earlier exchanges do, with a blank line."""
    loaded = model.runtime().loaded
    tokenizer = loaded.tokenizer

    def call(question: Question) -> tuple[str, Calls]:
        prompt = _turns(model, question).prompt(conversation(question))
        inputs = tokenizer(prompt, return_tensors="pt", add_special_tokens=False)
        length = inputs["input_ids"].shape[1]
        output = loaded.model.generate(
            **inputs,
            max_new_tokens=MAX_TOKENS,
            do_sample=False,
            stopping_criteria=StoppingCriteriaList([BlankLine(tokenizer, length)]),
        )
        text = tokenizer.decode(output[0, length:], skip_special_tokens=True)
        text = text.partition("\n\n")[0]
        written = re.findall(r"<tool_call>\s*(.*?)\s*</tool_call>", text, re.DOTALL)
        try:
            return text, _read_calls([json.loads(each) for each in written])
        except ValueError:
            return text, []

    return call


class BlankLine(StoppingCriteria):
    """Ends a text at its first blank line."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, length: int) -> None:
        self._tokenizer = tokenizer
        self._length = length

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:  # noqa: ARG002
        """Whether each row has ended."""
        texts = self._tokenizer.batch_decode(input_ids[:, self._length :])
        return torch.tensor(["\n\n" in text for text in texts], device=input_ids.device)


def _read_calls(values: Sequence[Any]) -> Calls:
    calls: Calls = []
    for value in values:
        match value:
            case {"name": str(name), "arguments": dict(arguments)}:
                calls.append((name, arguments))
            case _:
                return []
    return calls


def judge(lane: str, question: Question, text: str, calls: Calls, seconds: float) -> Record:
    """What an answer is worth."""
    parameters = {tool.name: tool.parameters.value for tool in question.tools}
    valid = bool(calls) and all(
        name in parameters and Draft202012Validator(parameters[name]).is_valid(arguments)
        for name, arguments in calls
    )
    return Record(
        lane=lane,
        set=question.set,
        id=question.id,
        text=text,
        parses=bool(calls),
        validates=valid,
        matches=bool(calls) and matches(question, calls),
        seconds=round(seconds, 2),
    )


def make_lanes() -> dict[str, Callable[[], Lane]]:
    """Every lane by its name, made when it is first needed."""
    model = gs.LocalModel("embedded", precision="float32")

    def native() -> Lane:
        loaded = model.runtime().loaded
        tokenizer = build_tokenizer("functiongemma", "gemma")
        return ours(gs.LocalModel.from_transformers(loaded.model, tokenizer))

    return {
        "ours, prompted": lambda: ours(model),
        "ours, native": native,
        "outlines outlines_core": lambda: outlines("outlines_core", model),
        "outlines llguidance": lambda: outlines("llguidance", model),
        "free": lambda: free(model),
    }


def table(records: list[Record], lanes: Sequence[str]) -> Table:
    """The shares, by set and lane."""
    shown = Table(title=f"{len({r.id for r in records})} questions, greedy, at most one attempt")
    for column in ("set", "lane", "parse", "validate", "AST match", "seconds"):
        shown.add_column(column, justify="left" if column in {"set", "lane"} else "right")
    for set_ in (*SETS, "all"):
        for lane in lanes:
            of = [r for r in records if r.lane == lane and set_ in {r.set, "all"}]
            if not of:
                continue
            shares = [
                f"{100 * sum(getattr(r, what) for r in of) / len(of):.0f} %"
                for what in ("parses", "validates", "matches")
            ]
            seconds = sum(r.seconds for r in of) / len(of)
            shown.add_row(set_, lane, *shares, f"{seconds:.1f}", end_section=lane == lanes[-1])
    return shown


def main() -> None:
    """Ask every lane, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    makers = make_lanes()
    parser.add_argument("--bfcl", type=Path, required=True, help="where bfcl-eval is installed")
    parser.add_argument("--sample", type=int, default=20, help="questions of each set")
    parser.add_argument("--seed", type=int, default=0, help="which ones are drawn")
    parser.add_argument("--lanes", nargs="+", choices=makers, default=list(makers), metavar="LANE")
    parser.add_argument("--json", type=Path, help="also write every answer here, as they come")
    parser.add_argument("--resume", action="store_true", help="go on with that file")
    options = parser.parse_args()
    if options.resume and options.json is None:
        parser.error("--resume goes on with the file of --json")

    questions = [q for s in SETS for q in read(options.bfcl, s, options.sample, options.seed)]
    records: list[Record] = []
    if options.resume and options.json.exists():
        drawn = {question.id for question in questions}
        records = [Record(**r) for r in json.loads(options.json.read_text())["records"]]
        records = [r for r in records if r.id in drawn]
    done = {(record.lane, record.id) for record in records}
    about = {
        "sample": options.sample,
        "seed": options.seed,
        "machine": platform.processor() or platform.machine(),
        "torch": torch.__version__,
    }
    for name in options.lanes:
        left = [question for question in questions if (name, question.id) not in done]
        lane = makers[name]() if left else None
        for question in track(left, name, disable=not left):
            start = time.perf_counter()
            assert lane is not None
            text, calls = lane(question)
            records.append(judge(name, question, text, calls, time.perf_counter() - start))
            if options.json is not None:
                written = {**about, "records": [asdict(record) for record in records]}
                options.json.write_text(json.dumps(written, indent=1, ensure_ascii=False) + "\n")
    Console().print(table(records, list(makers)))


if __name__ == "__main__":
    main()
