"""Prints what the conformance runs found."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable

    from conformance_suite import TestResult
    from conformance_workers import Outcome

_MADE_UP = ("Handwritten", "Synthesized")
_console = Console()


def print_maskbench(runs: dict[str, list[Outcome]], returned: list[str], *, details: bool) -> None:
    """Tables of coverage, of instances, of times and of refusals."""
    _print_coverage(runs, returned)
    _print_times(runs)
    ours = runs["gemma_structured"]
    for name, outcomes in runs.items():
        _print_counts(f"Why schemas were refused: {name}", reasons(outcomes))
    kept = Counter(k for o in ours for k in {keyword for _, keyword in o.residual})
    _print_counts("Keywords left to validation", kept)
    if details:
        _print_failures(ours, returned)


def _print_coverage(runs: dict[str, list[Outcome]], returned: list[str]) -> None:
    table = Table("", *runs, title="Schemas and instances")
    rows: dict[str, Callable[[list[Outcome]], str]] = {
        "schemas": lambda all_: str(len(all_)),
        "compiled": lambda all_: _share(sum(o.refusal is None for o in all_), len(all_)),
        "  outside Handwritten and Synthesized": _real_share,
        "refused": lambda all_: str(sum(o.refusal is not None for o in all_)),
        "valid instances": lambda all_: str(_instances(all_, valid=True)),
        "  accepted": lambda all_: str(_instances(all_, "accepted", valid=True)),
        "  rejected for the order of keys": lambda all_: str(
            _instances(all_, "key order", valid=True)
        ),
        "  rejected": lambda all_: str(_instances(all_, "rejected", valid=True)),
        "invalid instances": lambda all_: str(_instances(all_, valid=False)),
        "  accepted by the mask": lambda all_: str(_accepted_invalid(all_)),
        "schemas passed by the mask": lambda all_: _share(sum(_passes(o) for o in all_), len(all_)),
    }
    for label, cell in rows.items():
        table.add_row(label, *(cell(outcomes) for outcomes in runs.values()))
    ours = runs["gemma_structured"]
    exact = sum(not o.residual and o.refusal is None for o in ours)
    relaxed = sum(bool(o.residual) for o in ours)
    whole = sum(_takes_valid(o) and o.name not in returned for o in ours)
    rest = [""] * (len(runs) - 1)  # the others do not say what they leave out
    table.add_row("compiled exactly", str(exact), *rest)
    table.add_row("compiled relaxed, the rest validated", str(relaxed), *rest)
    table.add_row("schemas passed by mask and validation", _share(whole, len(ours)), *rest)
    table.add_row("  invalid instances returned (schemas)", str(len(returned)), *rest)
    _console.print(table)


def _print_times(runs: dict[str, list[Outcome]]) -> None:
    table = Table("", "p50", "p90", "p99", "max", title="Times")
    for name, outcomes in runs.items():
        for step in ("rewrite", "compile"):
            seconds = [o.seconds[step] for o in outcomes if step in o.seconds]
            if seconds:
                table.add_row(f"{name}: {step}", *_quantiles(seconds, 1e3, "ms"))
        masks = [second for o in outcomes for second in o.masks]
        if masks:
            table.add_row(f"{name}: mask", *_quantiles(masks, 1e6, "µs"))
    _console.print(table)


def reasons(outcomes: list[Outcome]) -> Counter[str]:
    """Why schemas were refused, without what is particular to one of them."""
    return Counter(_reason(o.refusal) for o in outcomes if o.refusal is not None)


def times(outcomes: list[Outcome]) -> dict[str, dict[str, float]]:
    """Seconds of each step at p50 and p99."""
    found: dict[str, list[float]] = {"mask": [second for o in outcomes for second in o.masks]}
    for step in ("rewrite", "compile"):
        found[step] = [o.seconds[step] for o in outcomes if step in o.seconds]
    return {
        step: {"p50": _quantile(seconds, 0.5), "p99": _quantile(seconds, 0.99)}
        for step, seconds in found.items()
        if seconds
    }


def _print_counts(title: str, counts: Counter[str]) -> None:
    if counts:
        table = Table("", "schemas", title=title)
        for reason, count in counts.most_common(20):
            table.add_row(reason, str(count))
        _console.print(table)


def _print_failures(outcomes: list[Outcome], returned: list[str]) -> None:
    table = Table("schema", "what", title="Failures", show_lines=True)
    for outcome in outcomes:
        if outcome.refusal is not None:
            table.add_row(outcome.name, f"refused: {outcome.refusal[:300]}")
        for instance in outcome.instances:
            if instance.valid and instance.verdict == "rejected":
                table.add_row(outcome.name, f"rejected at: {instance.rejected_at}")
            elif not instance.valid and instance.verdict == "accepted" and not outcome.residual:
                table.add_row(outcome.name, f"invalid, accepted: {instance.text[:300]}")
        if outcome.name in returned:
            table.add_row(outcome.name, "an invalid instance was returned")
    _console.print(table)


def print_suite(results: list[TestResult], *, details: bool) -> None:
    """Tables of the verdicts, in all and by file."""
    verdicts = ("right", "key order", "valid rejected", "invalid accepted", "refused")
    table = Table("", *verdicts, "invalid returned", title="JSON Schema Test Suite, draft 2020-12")
    files = {result.file: None for result in results}
    for file in files:
        rows = [result for result in results if result.file == file]
        if any(result.verdict != "right" for result in rows):
            table.add_row(file, *_verdict_cells(rows, verdicts))
    table.add_section()
    table.add_row("all", *_verdict_cells(results, verdicts))
    right = sum(result.verdict == "right" for result in results)
    table.add_row("", _share(right, len(results)))
    _console.print(table)
    if details:
        listed = Table("test", "verdict", "left to validation, or why", show_lines=True)
        for result in results:
            if result.verdict != "right":
                listed.add_row(
                    f"{result.file}: {result.title}", result.verdict, result.reason[:300]
                )
        _console.print(listed)


def _verdict_cells(rows: list[TestResult], verdicts: tuple[str, ...]) -> list[str]:
    counts = Counter(result.verdict for result in rows)
    returned = sum(result.returned for result in rows)
    return [*(str(counts[verdict] or "") for verdict in verdicts), str(returned or "")]


def _instances(outcomes: list[Outcome], verdict: str | None = None, *, valid: bool) -> int:
    return sum(
        i.valid == valid and verdict in {None, i.verdict} for o in outcomes for i in o.instances
    )


def _accepted_invalid(outcomes: list[Outcome]) -> int:
    return sum(not i.valid and i.verdict != "rejected" for o in outcomes for i in o.instances)


def _takes_valid(outcome: Outcome) -> bool:
    return outcome.refusal is None and not any(
        i.valid and i.verdict == "rejected" for i in outcome.instances
    )


def _passes(outcome: Outcome) -> bool:
    return _takes_valid(outcome) and not _accepted_invalid([outcome])


def _real_share(outcomes: list[Outcome]) -> str:
    real = [outcome for outcome in outcomes if not outcome.name.startswith(_MADE_UP)]
    return _share(sum(outcome.refusal is None for outcome in real), len(real))


def _share(part: int, whole: int) -> str:
    return f"{part} ({part / whole:.1%})" if whole else "0"


def _quantiles(values: list[float], scale: float, unit: str) -> list[str]:
    picked = [_quantile(values, place) for place in (0.5, 0.9, 0.99, 1.0)]
    return [f"{value * scale:.2f} {unit}" for value in picked]


def _quantile(values: list[float], place: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * place))]


def _reason(refusal: str) -> str:
    """A refusal without what is particular to one schema."""
    return re.sub(r"`[^`]*`|'[^']*'|\"[^\"]*\"|/\S+|\d+", "…", refusal)[:100]
