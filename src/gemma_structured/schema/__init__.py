"""Output types, the JSON Schema they become, and what is done to it before it is a grammar."""

from __future__ import annotations

from gemma_structured.schema.bounds import DEFAULT_BOUNDS, Bounds, bound
from gemma_structured.schema.code import Code
from gemma_structured.schema.json_schema import JsonSchema
from gemma_structured.schema.output_type import OutputType
from gemma_structured.schema.terms import Choice, Lark, Regex, Term

__all__ = [
    "DEFAULT_BOUNDS",
    "Bounds",
    "Choice",
    "Code",
    "JsonSchema",
    "Lark",
    "OutputType",
    "Regex",
    "Term",
    "bound",
]
