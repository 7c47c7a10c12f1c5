"""Regular expressions of ECMA-262: read by `regress`, matched in bounded time."""

from __future__ import annotations

from gemma_structured.schema.ecma.matcher import MatchBudgetError
from gemma_structured.schema.ecma.regex import EcmaRegex

__all__ = ["EcmaRegex", "MatchBudgetError"]
