"""Recognises the output types of outlines, without importing it.

Its terms are known by the module of their class; whoever has made one has outlines loaded.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from gemma_structured.exceptions import SchemaError
from gemma_structured.schema.json_schema import JsonSchema
from gemma_structured.schema.terms import Choice, Lark, Regex

__all__ = ["from_outlines"]


def from_outlines(spec: object) -> JsonSchema | Regex | Choice | Lark | None:
    """The same term as ours, or `None` if this is not one of outlines' terms.

    Raises:
        SchemaError: It is one that cannot be used.
    """
    kind = type(spec)
    if not kind.__module__.startswith("outlines.types"):
        return None
    term: Any = spec
    if kind.__name__ == "JsonSchema":
        return JsonSchema(json.loads(term.schema))
    if kind.__name__ == "CFG":
        return Lark(term.definition)
    if kind.__name__ == "Choice":
        options = [getattr(item, "value", item) for item in term.items]
        if all(isinstance(option, str) for option in options):
            return Choice(options)
        return JsonSchema({"enum": options})
    if kind.__name__ == "Regex":
        return Regex(term.pattern)
    to_regex = getattr(sys.modules[kind.__module__], "to_regex", None)
    try:
        if to_regex is not None:
            return Regex(to_regex(term))
    except (TypeError, NotImplementedError) as error:
        raise SchemaError(f"This outlines term has no regular expression: {error}.") from None
    return None
