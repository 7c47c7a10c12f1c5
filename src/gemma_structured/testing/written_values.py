"""Writes values as a grammar has them: compact, and with keys in whatever order it allows."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    return any(matcher.is_accepting for _ in _Writer(matcher, vocabulary).value(value))


class _Writer:
    """Writes what the matcher allows: each method yields once for every way, and takes it back.

    The next part of a text is written while those before it are suspended, so that the depth of
    calls is that of the value, whatever its size.
    """

    def __init__(self, matcher: GrammarMatcher, vocabulary: Vocabulary) -> None:
        self.matcher, self.vocabulary = matcher, vocabulary

    def text(self, text: str) -> Iterator[None]:
        ids = self.vocabulary.encode(text)
        if self.matcher.count_valid(ids) == len(ids):
            self.matcher.accept(ids)
            yield
            self.matcher.rollback(len(ids))

    def value(self, value: JsonValue) -> Iterator[None]:
        if isinstance(value, dict):
            for _ in self.text("{"):
                yield from self.members(list(value.items()), "")
        elif isinstance(value, list):
            for _ in self.text("["):
                yield from self.items(value, "")
        else:
            yield from self.text(canonical(value))

    def items(self, items: list[JsonValue], comma: str) -> Iterator[None]:
        if not items:
            yield from self.text("]")
            return
        for _ in self.text(comma):
            for _ in self.value(items[0]):
                yield from self.items(items[1:], ",")

    def members(self, members: list[tuple[str, JsonValue]], comma: str) -> Iterator[None]:
        if not members:
            yield from self.text("}")
            return
        for n, (key, value) in enumerate(members):
            for _ in self.text(f"{comma}{canonical(key)}:"):
                for _ in self.value(value):
                    yield from self.members(members[:n] + members[n + 1 :], ",")
