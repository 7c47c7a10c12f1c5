"""Which model is meant: `embedded`, a folder or hub id, or `openrouter:<slug>`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemma_structured.cli.reporting import err, say
from gemma_structured.exceptions import InputError

if TYPE_CHECKING:
    from gemma_structured.models.base import Model

__all__ = ["MODEL_HELP", "build_model", "is_remote"]

MODEL_HELP = (
    "`embedded` (the packaged Gemma 3 270M), a folder or hub id of a local model, or "
    "`openrouter:<slug>` (the key comes from OPENROUTER_API_KEY; documents are sent there)."
)
_OPENROUTER = "openrouter:"


def is_remote(name: str) -> bool:
    """Whether documents leave this machine."""
    return name.startswith(_OPENROUTER)


def build_model(name: str) -> Model:
    """The model that a name stands for, loaded if it is a local one.

    Raises:
        InputError: The name is empty.
        LoadError: It cannot be loaded.
    """
    if is_remote(name):
        from gemma_structured.models.openrouter import OpenRouterModel  # noqa: PLC0415

        slug = name.removeprefix(_OPENROUTER)
        if not slug:
            raise InputError(
                "openrouter: needs a model's slug, as openrouter:google/gemma-3-27b-it."
            )
        return OpenRouterModel(slug)
    if not name.strip():
        raise InputError("The model's name is empty.", hint="Try --model embedded.")
    from gemma_structured.models.local import LocalModel  # noqa: PLC0415

    model = LocalModel(name)
    if err().is_terminal:
        say(f"Loading {name} ...", style="dim")
    model.load()
    return model
