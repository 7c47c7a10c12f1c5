"""`gemma-structured extract`: documents in, one typed object a document out."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import ExitStack, aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from gemma_structured.cli.exit_codes import ExitCode
from gemma_structured.cli.extraction import extract_each
from gemma_structured.cli.records import RecordFile
from gemma_structured.cli.reporting import err, out, say, warn
from gemma_structured.cli.tables import object_table
from gemma_structured.exceptions import (
    GemmaStructuredError,
    ModelError,
    OutputValidationError,
)
from gemma_structured.types import Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from gemma_structured.cli.extraction import Outcome
    from gemma_structured.cli.records import Record
    from gemma_structured.generator import Generator
    from gemma_structured.schema.output_type import OutputType
    from gemma_structured.types import JsonValue, Result

__all__ = ["Files", "extract"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """Where the records of an extraction go.

    Attributes:
        output: Objects; `None` for standard output.
        errors: Documents that failed; `None` for messages only.
        resume: Go on with what the output holds.
        overwrite: Begin anew.
    """

    output: Path | None
    errors: Path | None
    resume: bool
    overwrite: bool


@dataclass(slots=True)
class Tally:
    """How many documents there were, and what they cost."""

    extracted: int = 0
    failed: int = 0
    skipped: int = 0
    usage: Usage = field(default_factory=Usage)

    def __str__(self) -> str:
        parts = [f"{self.extracted} extracted"]
        parts += [f"{self.failed} failed"] if self.failed else []
        parts += [f"{self.skipped} there already"] if self.skipped else []
        if self.usage.completion_tokens:
            parts.append(f"{self.usage.prompt_tokens} + {self.usage.completion_tokens} tokens")
        if self.usage.cost is not None:
            parts.append(f"{self.usage.cost} USD")
        return ", ".join(parts)


def extract(
    load: Callable[[], Generator[Any]],
    output_type: OutputType[Any],
    paths: Sequence[str],
    files: Files,
    *,
    concurrency: int | None,
) -> ExitCode:
    """Extract an object from each document, and write it as soon as it is there.

    Args:
        load: Loads the model; called once it is known that the files can be written.
        output_type: What is extracted.
        paths: The documents.
        files: Where the records go.
        concurrency: How many documents are under way at once; the model's own number if `None`.

    Raises:
        InputError: A file cannot be written, or holds what must not be lost.
        GemmaStructuredError: An error after which no document could be extracted.
    """
    with ExitStack() as stack:
        run = _Run(output_type, files, stack, total=len(paths))
        try:
            asyncio.run(run.drain(load(), paths, concurrency))
        except GemmaStructuredError as error:
            run.tally.usage += _spent(error)
            raise
        finally:
            run.summarize()
        return ExitCode.DOCUMENTS_FAILED if run.tally.failed else ExitCode.OK


class _Run:
    """One run of the command: its files, its progress bar and its tally."""

    def __init__(
        self, output_type: OutputType[Any], files: Files, stack: ExitStack, *, total: int
    ) -> None:
        self._output_type = output_type
        self._total = total
        self._output: RecordFile | None = None
        self._errors: RecordFile | None = None
        self._rows: list[tuple[str, JsonValue]] = []
        self.tally = Tally()
        if files.output is not None:
            self._output = stack.enter_context(
                RecordFile(files.output, resume=files.resume, overwrite=files.overwrite)
            )
        if files.errors is not None:
            # Documents that failed before are tried again, so that file begins anew.
            self._errors = stack.enter_context(
                RecordFile(files.errors, overwrite=files.overwrite or files.resume)
            )
        if self._output is not None and self._output.torn_bytes:
            say(f"Cut off an unfinished last line of {files.output}; its document is done again.")

    async def drain(
        self, read: Generator[Any], paths: Sequence[str], concurrency: int | None
    ) -> None:
        """Take every outcome as it comes."""
        done = self._output.keys if self._output is not None else frozenset[tuple[str, str]]()
        outcomes = extract_each(read, paths, done=done, concurrency=concurrency or read.concurrency)
        async with aclosing(outcomes):
            with _progress(shown=self._total > 1) as progress:
                bar = progress.add_task("extracting", total=self._total)
                async for outcome in outcomes:
                    self._take(outcome)
                    progress.update(bar, advance=1, description=str(self.tally))

    def summarize(self) -> None:
        """Tell people how it went; the table, if that is what they see."""
        if self._rows:
            out().print(object_table(self._rows))
        if self._total > 1 or self.tally.failed or self.tally.usage.cost is not None:
            say(str(self.tally))

    def _take(self, outcome: Outcome) -> None:
        if outcome.error is not None:
            self.tally.failed += 1
            self._take_failure(outcome)
        elif outcome.result is None:
            self.tally.skipped += 1
        else:
            self.tally.extracted += 1
            self.tally.usage += outcome.result.usage
            self._take_result(outcome, outcome.result)

    def _take_result(self, outcome: Outcome, result: Result[Any]) -> None:
        value = _plain(self._output_type, result.output)
        record: Record = {
            **_identity(outcome),
            "output": value,
            "model": result.model_name,
            "attempts": len(result.attempts),
            "usage": _usage(result.usage),
        }
        if result.skipped:
            record["skipped"] = [_cause(error) for error in result.skipped]
        if self._output is not None:
            self._output.write(record)
        elif sys.stdout.isatty():
            self._rows.append((outcome.path, value))
        else:
            print(json.dumps(record, ensure_ascii=False), flush=True)  # noqa: T201 - for pipes

    def _take_failure(self, outcome: Outcome) -> None:
        error = outcome.error
        spent = _spent(error)
        self.tally.usage += spent
        if self._errors is None:
            warn(f"{outcome.path}: {error}")
            return
        issues = error.issues if isinstance(error, OutputValidationError) else ()
        self._errors.write(
            {
                **_identity(outcome),
                "error": type(error).__name__,
                "message": str(error),
                "issues": [{"path": each.where, "message": each.message} for each in issues],
                "attempts": len(error.attempts) if error is not None else 0,
                "usage": _usage(spent),
            }
        )


def _progress(*, shown: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=err(),
        disable=not (shown and err().is_terminal),
        transient=True,
    )


def _identity(outcome: Outcome) -> Record:
    document = outcome.document
    return {"path": outcome.path, "sha256": document.sha256 if document is not None else None}


def _spent(error: GemmaStructuredError | None) -> Usage:
    """What the attempts before an error cost."""
    return sum((each.usage for each in error.attempts), Usage()) if error is not None else Usage()


def _cause(error: GemmaStructuredError) -> Record:
    """Why a model did not answer."""
    name = error.model_name if isinstance(error, ModelError) else None
    return {"model": name, "error": type(error).__name__, "message": str(error)}


def _plain(output_type: OutputType[Any], value: Any) -> JsonValue:
    """An object as JSON, as Pydantic writes it."""
    if output_type.adapter is None:
        return cast("JsonValue", value)
    plain: JsonValue = output_type.adapter.dump_python(value, mode="json", by_alias=True)
    return plain


def _usage(usage: Usage) -> Record:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "cached_tokens": usage.cached_tokens,
        "sampled_tokens": usage.sampled_tokens,
        "forced_tokens": usage.forced_tokens,
        "forward_passes": usage.forward_passes,
        "cost": None if usage.cost is None else str(usage.cost),
        "seconds": round(usage.seconds, 3),
    }
