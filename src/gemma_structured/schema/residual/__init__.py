"""Checks residual keywords while a value is being written, as soon as what they concern is closed.

A residual keyword is one that the mask cannot enforce (see `gemma_structured.schema.normalize`).
"""

from __future__ import annotations

from gemma_structured.schema.residual.checks import ResidualChecks, ResidualFollower

__all__ = ["ResidualChecks", "ResidualFollower"]
