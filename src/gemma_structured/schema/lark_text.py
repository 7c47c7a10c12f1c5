"""Checks text against a Lark grammar, byte by byte, where llguidance is installed.

A grammar has the limits here that it has when it is compiled for a model.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from gemma_structured.exceptions import GrammarError, LoadError, SchemaError
from gemma_structured.schema.llguidance_limits import DEFAULT_LIMITS, parser_limits

if TYPE_CHECKING:
    from llguidance import LLTokenizer

    from gemma_structured.schema.llguidance_limits import LLGuidanceLimits

__all__ = ["LarkText"]

_SYNTAX: Final = "https://github.com/guidance-ai/llguidance/blob/main/docs/syntax.md"


class LarkText:
    """A Lark grammar that texts are checked against, with one token a byte."""

    __slots__ = ("_limits", "_source")

    def __init__(self, source: str, limits: LLGuidanceLimits) -> None:
        self._source = source
        self._limits = limits

    @classmethod
    def of(cls, source: str, limits: LLGuidanceLimits = DEFAULT_LIMITS) -> LarkText:
        """The grammar, once it is known that it can be used, from a bounded cache.

        Raises:
            SchemaError: It passes a limit or, where llguidance is installed, does not compile.
        """
        return _cached(source, limits)

    def check(self) -> None:
        """Refuse a grammar that cannot be used; see `of`."""
        self._check_size()
        try:
            from llguidance import LLMatcher, grammar_from  # noqa: PLC0415 - an extra
        except ImportError:
            return
        error = LLMatcher.validate_grammar(
            grammar_from("lark", self._source),
            _byte_tokenizer(),
            limits=parser_limits(self._limits),
        )
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
        matcher = LLMatcher(
            _byte_tokenizer(),
            grammar_from("lark", self._source),
            log_level=0,
            limits=parser_limits(self._limits),
        )
        data = text.encode()
        taken = matcher.try_consume_tokens(list(data))
        if taken == len(data):
            return bool(matcher.is_accepting())
        if matcher.is_error() and not matcher.is_stopped():
            raise SchemaError(
                "The Lark grammar is too large to check this text with.", keyword="lark"
            )
        return False

    def _check_size(self) -> None:
        from gemma_structured.schema.lark_size import check_lark_size  # noqa: PLC0415 - a cycle

        try:
            check_lark_size(self._source, self._limits)
        except GrammarError as error:
            raise SchemaError(
                f"The Lark grammar cannot be used: {error.message}", keyword="lark", hint=error.hint
            ) from None


@lru_cache(maxsize=256)
def _cached(source: str, limits: LLGuidanceLimits) -> LarkText:
    grammar = LarkText(source, limits)
    grammar.check()
    return grammar


@lru_cache(maxsize=1)
def _byte_tokenizer() -> LLTokenizer:
    from llguidance import LLTokenizer  # noqa: PLC0415 - an extra

    return LLTokenizer("byte")
