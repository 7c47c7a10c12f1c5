"""Which models are meant: `embedded`, a folder or hub id, or `openrouter:<slug>`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from gemma_structured.cli.reporting import err, say, warn
from gemma_structured.exceptions import InputError, LoadError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gemma_structured.budget import Budget as SharedBudget
    from gemma_structured.models.base import Model

__all__ = ["MODEL_HELP", "Budget", "Fallbacks", "build_model", "is_remote"]

MODEL_HELP = (
    "`embedded` (the packaged Gemma 3 270M), a folder or hub id of a local model, or "
    "`openrouter:<slug>` (the key comes from OPENROUTER_API_KEY; documents are sent there)."
)
_OPENROUTER = "openrouter:"

Fallbacks = Annotated[
    list[str] | None,
    typer.Option(
        "--fallback",
        metavar="MODEL",
        help="Asked where the model cannot answer; as --model. May be given several times.",
    ),
]
"""The option for the models that are asked next."""

Budget = Annotated[
    str | None,
    typer.Option(
        "--budget",
        metavar="DOLLARS",
        help="The most that remote models may cost in this run, as 0.50.",
    ),
]
"""The option for what a run may cost."""


def is_remote(name: str) -> bool:
    """Whether documents leave this machine."""
    return name.startswith(_OPENROUTER)


def build_model(name: str, fallbacks: Sequence[str] = (), budget: str | None = None) -> Model:
    """The model that the names stand for, with its local ones loaded.

    A local model that cannot be loaded is left out where there are others; people are told.

    Args:
        name: The model that is asked first.
        fallbacks: Those that are asked where it cannot answer.
        budget: Dollars that the remote ones may cost together.

    Raises:
        InputError: A name is empty, or the budget is no amount of money.
        LoadError: The last of the models cannot be loaded.
    """
    from gemma_structured.budget import Budget as SharedBudget  # noqa: PLC0415 - slow to import

    shared = SharedBudget(max_cost=budget) if budget is not None else None
    named = [(each, _named(each, shared)) for each in (name, *fallbacks)]
    models: list[Model] = []
    for number, (each, model) in enumerate(named, start=1):
        try:
            models.append(_loaded(each, model))
        except LoadError as error:
            if number == len(named) and not models:
                raise
            warn(f"{each} cannot be loaded, and is not asked: {error}")
    if len(models) == 1:
        return models[0]
    from gemma_structured.models.fallback import FallbackModel  # noqa: PLC0415 - slow to import

    return FallbackModel(*models)


def _named(name: str, budget: SharedBudget | None) -> Model:
    """The model that a name stands for; nothing is loaded."""
    if is_remote(name):
        from gemma_structured.models.openrouter import OpenRouterModel  # noqa: PLC0415

        slug = name.removeprefix(_OPENROUTER)
        if not slug:
            raise InputError(
                "openrouter: needs a model's slug, as openrouter:google/gemma-3-27b-it.",
                hint="`gemma-structured models` lists them.",
            )
        return OpenRouterModel(slug, budget=budget)
    if not name.strip():
        raise InputError("The model's name is empty.", hint="Try --model embedded.")
    from gemma_structured.models.local import LocalModel  # noqa: PLC0415

    return LocalModel(name)


def _loaded(name: str, model: Model) -> Model:
    from gemma_structured.models.local import LocalModel  # noqa: PLC0415

    if not isinstance(model, LocalModel):
        return model
    if err().is_terminal:
        say(f"Loading {name} ...", style="dim")
    return model.load()
