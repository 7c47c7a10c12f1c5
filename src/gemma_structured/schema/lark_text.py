"""Checks text against a Lark grammar, byte by byte, where llguidance is installed."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from gemma_structured.exceptions import LoadError, SchemaError

if TYPE_CHECKING:
    from llguidance import LLTokenizer

__all__ = ["LarkText"]

_SYNTAX: Final = "https://github.com/guidance-ai/llguidance/blob/main/docs/syntax.md"


class LarkText:
    """A Lark grammar that texts are checked against, with one token a byte."""

    __slots__ = ("_source",)

    def __init__(self, source: str) -> None:
        self._source = source

    @classmethod
    def of(cls, source: str) -> LarkText:
        """The grammar, from a bounded cache."""
        return _cached(source)

    def check(self) -> None:
        """Refuse a grammar that does not compile; do nothing where llguidance is missing.

        Raises:
            SchemaError: It does not compile.
        """
        try:
            from llguidance import LLMatcher, grammar_from  # noqa: PLC0415 - an extra
        except ImportError:
            return
        error = LLMatcher.validate_grammar(grammar_from("lark", self._source), _byte_tokenizer())
        if error:
            raise SchemaError(
                f"The Lark grammar does not compile: {error.splitlines()[0]:.200}.",
                keyword="lark",
                hint=f"Its syntax: {_SYNTAX}.",
            )

    def matches(self, text: str) -> bool:
        """Whether the grammar derives the whole text.

        Raises:
            LoadError: llguidance is not installed.
            SchemaError: The grammar is too large to check this text with.
        """
        try:
            from llguidance import LLMatcher, grammar_from  # noqa: PLC0415 - an extra
        except ImportError:
            raise LoadError(
                "Checking a text against a Lark grammar needs llguidance.",
                hint="pip install 'gemma-structured[local]'",
            ) from None
        matcher = LLMatcher(_byte_tokenizer(), grammar_from("lark", self._source), log_level=0)
        data = text.encode()
        taken = matcher.try_consume_tokens(list(data))
        if taken == len(data):
            return bool(matcher.is_accepting())
        if matcher.is_error() and not matcher.is_stopped():
            raise SchemaError(
                "The Lark grammar is too large to check this text with.", keyword="lark"
            )
        return False


@lru_cache(maxsize=256)
def _cached(source: str) -> LarkText:
    grammar = LarkText(source)
    grammar.check()
    return grammar


@lru_cache(maxsize=1)
def _byte_tokenizer() -> LLTokenizer:
    from llguidance import LLTokenizer  # noqa: PLC0415 - an extra

    return LLTokenizer("byte")
