"""The default backend: llguidance (https://github.com/guidance-ai/llguidance), called directly.

It compiles in about a millisecond, computes masks as they are asked for, and forces only the tokens
that the tokenizer itself would write.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

from gemma_structured.exceptions import GrammarError, LoadError
from gemma_structured.grammar import bitmask
from gemma_structured.grammar.llguidance_errors import check_forced, compile_error
from gemma_structured.grammar.llguidance_matcher import LLGuidanceMatcher
from gemma_structured.grammar.llguidance_source import llguidance_source
from gemma_structured.schema.llguidance_limits import (
    DEFAULT_LIMITS,
    LLGuidanceLimits,
    parser_limits,
)

try:
    from llguidance import LLMatcher, LLTokenizer, TokenizerWrapper
except ImportError as error:
    raise LoadError(
        "The grammar backend llguidance is not installed.",
        hint="pip install 'gemma-structured[local]'",
    ) from error

if TYPE_CHECKING:
    from gemma_structured.grammar.spec import Grammar
    from gemma_structured.grammar.vocabulary import Vocabulary

__all__ = ["LLGuidanceBackend", "LLGuidanceGrammar", "LLGuidanceLimits"]

_KINDS: Final = frozenset({"json_schema", "regex", "choice", "lark"})


class LLGuidanceBackend:
    """Compiles all kinds of grammars with llguidance.

    Args:
        limits: How much work a grammar may cause before it is refused.
    """

    def __init__(self, *, limits: LLGuidanceLimits = DEFAULT_LIMITS) -> None:
        self.limits = limits
        # Most of a second's work for 262,144 tokens: once a vocabulary, and gone with it.
        self._tokenizers: WeakKeyDictionary[Vocabulary, LLTokenizer] = WeakKeyDictionary()
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """What users call it by."""
        return "llguidance"

    def supports(self, grammar: Grammar) -> bool:
        """Every kind: what llguidance cannot enforce, it refuses to compile."""
        return grammar.kind in _KINDS

    def compile(self, grammar: Grammar, vocabulary: Vocabulary) -> LLGuidanceGrammar:
        """Make a grammar ready for a vocabulary.

        Raises:
            GrammarError: It is malformed, uses what llguidance does not know, cannot be satisfied,
                or passes a limit.
        """
        source = llguidance_source(grammar, self.limits)
        matcher = LLMatcher(
            self._tokenizer(vocabulary), source, log_level=0, limits=parser_limits(self.limits)
        )
        if matcher.is_error():
            raise compile_error(grammar, matcher.get_error(), self.limits)
        compiled = LLGuidanceGrammar(grammar, vocabulary, matcher, self.limits)
        _probe(compiled, matcher.deep_copy())
        return compiled

    def _tokenizer(self, vocabulary: Vocabulary) -> LLTokenizer:
        with self._lock:
            found = self._tokenizers.get(vocabulary)
            if found is None:
                wrapper = TokenizerWrapper(_TokenizerView(vocabulary))
                found = LLTokenizer(wrapper, eos_token=list(vocabulary.end_ids))
                self._tokenizers[vocabulary] = found
            return found


class LLGuidanceGrammar:
    """A grammar that llguidance has compiled: a matcher that never moves, and is forked instead."""

    __slots__ = ("_matcher", "grammar", "limits", "vocabulary")

    def __init__(
        self,
        grammar: Grammar,
        vocabulary: Vocabulary,
        matcher: LLMatcher,
        limits: LLGuidanceLimits,
    ) -> None:
        self.grammar = grammar
        self.vocabulary = vocabulary
        self.limits = limits
        self._matcher = matcher

    def matcher(self) -> LLGuidanceMatcher:
        """A matcher at the start of the grammar."""
        return LLGuidanceMatcher(self.vocabulary, self._matcher.deep_copy(), self.limits)


class _TokenizerView:
    """The vocabulary as `llguidance.TokenizerWrapper` wants to see it."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._encode = vocabulary.encoder.encode  # not the vocabulary, which would never be let go
        self.eos_token_id = vocabulary.end_ids[0]
        self.bos_token_id = None
        self.tokens = vocabulary.tokens
        self.special_token_ids = sorted(vocabulary.control_ids)

    def __call__(self, text: str | bytes) -> list[int]:
        return self._encode(text if isinstance(text, str) else text.decode())


def _probe(compiled: LLGuidanceGrammar, matcher: LLMatcher) -> None:
    """Find out now, not in the middle of a request, that nothing can be written or taken back."""
    grammar, vocabulary = compiled.grammar, compiled.vocabulary
    row = bitmask.allocate_row(vocabulary.size)
    matcher.unsafe_compute_mask_ptr(row.ctypes.data, row.nbytes)
    check_forced(matcher.compute_ff_tokens(), compiled.limits)
    nothing_fits = "NoExtension" in matcher.get_error()
    if nothing_fits or not (matcher.is_error() or row.any()):
        raise GrammarError(f"No text satisfies the {grammar.kind.replace('_', ' ')} grammar.")
    if grammar.kind == "lark" and not matcher.is_error():
        bitmask.forbid(row, vocabulary.end_ids)
        first = bitmask.allowed_ids(row, vocabulary.size)[:1].tolist()
        matcher.rollback(matcher.try_consume_tokens(first))
    if matcher.is_error():
        raise compile_error(grammar, matcher.get_error(), compiled.limits)
