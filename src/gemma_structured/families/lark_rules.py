"""Pieces of Lark, in llguidance's dialect (https://github.com/guidance-ai/llguidance)."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gemma_structured.grammar.spec import Grammar
    from gemma_structured.grammar.vocabulary import Vocabulary
    from gemma_structured.types import JsonValue

__all__ = [
    "JsonStyle",
    "answer_rule",
    "escaped",
    "json_rule",
    "literal",
    "marker",
    "repeated",
    "without",
]

JsonStyle = tuple[str, str]
"""What stands between the members of JSON: after a value, and after a key."""

COMPACT: Final[JsonStyle] = (",", ":")

_REGEX_SIGNS = re.compile(r"[.^$*+?()\[\]{}|\\/&~\-#]")


def literal(text: str) -> str:
    """A text as it is."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def marker(name: str, vocabulary: Vocabulary) -> str:
    """A control token by its name; where the vocabulary has none, the name as text."""
    token_id = vocabulary.token_id(name)
    return literal(name) if token_id is None else f"<[{token_id}]>"


def without(*texts: str) -> str:
    """The end of a terminal that may hold none of some texts."""
    return "".join(f" & ~/(?s:.*){escaped(text)}(?s:.*)/" for text in texts)


def repeated(item: str, least: int, most: int) -> str:
    """An item some times, which may be none."""
    if most < 1:
        return ""
    return f"({item}){{{least},{most}}}"


def json_rule(schema: Mapping[str, JsonValue] | bool, style: JsonStyle = COMPACT) -> str:  # noqa: FBT001
    """JSON that a schema allows, with fixed separators."""
    members: Mapping[str, JsonValue] = {} if isinstance(schema, bool) else schema
    guidance: JsonValue = {
        "whitespace_flexible": False,
        "item_separator": style[0],
        "key_separator": style[1],
        "lenient": False,
        "coerce_one_of": False,
    }
    return "%json " + json.dumps({**members, "x-guidance": guidance}, ensure_ascii=False)


def answer_rule(grammar: Grammar) -> str:
    """A whole grammar as a part of another."""
    from gemma_structured.grammar.ecma import whole_match  # noqa: PLC0415 - only where one is built

    match grammar.kind:
        case "json_schema":
            schema = grammar.value
            assert isinstance(schema, dict | bool)
            return f"answer: {json_rule(schema)}"
        case "regex":
            return f"answer: ANSWER\nANSWER: /{whole_match(grammar.source)}/"
        case "choice":
            return f"answer: ANSWER\nANSWER: {' | '.join(map(literal, grammar.options))}"
        case "lark":
            return f"answer: %lark {{\n{grammar.source}\n}}"


def escaped(text: str) -> str:
    """A regular expression that matches a text and nothing else."""
    return _REGEX_SIGNS.sub(lambda sign: f"\\{sign[0]}", text)
