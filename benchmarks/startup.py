"""The second start of the embedded model against bare transformers, and the first.

    python benchmarks/startup.py
    python benchmarks/startup.py --rounds 9 --json results.json

Each start is a process of its own, timed from before the interpreter to the moment at which a first
answer could begin: weights, tokenizer and one LLTokenizer (llguidance's view of the vocabulary) in
memory; the peak of memory is taken after one forward. Lanes are interleaved, their order changes from
round to round, and the figures are medians.

- **ours** is `LocalModel("embedded").load()` and one compiled grammar.
- **bare** is `AutoModelForCausalLM`, `AutoTokenizer` and `llguidance.hf.from_tokenizer` on the same
  converted folder, whose configuration names the fastest tokenizer class.
- **bare, as published** is the same with the tokenizer class that Google's checkpoints name.
- **first start** converts the packaged file into an empty cache first.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

AIM_RATIO = 1.1
AIM_GB = 2.5

REPORT = """
import json, resource, sys, time, torch
seconds = time.time() - float(sys.argv[1])
with torch.inference_mode():  # reads every weight, which a mapped file brings into memory only now
    model(torch.tensor([tokenizer("The first answer").input_ids]), logits_to_keep=1)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
print(json.dumps({"seconds": seconds, "peak_bytes": peak}))
"""

OURS = f"""
import sys
import gemma_structured as gs
from gemma_structured.grammar.spec import Grammar
runtime = gs.LocalModel("embedded", device="cpu", precision="float32").load().runtime()
runtime.compiler.compile(Grammar(kind="regex", source="[a-z]+"))
model, tokenizer = runtime.loaded.model, runtime.loaded.tokenizer
{REPORT}
"""

BARE = f"""
import sys
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging
logging.disable_progress_bar()
import llguidance.hf
model = AutoModelForCausalLM.from_pretrained(sys.argv[2], dtype=torch.float32)
tokenizer = AutoTokenizer.from_pretrained(sys.argv[2])
llguidance.hf.from_tokenizer(tokenizer)
{REPORT}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """One way to start."""

    name: str
    script: str
    folder: Path
    cache: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """One start, as its process measured it."""

    seconds: float
    peak_bytes: int


def run(lane: Lane) -> Start:
    """Start once in a new process."""
    environment = dict(os.environ)
    if lane.cache is not None:
        environment["GEMMA_STRUCTURED_CACHE"] = str(lane.cache)
    done = subprocess.run(
        [sys.executable, "-c", lane.script, str(time.time()), str(lane.folder)],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return Start(**json.loads(done.stdout.splitlines()[-1]))


def as_published(folder: Path, target: Path) -> Path:
    """The same checkpoint with the tokenizer class of the published ones."""
    for file in folder.iterdir():
        (target / file.name).symlink_to(file)
    config = target / "tokenizer_config.json"
    settings = json.loads(config.read_bytes())
    config.unlink()
    config.write_text(json.dumps({**settings, "tokenizer_class": "GemmaTokenizer"}))
    return target


def measure(rounds: int) -> dict[str, list[Start]]:
    """All lanes, interleaved."""
    from gemma_structured.decoding.embedded import embedded_folder

    folder = embedded_folder()
    starts: dict[str, list[Start]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as temporary:
        published = Path(temporary, "published")
        published.mkdir()
        lanes = [
            Lane(name="ours", script=OURS, folder=folder),
            Lane(name="bare", script=BARE, folder=folder),
            Lane(name="bare, as published", script=BARE, folder=as_published(folder, published)),
        ]
        for lane in lanes:
            run(lane)  # the files come into the page cache
        for round_ in range(rounds):
            for i in range(len(lanes)):
                lane = lanes[(i + round_) % len(lanes)]
                starts[lane.name].append(run(lane))
        cache = Path(temporary, "cache")
        first = Lane(name="ours, first start", script=OURS, folder=folder, cache=cache)
        for _ in range(min(rounds, 3)):
            shutil.rmtree(cache, ignore_errors=True)
            starts[first.name].append(run(first))
    return starts


def show(starts: dict[str, list[Start]]) -> None:
    """Print the medians beside those of bare transformers."""
    seconds = {name: statistics.median(s.seconds for s in runs) for name, runs in starts.items()}
    peaks = {name: statistics.median(s.peak_bytes for s in runs) for name, runs in starts.items()}
    table = Table(
        title=f"Start of the embedded model ({platform.machine()}, {os.cpu_count()} CPUs)"
    )
    table.add_column("start")
    for column in ("seconds", "least", "most", "x bare", "peak GB", "runs"):
        table.add_column(column, justify="right")
    for name, runs in starts.items():
        table.add_row(
            name,
            f"{seconds[name]:.2f}",
            f"{min(s.seconds for s in runs):.2f}",
            f"{max(s.seconds for s in runs):.2f}",
            f"{seconds[name] / seconds['bare']:.2f}",
            f"{peaks[name] / 1e9:.2f}",
            str(len(runs)),
        )
    console = Console()
    console.print(table)
    ratio, peak = seconds["ours"] / seconds["bare"], peaks["ours"] / 1e9
    console.print(
        f"Second start: {ratio:.2f} x bare (aim: at most {AIM_RATIO}), "
        f"{peak:.2f} GB at its peak (aim: under {AIM_GB})."
    )


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write every start to this file")
    arguments = parser.parse_args()
    starts = measure(arguments.rounds)
    show(starts)
    if arguments.json:
        rows = {name: [asdict(start) for start in runs] for name, runs in starts.items()}
        arguments.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
