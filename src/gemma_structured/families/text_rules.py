"""Strings of a JSON Schema as terminals of Lark."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemma_structured.families.lark_rules import literal, without
from gemma_structured.grammar.ecma import whole_match
from gemma_structured.schema.ecma import EcmaRegex
from gemma_structured.schema.normalize.regex.parse import parse
from gemma_structured.schema.normalize.regex.syntax import EMPTY, End, RegexError, Seq, Start

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gemma_structured.types import JsonValue

__all__ = ["pattern_part", "text_terminal"]


def text_terminal(schema: Mapping[str, JsonValue], *forbidden: str) -> tuple[str, bool]:
    """The texts that a string's schema allows.

    Args:
        schema: Of strings: `enum`, or lengths and patterns, those in `allOf` too.
        forbidden: What no text may hold, since it would end it.

    Returns:
        The terminal of those that are not empty, itself empty where there is none, and whether
        there is the empty text.
    """
    values = schema.get("enum")
    if isinstance(values, list):
        texts = [text for text in values if isinstance(text, str)]
        kept = [text for text in texts if text and not any(each in text for each in forbidden)]
        return " | ".join(map(literal, kept)), "" in texts
    patterns = _patterns(schema)
    least, most = schema.get("minLength"), schema.get("maxLength")
    least = int(least) if isinstance(least, (int, float)) else 0
    empty = least == 0 and all(EcmaRegex.of(pattern).search("") for pattern in patterns)
    if isinstance(most, (int, float)):
        if most < 1:
            return "", empty
        length = f"{{{max(least, 1)},{int(most)}}}"
    else:
        length = f"{{{max(least, 1)},}}"
    parts = [f"/(?s:.){length}/", *map(pattern_part, patterns)]
    return " & ".join(parts) + without(*forbidden), empty


def pattern_part(pattern: str) -> str:
    """The texts in which a pattern of JSON Schema, which need not match them whole, is found."""
    try:
        tree = parse(pattern)
    except RegexError:
        tree = EMPTY  # `whole_match` says what is wrong with it
    parts = tree.parts if isinstance(tree, Seq) else (tree,)
    before = "" if isinstance(parts[0], Start) else r"[\s\S]*"
    after = "" if isinstance(parts[-1], End) else r"[\s\S]*"
    return f"/{whole_match(f'{before}(?:{pattern}){after}')}/"


def _patterns(schema: Mapping[str, JsonValue]) -> list[str]:
    found: list[JsonValue] = [schema.get("pattern")]
    parts = schema.get("allOf")
    if isinstance(parts, list):
        found += [part.get("pattern") for part in parts if isinstance(part, dict)]
    return [pattern for pattern in found if isinstance(pattern, str)]
