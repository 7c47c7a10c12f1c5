"""Grammars in the form that llguidance reads."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from gemma_structured.exceptions import GrammarError
from gemma_structured.grammar.ecma import whole_match
from gemma_structured.schema.lark_size import check_lark_size
from gemma_structured.schema.schema_size import check_schema_size

if TYPE_CHECKING:
    from gemma_structured.grammar.spec import Grammar
    from gemma_structured.schema.llguidance_limits import LLGuidanceLimits
    from gemma_structured.types import JsonValue

__all__ = ["llguidance_source"]

_COMPACT: Final[JsonValue] = {
    "whitespace_flexible": False,
    "item_separator": ",",
    "key_separator": ":",
    "lenient": False,
    "coerce_one_of": False,
}
"""Compact JSON, and every keyword enforced or refused. Free white space is what models loop in."""


def llguidance_source(grammar: Grammar, limits: LLGuidanceLimits) -> str:
    """The grammar in llguidance's own terms, as JSON.

    Raises:
        GrammarError: No text fits it, or it is too large to compile in bounded time.
    """
    if grammar.kind == "json_schema":
        part: dict[str, JsonValue] = {"json_schema": _schema(grammar.value, limits)}
    elif grammar.kind == "regex":
        part = {"lark_grammar": f"start: TEXT\nTEXT: /{whole_match(grammar.source)}/"}
    elif grammar.kind == "choice":
        # One terminal is one automaton; alternatives of a rule would be parsed one by one.
        part = {
            "lark_grammar": f"start: TEXT\nTEXT: {' | '.join(map(json.dumps, grammar.options))}"
        }
    else:
        check_lark_size(grammar.source, limits)
        part = {"lark_grammar": grammar.source}
    return json.dumps({"grammars": [part]})


def _schema(schema: JsonValue, limits: LLGuidanceLimits) -> dict[str, JsonValue]:
    if schema is False:
        raise GrammarError("The schema is `false`: there is no value that it allows.")
    if schema is True:
        schema = {}
    if not isinstance(schema, dict):
        raise GrammarError("The source of a JSON Schema grammar is not a JSON Schema.")
    check_schema_size(schema, limits)
    return {**schema, "x-guidance": _COMPACT}
