"""The output type of answers that may be any text."""

from __future__ import annotations

from typing import Final

from gemma_structured.schema.output_type import OutputType
from gemma_structured.schema.terms import Regex

__all__ = ["FREE_TEXT"]

FREE_TEXT: Final[OutputType[str]] = OutputType(Regex(r"[\s\S]*"), name="text")
"""Whoever is asked for this very output type is told of no form that the answer is to have."""
