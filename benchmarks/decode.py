"""Our decode loop against outlines, on the same weights, prompts, schema and greedy decoding.

    python benchmarks/decode.py                     # one document at a time
    python benchmarks/decode.py --rounds 9 --json results.json

All lanes run in one process, interleaved, and their order changes from round to round; the figures
are medians. What a lane builds once (a generator, a compiled grammar) is built before the first
round: outlines' start-up is not held against it. A lane's first document is not counted.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from pydantic import BaseModel, Field, ValidationError
from rich.console import Console
from rich.table import Table

import gemma_structured as gs
from gemma_structured.decoding.own_thread import in_own_thread

if TYPE_CHECKING:
    from collections.abc import Callable


class Ticket(BaseModel):
    """A support ticket."""

    customer: str = Field(max_length=40)
    product: str = Field(max_length=40)
    problem: str = Field(max_length=120)
    urgency: Literal["low", "normal", "high"]
    call_back: bool


INSTRUCTION = "Read the support mail and fill in the ticket."
EXAMPLES = [
    gs.Example(
        "Hi, this is Anna Berg. My Acme X1 printer does not print any more and I need it today! "
        "Please ring me.",
        Ticket(
            customer="Anna Berg",
            product="Acme X1 printer",
            problem="does not print any more",
            urgency="high",
            call_back=True,
        ),
    ),
    gs.Example(
        "Good morning, Tom Hale here. The screen of my Orbit tablet flickers sometimes. No hurry, "
        "an answer by mail is fine.",
        Ticket(
            customer="Tom Hale",
            product="Orbit tablet",
            problem="The screen flickers sometimes",
            urgency="low",
            call_back=False,
        ),
    ),
]
DOCUMENTS = [
    (
        "Dear team, my name is Priya Nair. Since the last update, the Falcon R7 router drops the "
        "connection every hour. Our shop is offline, so please call as soon as you can."
    ),
    (
        "Hello, I am Joao Lima and I bought the Breeze 200 fan in May. It hums loudly at the lowest "
        "speed. It is not urgent. You can write to me."
    ),
    (
        "To whom it may concern: the Northwind dishwasher DW-55 leaks water onto the floor since "
        "yesterday evening. Marta Kowalska. Call me immediately, please!"
    ),
    (
        "Hi! The battery of my Pixelbird camera is empty after ten pictures. Could you tell me what "
        "to do? Regards, Yusuf Demir. A mail is enough."
    ),
    (
        "Good day. The Summit backpack that I ordered has a broken zip. I would like a new one before "
        "my trip next month. Best wishes, Ingrid Solberg."
    ),
]


@dataclass(slots=True)
class Lane:
    """One way of extracting, and what it took."""

    name: str
    extract: Callable[[str], tuple[str, int]]
    seconds: list[float] = field(default_factory=list)
    forwards: list[int] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    objects: dict[str, object] = field(default_factory=dict)


class ForwardCounter:
    """Counts the forwards of a model."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.count = 0
        model.register_forward_pre_hook(self._note)

    def _note(self, *_: object) -> None:
        self.count += 1


def ours(name: str, model: gs.LocalModel) -> Lane:
    """A lane of this package."""
    generator = model.compile(
        Ticket, instruction=INSTRUCTION, examples=EXAMPLES, max_tokens=200, max_attempts=1
    )

    def extract(document: str) -> tuple[str, int]:
        result = generator(document)
        return result.text, result.usage.completion_tokens

    return Lane(name, extract)


def outlines(backend: str, model: gs.LocalModel) -> Lane:
    """A lane of outlines with one of its backends."""
    from outlines import Generator, from_transformers

    loaded = model.runtime().loaded
    generator = Generator(from_transformers(loaded.model, loaded.tokenizer), Ticket, backend)
    prompts = model.compile(Ticket, instruction=INSTRUCTION, examples=EXAMPLES)
    bos = loaded.tokenizer.bos_token or ""

    def extract(document: str) -> tuple[str, int]:
        prompt = prompts.prompt(document).removeprefix(bos)  # outlines' tokenizer call adds it
        text = generator(prompt, max_new_tokens=200, do_sample=False)
        return text, len(loaded.tokenizer(text, add_special_tokens=False)["input_ids"])

    return Lane(f"outlines {backend}", extract)


def measure(lanes: list[Lane], counter: ForwardCounter, rounds: int) -> None:
    """Run every lane on every document, interleaved."""
    for lane in lanes:
        in_own_thread(partial(lane.extract, DOCUMENTS[0]))
    for turn in range(rounds):
        document = DOCUMENTS[turn % len(DOCUMENTS)]
        for lane in lanes[turn % len(lanes) :] + lanes[: turn % len(lanes)]:
            counter.count = 0
            start = time.perf_counter()
            text, tokens = in_own_thread(partial(lane.extract, document))
            lane.seconds.append(time.perf_counter() - start)
            lane.forwards.append(counter.count)
            lane.tokens.append(tokens)
            try:
                lane.objects[document] = Ticket.model_validate_json(text)
            except ValidationError:
                lane.objects[document] = None


def report(lanes: list[Lane], reference: Lane) -> list[dict[str, object]]:
    """The figures of each lane, the ratios paired round by round."""
    rows: list[dict[str, object]] = []
    for lane in lanes:
        same = [lane.objects[d] == reference.objects[d] for d in lane.objects]
        ratios = [a / b for a, b in zip(reference.seconds, lane.seconds, strict=True)]
        rows.append(
            {
                "lane": lane.name,
                "seconds": statistics.median(lane.seconds),
                "speed against ours": statistics.median(ratios),
                "forwards": statistics.median(lane.forwards),
                "tokens": statistics.median(lane.tokens),
                "valid": sum(o is not None for o in lane.objects.values()) / len(lane.objects),
                "equal objects": sum(same) / len(same),
            }
        )
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--precision", default="float32", choices=["float32", "bfloat16", "int8"])
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()

    model = gs.LocalModel("embedded", precision=options.precision).load()
    loaded = model.runtime().loaded
    counter = ForwardCounter(loaded.model)
    fast_forward = gs.LocalModel.from_transformers(
        loaded.model, loaded.tokenizer, prefix_cache_bytes=0, drafts="off"
    )
    lanes = [
        ours("ours", model),
        ours("ours, fast-forward alone", fast_forward),
        *(outlines(backend, model) for backend in ("outlines_core", "llguidance", "xgrammar")),
    ]
    measure(lanes, counter, options.rounds)
    rows = report(lanes, lanes[0])
    table = Table(
        title=f"{options.rounds} rounds, {options.precision}, {torch.get_num_threads()} threads"
    )
    for column in rows[0]:
        table.add_column(column, justify="left" if column == "lane" else "right")
    for row in rows:
        table.add_row(*(f"{v:.2f}" if isinstance(v, float) else str(v) for v in row.values()))
    Console().print(table)
    if options.json:
        machine = {
            "machine": platform.processor() or platform.machine(),
            "torch": torch.__version__,
        }
        options.json.write_text(json.dumps({**machine, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
