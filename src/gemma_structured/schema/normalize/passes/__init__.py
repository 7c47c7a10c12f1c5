"""The passes: each takes one keyword (or two that belong together) out of a node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gemma_structured.schema.normalize.passes.conditionals import conditionals
from gemma_structured.schema.normalize.passes.dependents import dependents
from gemma_structured.schema.normalize.passes.marks import MARKS, marks
from gemma_structured.schema.normalize.passes.negation import negation
from gemma_structured.schema.normalize.passes.one_of import one_of
from gemma_structured.schema.normalize.passes.unevaluated import unevaluated

if TYPE_CHECKING:
    from gemma_structured.schema.normalize.passes.context import NodePass

__all__ = ["NODE_PASSES"]

NODE_PASSES: Final[tuple[tuple[frozenset[str], NodePass], ...]] = (
    (frozenset({"unevaluatedProperties", "unevaluatedItems"}), unevaluated),
    (frozenset({"if", "then", "else"}), conditionals),
    (frozenset({"dependentRequired", "dependentSchemas"}), dependents),
    (frozenset({"oneOf"}), one_of),
    (frozenset({"not"}), negation),
    (MARKS, marks),
)
"""By the keywords that they take out, in the order in which they run."""
