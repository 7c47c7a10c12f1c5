"""The expansions: each takes something out of a shape that a grammar has no word for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gemma_structured.schema.normalize.expand.contains import contains
from gemma_structured.schema.normalize.expand.counting import counting
from gemma_structured.schema.normalize.expand.exclusions import exclusions
from gemma_structured.schema.normalize.expand.names import names
from gemma_structured.schema.normalize.expand.steps import steps
from gemma_structured.schema.normalize.expand.unique_items import unique_items

if TYPE_CHECKING:
    from gemma_structured.schema.normalize.expand.context import Expansion

__all__ = ["EXPANSIONS"]

EXPANSIONS: Final[tuple[Expansion, ...]] = (
    exclusions,
    steps,
    names,
    counting,
    contains,
    unique_items,
)
"""In the order in which they run."""
