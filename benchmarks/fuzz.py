"""Random schemas against jsonschema, for as long as one likes.

    python benchmarks/fuzz.py --schemas 50000 --seed 3

Each schema (of drafts 4 to 2020-12) is rewritten and compiled; random logits write texts under its mask,
which must validate, and random instances that are valid must be accepted. A table says what came of all;
counterexamples are made as small as they get and printed, and the exit code is 1 if there is one.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from gemma_structured.testing.random_schemas import DRAFTS, random_schema, random_value
from gemma_structured.testing.schema_fuzz import Counterexample, SchemaFuzz

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_SHRINK_SECONDS = 20.0


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    drafts = [options.draft] if options.draft else list(DRAFTS)
    fuzz, console = SchemaFuzz(), Console()
    found: dict[str, list[int]] = {}
    start = time.perf_counter()
    slowest = (0.0, -1)
    first = options.seed * 1_000_000
    for seed in track(range(first, first + options.schemas), "schemas", disable=options.quiet):
        began = time.perf_counter()
        law = _law_broken(fuzz, seed, drafts, options)
        slowest = max(slowest, (time.perf_counter() - began, seed))
        if law is not None:
            seeds = found.setdefault(law, [])
            seeds.append(seed)
            if len(seeds) <= options.show:
                print(f"seed {seed}: {_smallest(seed, drafts, options)}", flush=True)
    table = Table("", "", title=f"{options.schemas} schemas in {time.perf_counter() - start:.0f} s")
    for label, count in sorted(fuzz.counts.items()):
        table.add_row(label, str(count))
    table.add_row("the slowest schema", f"{slowest[0]:.2f} s (seed {slowest[1]})")
    for law, seeds in found.items():
        table.add_row(f"counterexamples: {law}", f"{len(seeds)} (seeds {seeds[:5]})")
    table.add_row("counterexamples", str(sum(map(len, found.values()))))
    console.print(table)
    return int(bool(found))


def _law_broken(
    fuzz: SchemaFuzz, seed: int, drafts: list[str], options: argparse.Namespace
) -> str | None:
    schema, values, rng = _drawn(seed, drafts, options)
    return _check(fuzz, schema, values, rng, options.walks)


def _drawn(
    seed: int, drafts: list[str], options: argparse.Namespace
) -> tuple[Any, list[Any], random.Random]:
    rng = random.Random(seed)
    schema = random_schema(rng, rng.choice(drafts))
    return schema, [random_value(rng) for _ in range(options.instances)], rng


def _check(
    fuzz: SchemaFuzz, schema: Any, values: list[Any], rng: random.Random, walks: int
) -> str | None:
    try:
        fuzz.check(schema, values, rng, walks=walks)
    except Counterexample as error:
        return error.law
    except Exception as error:  # noqa: BLE001 - any failure is a finding
        return f"{type(error).__name__}: {error}"[:80]
    return None


def _smallest(seed: int, drafts: list[str], options: argparse.Namespace) -> str:
    """The counterexample of a seed with as much left out as can be."""
    schema, values, rng = _drawn(seed, drafts, options)
    state = rng.getstate()
    fuzz = SchemaFuzz()

    def law_of(candidate: Any) -> str | None:
        again = random.Random(0)
        again.setstate(state)
        return _check(fuzz, candidate, values, again, 4 * options.walks)

    law, end = law_of(schema), time.perf_counter() + _SHRINK_SECONDS
    smaller = True
    while smaller and law is not None and time.perf_counter() < end:
        smaller = False
        for candidate in _parts(schema):
            if law_of(candidate) == law:
                schema, smaller = candidate, True
                break
    try:
        again = random.Random(0)
        again.setstate(state)
        fuzz.check(schema, values, again, walks=4 * options.walks)
    except Exception as error:  # noqa: BLE001
        return f"{error}"
    return f"{law}: {json.dumps(schema)}"


def _parts(value: Any) -> Iterator[Any]:
    """The value with one thing left out, or with one thing in place of what it stands in."""
    if isinstance(value, dict):
        for key in value:
            if key != "$schema":
                yield {k: v for k, v in value.items() if k != key}
        for key, child in value.items():
            yield from ({**value, key: smaller} for smaller in _parts(child))
            if isinstance(child, dict):
                for grandchild in child.values():
                    if isinstance(grandchild, dict | list):
                        yield {**value, key: grandchild}
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield value[:index] + value[index + 1 :]
            yield from ([*value[:index], smaller, *value[index + 1 :]] for smaller in _parts(child))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--schemas", type=int, default=10_000, help="how many")
    parser.add_argument("--seed", type=int, default=0, help="which ones: one seed a million")
    parser.add_argument("--draft", choices=list(DRAFTS), help="of one draft only")
    parser.add_argument("--walks", type=int, default=2, help="texts written under each mask")
    parser.add_argument("--instances", type=int, default=8, help="values held to each schema")
    parser.add_argument("--show", type=int, default=3, help="counterexamples printed of a kind")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    return parser


if __name__ == "__main__":
    sys.exit(main())
