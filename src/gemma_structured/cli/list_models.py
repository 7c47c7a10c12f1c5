"""`gemma-structured models`: what OpenRouter has, what it costs, and what it can be used for."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Final

from rich.table import Table
from rich.text import Text

from gemma_structured.cli.exit_codes import ExitCode
from gemma_structured.cli.reporting import out
from gemma_structured.exceptions import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from decimal import Decimal

    from gemma_structured.remote.pricing import ModelInfo
    from gemma_structured.types import JsonValue

__all__ = ["list_models"]

_ANY_MODEL: Final = "openrouter/auto"
"""The list is the same whichever model asks for it."""
_MILLION: Final = 1_000_000


def list_models(words: Sequence[str]) -> ExitCode:
    """Print the models whose names hold all the words: a table for people, JSON Lines for pipes.

    Raises:
        InputError: There is none.
        ModelError: OpenRouter does not say.
    """
    from gemma_structured.models.openrouter import OpenRouterModel  # noqa: PLC0415 - slow to import

    with OpenRouterModel(_ANY_MODEL) as model:
        known = model.models()
    found = [
        known[name] for name in sorted(known) if all(word.lower() in name.lower() for word in words)
    ]
    if not found:
        raise InputError(
            f"None of OpenRouter's {len(known)} models has a name with {' and '.join(words)!r}."
            if words
            else "OpenRouter lists no models."
        )
    if sys.stdout.isatty():
        out().print(_table(found))
    else:
        for info in found:
            print(json.dumps(_record(info), ensure_ascii=False))  # noqa: T201 - for pipes
    return ExitCode.OK


def _table(models: Iterable[ModelInfo]) -> Table:
    table = Table(caption=Text("Dollars a million tokens; of the prompt, and of the answer."))
    table.add_column("model", no_wrap=True, overflow="fold")  # to be copied
    for heading in ("prompt", "answer", "context"):
        table.add_column(heading, justify="right")
    table.add_column("supports", overflow="fold")
    for info in models:
        price, context = info.pricing, info.context_length
        table.add_row(
            Text(info.name),
            _a_million(price.prompt if price is not None else None),
            _a_million(price.completion if price is not None else None),
            "?" if context is None else f"{context:,}",
            Text(", ".join(info.features)),
        )
    return table


def _a_million(price: Decimal | None) -> str:
    if price is None:
        return "?"
    return f"{(price * _MILLION).normalize():f}" if price else "free"


def _record(info: ModelInfo) -> dict[str, JsonValue]:
    price, prices = info.pricing, None
    if price is not None:
        parts = ("prompt", "completion", "request", "image", "cached")
        amounts: list[Decimal | None] = [getattr(price, part) for part in parts]
        prices = {
            part: None if amount is None else f"{amount:f}"
            for part, amount in zip(parts, amounts, strict=True)
        }
    return {
        "model": info.name,
        "context_length": info.context_length,
        "pricing": dict(prices) if prices is not None else None,
        "supports": list(info.features),
        "parameters": [*sorted(info.supported_parameters)],
    }
