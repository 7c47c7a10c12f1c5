"""The formats of JSON Schema: every one that a draft defines is really checked."""

from __future__ import annotations

from gemma_structured.schema.formats.checker import FORMATS, format_checker

__all__ = ["FORMATS", "format_checker"]
