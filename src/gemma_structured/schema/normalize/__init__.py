"""Rewrites a JSON Schema into what a grammar enforces exactly, and says what is left over."""

from __future__ import annotations

from gemma_structured.schema.normalize.pipeline import normalize
from gemma_structured.schema.normalize.result import Normalized, Residual

__all__ = ["Normalized", "Residual", "normalize"]
