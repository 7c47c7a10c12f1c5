"""Grammars in the form that llguidance reads."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gemma_structured.grammar.spec import Grammar

__all__ = ["llguidance_source"]

_COMPACT = {"whitespace_flexible": False, "item_separator": ",", "key_separator": ":"}


def llguidance_source(grammar: Grammar) -> str:
    """The grammar in llguidance's own terms, as JSON."""
    if grammar.kind == "json_schema":
        schema = json.loads(grammar.source)
        if isinstance(schema, bool):
            schema = {} if schema else {"not": {}}
        part: dict[str, object] = {"json_schema": schema | {"x-guidance": _COMPACT}}
    elif grammar.kind == "lark":
        part = {"lark_grammar": grammar.source}
    elif grammar.kind == "regex":
        part = {"lark_grammar": f"start: /{grammar.source}/"}
    else:
        options = json.loads(grammar.source)
        part = {"lark_grammar": "start: " + " | ".join(map(json.dumps, options))}
    return json.dumps({"grammars": [part]})
