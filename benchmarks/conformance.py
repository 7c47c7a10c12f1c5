"""How much of JSON Schema the masks enforce, on real schemas and on the official test suite.

    python benchmarks/conformance.py maskbench schemas.jsonl.gz
    python benchmarks/conformance.py maskbench schemas.jsonl.gz --compare --sample 200 --tokenizer embedded
    python benchmarks/conformance.py suite JSON-Schema-Test-Suite

`maskbench` reads one JSON object a line, gzipped: `name`, `schema`, and `tests` of `data` and `valid`
(https://github.com/guidance-ai/jsonschemabench). Instances are written as compact JSON and fed token by
token. An instance that is refused only for the order of its keys is counted apart: a grammar has one order.
`suite` reads the draft 2020-12 tests of https://github.com/json-schema-org/JSON-Schema-Test-Suite.
Default bounds are off, and no schema is fetched.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conformance_engines import Ours, load_vocabulary
from conformance_report import print_maskbench, print_suite, reasons, times
from conformance_suite import run_suite
from conformance_workers import Outcome, Worker, run_schema
from rich.progress import track

from gemma_structured.exceptions import GemmaStructuredError
from gemma_structured.parsing.validate import validate
from gemma_structured.schema.json_schema import JsonSchema
from gemma_structured.schema.output_type import OutputType

if TYPE_CHECKING:
    from collections.abc import Sequence

_RIVALS = ("llguidance", "xgrammar", "outlines-core")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of the subcommands; the exit code says whether anything invalid was returned."""
    options = _parser().parse_args(arguments)
    if options.command == "suite":
        results = run_suite(options.path, load_vocabulary(options.tokenizer))
        print_suite(results, details=options.details)
        return int(any(result.returned for result in results))
    entries = read_maskbench(options.path)
    if options.sample and options.sample < len(entries):
        entries = random.Random(options.seed).sample(entries, options.sample)
    ours = run_ours(entries, options.tokenizer)
    runs = {"gemma_structured": ours}
    for name in _RIVALS if options.compare else ():
        runs[name] = _run_rival(name, entries, options)
    returned = returned_invalid(entries, ours)
    print_maskbench(runs, returned, details=options.details)
    if options.json is not None:
        options.json.write_text(json.dumps(_summary(runs, returned), indent=2))
    return int(bool(returned))


def read_maskbench(path: Path) -> list[dict[str, Any]]:
    """The entries of a MaskBench file."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def run_ours(
    entries: list[dict[str, Any]], tokenizer: str, *, progress: bool = True
) -> list[Outcome]:
    """What becomes of each entry with our engine."""
    engine = Ours(load_vocabulary(tokenizer))
    shown = track(entries, "gemma_structured", disable=not progress)
    return [run_schema(engine, *_job(entry)) for entry in shown]


def returned_invalid(entries: list[dict[str, Any]], outcomes: list[Outcome]) -> list[str]:
    """The names of the schemas of which an invalid instance passes both the mask and validation."""
    found: list[str] = []
    for entry, outcome in zip(entries, outcomes, strict=True):
        passed = [i for i in outcome.instances if not i.valid and i.verdict != "rejected"]
        if passed and any(_validates(entry["schema"], instance.text) for instance in passed):
            found.append(entry["name"])
    return found


def _validates(schema: Any, text: str) -> bool:
    try:
        validate(OutputType.of(JsonSchema(schema)), text)
    except GemmaStructuredError:
        return False
    return True


def _job(entry: dict[str, Any]) -> tuple[str, Any, list[tuple[Any, bool]]]:
    return entry["name"], entry["schema"], [(t["data"], t["valid"]) for t in entry["tests"]]


def _run_rival(
    name: str, entries: list[dict[str, Any]], options: argparse.Namespace
) -> list[Outcome]:
    worker = Worker(name, options.tokenizer, options.time_limit)
    try:
        jobs = map(_job, entries)
        return list(track(worker.run(jobs), name, total=len(entries)))
    finally:
        worker.close()


def _summary(runs: dict[str, list[Outcome]], returned: list[str]) -> dict[str, Any]:
    return {
        "returned_invalid": returned,
        "engines": {
            name: {
                "schemas": len(outcomes),
                "compiled": sum(outcome.refusal is None for outcome in outcomes),
                "relaxed": sum(bool(outcome.residual) for outcome in outcomes),
                "refused": dict(reasons(outcomes).most_common()),
                "times": times(outcomes),
                "instances": Counter(
                    f"{'valid' if i.valid else 'invalid'} {i.verdict}"
                    for outcome in outcomes
                    for i in outcome.instances
                ),
            }
            for name, outcomes in runs.items()
        },
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    maskbench = commands.add_parser(
        "maskbench", help="real schemas with valid and invalid instances"
    )
    maskbench.add_argument("path", type=Path, help="the gzipped JSON Lines file")
    maskbench.add_argument("--compare", action="store_true", help="run the other engines too")
    maskbench.add_argument("--sample", type=int, help="only so many schemas, drawn at random")
    maskbench.add_argument("--seed", type=int, default=0, help="which ones are drawn")
    maskbench.add_argument(
        "--time-limit", type=float, default=40.0, help="seconds a schema may take"
    )
    maskbench.add_argument("--json", type=Path, help="write the counts to a file")
    suite = commands.add_parser("suite", help="the official test suite, draft 2020-12")
    suite.add_argument("path", type=Path, help="its folder, with tests/ and remotes/")
    for command in (maskbench, suite):
        command.add_argument(
            "--tokenizer", default="byte", help="`byte`, `embedded`, or a tokenizer.json"
        )
        command.add_argument("--details", action="store_true", help="name every schema that fails")
    return parser


if __name__ == "__main__":
    sys.exit(main())
