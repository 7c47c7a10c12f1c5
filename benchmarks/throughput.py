"""How many documents in the same time: ours, each lever added in turn, against its peers on the same weights.

    python benchmarks/throughput.py --json results.json --chart throughput.svg
    python benchmarks/throughput.py --documents 24           # a sample

All lanes run in one process, interleaved by portions of eight documents in changing order, greedily
and on the same prompts. What a lane builds once (grammars, generators) is built before the first
portion, and its first document of each schema is not counted. Speeds are medians of the portions'
ratios against "+ drafts", our default; "equal" is the share of its objects. The lanes in 8 bits give
up float32's answers, and other libraries write other spaces, after which a model goes on otherwise.

All that computes runs in threads that end (see `gemma_structured.decoding.own_thread`): each lane
has the cores for itself, as it would have alone.

The chart needs matplotlib; guidance and llama.cpp take part where they are installed.
"""

from __future__ import annotations

import argparse
import json
import platform
import shlex
import statistics
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from decode import ForwardCounter
from pydantic import ValidationError
from rich.console import Console
from rich.progress import track
from rich.table import Table
from throughput_lanes import Lane, our_lanes, ours, quantize, rivals, with_screen
from throughput_work import KINDS, documents

import gemma_structured as gs
from gemma_structured.decoding.own_thread import in_own_thread

if TYPE_CHECKING:
    from collections.abc import Sequence

REFERENCE = "+ drafts"


def measure(lanes: Sequence[Lane], counters: Sequence[ForwardCounter], count: int) -> None:
    """Run every lane on every portion."""
    work = documents(count)
    warm = documents(24, seed=1)
    for lane in lanes:
        for kind in KINDS:
            in_own_thread(partial(lane.extract, kind.name, warm[kind.name][:1]))
    portions = [
        (kind, texts[start : start + 8])
        for kind, texts in work.items()
        for start in range(0, len(texts), 8)
    ]
    for turn, (kind, texts) in enumerate(track(portions, transient=True)):
        at = turn * 5 % len(lanes)
        for lane in [*lanes[at:], *lanes[:at]]:
            before = sum(counter.count for counter in counters)
            start = time.perf_counter()
            answers = in_own_thread(partial(lane.extract, kind, texts))
            lane.seconds.append((time.perf_counter() - start) / len(texts))
            lane.forwards.append(sum(counter.count for counter in counters) - before)
            lane.texts |= {f"{kind}: {t}": a for t, a in zip(texts, answers, strict=True)}


def parsed(texts: dict[str, str]) -> dict[str, object]:
    """The objects, `None` where a text does not validate."""
    types = {kind.name: kind.output_type for kind in KINDS}
    objects: dict[str, object] = {}
    for key, text in texts.items():
        try:
            objects[key] = types[key.split(":", 1)[0]].model_validate_json(text)
        except ValidationError:
            objects[key] = None
    return objects


def report(lanes: Sequence[Lane]) -> list[dict[str, Any]]:
    """The figures of each lane."""
    reference = next(lane for lane in lanes if lane.name == REFERENCE)
    expected = parsed(reference.texts)
    rows = []
    for lane in lanes:
        objects = parsed(lane.texts)
        pairs = zip(reference.seconds, lane.seconds, strict=True)
        rows.append(
            {
                "lane": _title(lane),
                "ours": lane.is_ours,
                "against ours": statistics.median(a / b for a, b in pairs),
                "forwards a document": sum(lane.forwards) / len(lane.texts),
                "valid": sum(o is not None for o in objects.values()) / len(objects),
                "equal": sum(objects[k] == expected[k] for k in objects) / len(objects),
            }
        )
    return rows


def _title(lane: Lane) -> str:
    return lane.name if lane.precision == "float32" else f"{lane.name}, {lane.precision}"


def draw(rows: Sequence[dict[str, Any]], file: Path, title: str) -> None:
    """A bar a lane."""
    import matplotlib as mpl

    mpl.use("svg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 0.42 * len(rows) + 1.2), layout="constrained")
    names = [row["lane"] for row in rows]
    speeds = [row["against ours"] for row in rows]
    colors = ["#3f51b5" if row["ours"] else "#9e9e9e" for row in rows]
    bars = axes.barh(names, speeds, color=colors)
    axes.bar_label(bars, fmt="%.2f", padding=3)
    axes.invert_yaxis()
    axes.margins(x=0.1)
    axes.set_xlabel("documents in the same time; 1 is our default")
    axes.set_title(title, fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, metadata={"Date": None})


def prepare() -> tuple[list[Lane], list[ForwardCounter]]:
    """Load the models; all lanes on them, and counters of their forwards."""
    model = gs.LocalModel("embedded", precision="float32").load()
    int8 = gs.LocalModel("embedded", precision="int8").load()
    quantized = quantize(model.runtime().loaded)
    lanes = [
        *our_lanes(model),
        ours("all", with_screen(int8)),
        ours("all, batch of 8", int8, batch=True),
        *rivals(model, quantized),
    ]
    models = (model.runtime().loaded.model, int8.runtime().loaded.model, quantized.model)
    return lanes, [ForwardCounter(each) for each in models]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--documents", type=int, default=64)
    parser.add_argument("--lanes", nargs="+", metavar="LANE", help="only these beside ours")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--chart", type=Path, help="also draw them here, as SVG")
    parser.add_argument(
        "--redraw", nargs="+", type=Path, help="measure nothing: draw these figures"
    )
    options = parser.parse_args()
    if options.redraw:
        runs = [json.loads(file.read_text()) for file in options.redraw]
        rows = {row["lane"]: row for run in runs for row in run["rows"]}
        draw(
            sorted(rows.values(), key=lambda row: not row["ours"]), options.chart, runs[0]["title"]
        )
        return

    lanes, counters = in_own_thread(prepare)
    if options.lanes:
        wanted = {REFERENCE, *options.lanes}
        lanes = [lane for lane in lanes if _title(lane) in wanted]
    measure(lanes, counters, options.documents)
    rows = report(lanes)
    title = f"{options.documents} documents, Gemma 3 270M, {torch.get_num_threads()} CPU threads"
    table = Table(title=title)
    for column in rows[0]:
        table.add_column(column, justify="left" if column == "lane" else "right")
    for row in rows:
        table.add_row(*(f"{v:.2f}" if isinstance(v, float) else str(v) for v in row.values()))
    Console().print(table)
    if options.json:
        machine = {
            "command": shlex.join(["python", *sys.argv]),
            "machine": platform.processor() or platform.machine(),
            "torch": torch.__version__,
        }
        written = {"title": title, **machine, "rows": rows}
        options.json.write_text(json.dumps(written, indent=2) + "\n")
    if options.chart:
        draw(rows, options.chart, title)


if __name__ == "__main__":
    main()
