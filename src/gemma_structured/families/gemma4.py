"""Gemma 4: turns between `<|turn>` and `<turn|>`, an optional thought in a channel."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from gemma_structured.families.base import Family

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Gemma4"]


class Gemma4(Family):
    """Gemma 4 (https://ai.google.dev/gemma/docs/core/prompt-formatting-gemma4).

    Without thinking the template itself closes an empty thought, so that the answer begins at the
    first token.
    """

    name: ClassVar[str] = "gemma4"
    model_types: ClassVar[frozenset[str]] = frozenset({"gemma4", "gemma4_text"})
    template_variables: ClassVar[Mapping[str, object]] = {"enable_thinking": False}
