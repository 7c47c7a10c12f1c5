"""`gemma-structured demo`: real documents, and the object that was read from each beside it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from gemma_structured.cli.exit_codes import ExitCode, ends_everything
from gemma_structured.cli.reporting import out, warn
from gemma_structured.cli.tables import beside
from gemma_structured.demo import CASES
from gemma_structured.exceptions import GemmaStructuredError, InputError
from gemma_structured.types import Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pydantic import BaseModel

    from gemma_structured.demo import Case
    from gemma_structured.models.base import Model
    from gemma_structured.types import Result

__all__ = ["demo"]

_MAX_TOKENS = 1024
_PIPE_WIDTH = 148
"""Characters of a line where the output is no terminal: the documents' lines fit."""


def demo(load: Callable[[], Model], names: Sequence[str]) -> ExitCode:
    """Extract an object from each document, and show it beside its text.

    Args:
        load: Loads the model.
        names: Which documents; all of them if none is named.

    Raises:
        InputError: There is no such document.
        ModelError: The model cannot be loaded or asked.
    """
    cases = _choose(names)
    began = time.perf_counter()
    model = load()
    loaded = time.perf_counter() - began
    usage = Usage()
    failed, right, expected = 0, 0, 0
    for case in cases:
        try:
            result = _extract(model, case)
        except GemmaStructuredError as error:
            if ends_everything(error):
                raise
            failed += 1
            warn(f"{case.name}: {error}")
            continue
        usage += result.usage
        counts = case.count_right(result.output)
        right, expected = right + counts[0], expected + counts[1]
        _show(case, result, f"{counts[0]} of {counts[1]} values as expected")
    out(pipe_width=_PIPE_WIDTH).print(
        f"{len(cases) - failed} of {len(cases)} objects validate; {right} of {expected} values are "
        f"what a person would read.\n{_cost(usage)}\n{model.name} was loaded in {loaded:.1f} s.",
        highlight=False,
    )
    return ExitCode.DOCUMENTS_FAILED if failed else ExitCode.OK


def _choose(names: Sequence[str]) -> Sequence[Case]:
    by_name = {case.name: case for case in CASES}
    unknown = [name for name in names if name not in by_name]
    if unknown:
        raise InputError(
            f"There is no document {unknown[0]!r}.", hint=f"There are {', '.join(by_name)}."
        )
    return [by_name[name] for name in names] or CASES


def _extract(model: Model, case: Case) -> Result[BaseModel]:
    read = model.compile(
        case.output_type,
        instruction=case.instruction,
        examples=case.examples,
        max_tokens=_MAX_TOKENS,
    )
    return read(case.text)


def _show(case: Case, result: Result[BaseModel], note: str) -> None:
    console = out(pipe_width=_PIPE_WIDTH)
    console.print(
        beside(
            case.text,
            result.output.model_dump(mode="json"),
            title=f"{case.name} → {case.output_type.__name__}",
            caption=f"{note}. {_cost(result.usage)}",
        )
    )
    console.print()


def _cost(usage: Usage) -> str:
    """What was spent, and what fast-forward saved: without it, every token takes a forward."""
    written = f"{usage.prompt_tokens} tokens read, {usage.completion_tokens} written"
    if not usage.forward_passes:
        return f"{written}, {usage.seconds:.1f} s."
    saved = max(0, usage.completion_tokens - usage.forward_passes)
    return (
        f"{written} ({usage.forced_tokens} of them forced) in {usage.forward_passes} forwards, "
        f"{saved} saved, {usage.seconds:.1f} s."
    )
