"""What a docstring says about a function and its parameters."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FunctionDocs", "read_docstring"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionDocs:
    """A docstring, taken apart.

    Attributes:
        description: What the function does: all before the first section.
        parameters: Descriptions by parameter name.
    """

    description: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict[str, str])


def read_docstring(docstring: str | None) -> FunctionDocs:
    """Read a docstring in the style of Google, NumPy, Sphinx or Epydoc.

    What follows no style is all description.
    """
    text = inspect.cleandoc(docstring or "")
    if not text:
        return FunctionDocs()
    from docstring_parser import ParseError, parse  # noqa: PLC0415 - only where tools are made

    try:
        parsed = parse(text)
    except ParseError:
        return FunctionDocs(description=text)
    parts = [parsed.short_description, parsed.long_description]
    described = {
        param.arg_name.lstrip("*"): " ".join(param.description.split())
        for param in parsed.params
        if param.description
    }
    return FunctionDocs(
        description="\n\n".join(part.strip() for part in parts if part), parameters=described
    )
