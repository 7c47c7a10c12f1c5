"""Writes values as a grammar has them: compact, and with keys in whatever order it allows."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemma_structured.grammar.backend import GrammarMatcher
    from gemma_structured.grammar.vocabulary import Vocabulary
    from gemma_structured.types import JsonValue

__all__ = ["accepts", "canonical"]


def canonical(value: JsonValue) -> str:
    """Compact JSON, its numbers as digits: no exponents, no point where there is no fraction."""
    if isinstance(value, dict):
        members = (f"{canonical(key)}:{canonical(item)}" for key, item in value.items())
        return "{" + ",".join(members) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    if isinstance(value, float):
        digits = format(Decimal(repr(value)), "f")
        digits = digits.rstrip("0").rstrip(".") if "." in digits else digits
        return "0" if digits == "-0" else digits
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def accepts(matcher: GrammarMatcher, vocabulary: Vocabulary, value: JsonValue) -> bool:
    """Whether a matcher at its start accepts a value with the keys of its objects in some order."""
    writer = _Writer(matcher, vocabulary)
    return writer.value(value, lambda: matcher.is_accepting)


class _Writer:
    def __init__(self, matcher: GrammarMatcher, vocabulary: Vocabulary) -> None:
        self.matcher, self.vocabulary = matcher, vocabulary

    def text(self, text: str, then: Callable[[], bool]) -> bool:
        ids = self.vocabulary.encode(text)
        if self.matcher.count_valid(ids) < len(ids):
            return False
        self.matcher.accept(ids)
        if then():
            return True
        self.matcher.rollback(len(ids))
        return False

    def value(self, value: Any, then: Callable[[], bool]) -> bool:
        if isinstance(value, dict):
            return self.text("{", lambda: self.members(list(value.items()), "", then))
        if isinstance(value, list):
            return self.text("[", lambda: self.items(value, "", then))
        return self.text(canonical(value), then)

    def items(self, items: list[Any], comma: str, then: Callable[[], bool]) -> bool:
        if not items:
            return self.text("]", then)
        first, *rest = items
        return self.text(comma, lambda: self.value(first, lambda: self.items(rest, ",", then)))

    def members(self, members: list[tuple[str, Any]], comma: str, then: Callable[[], bool]) -> bool:
        if not members:
            return self.text("}", then)
        return any(
            self.text(
                f"{comma}{canonical(key)}:",
                lambda value=value, n=n: self.value(  # type: ignore[misc]
                    value, lambda: self.members(members[:n] + members[n + 1 :], ",", then)
                ),
            )
            for n, (key, value) in enumerate(members)
        )
