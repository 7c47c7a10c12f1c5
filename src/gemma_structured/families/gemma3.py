"""Gemma 3: the system's text goes before the first user's, which its template does itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from gemma_structured.families.bare_calls import BareCalls
from gemma_structured.families.base import Family

if TYPE_CHECKING:
    from gemma_structured.families.call_format import CallFormat

__all__ = ["FunctionGemmaCalls", "Gemma3"]


class FunctionGemmaCalls(BareCalls):
    """`<start_function_call>call:NAME{k:<escape>text<escape>}<end_function_call>`."""

    file: ClassVar[str] = "functiongemma.lark"
    opener: ClassVar[str] = "<start_function_call>"
    end: ClassVar[str] = "<end_function_call>"
    quote: ClassVar[str] = "<escape>"
    tokens: ClassVar[tuple[str, ...]] = (opener, end, quote)


class Gemma3(Family):
    """Gemma 3 (https://ai.google.dev/gemma/docs/core/prompt-structure), FunctionGemma among them.

    FunctionGemma is told by the tokens for calls, which it alone has.
    """

    name: ClassVar[str] = "gemma3"
    model_types: ClassVar[frozenset[str]] = frozenset({"gemma3", "gemma3_text"})
    call_formats: ClassVar[tuple[CallFormat, ...]] = (FunctionGemmaCalls(),)
    structured_returns: ClassVar[bool] = True
