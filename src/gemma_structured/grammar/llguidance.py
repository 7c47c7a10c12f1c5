"""The default backend: llguidance (https://github.com/guidance-ai/llguidance), called directly.

It compiles in about a millisecond, computes masks lazily from the state and forces only the tokens that
the tokenizer itself would write. `LLMatcher` never raises: each call here looks at its error state.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from gemma_structured.exceptions import GrammarError, LoadError, TokenRejectedError
from gemma_structured.grammar.llguidance_source import llguidance_source

try:
    from llguidance import LLMatcher, LLParserLimits, LLTokenizer, TokenizerWrapper
except ImportError as error:  # pragma: no cover - the extra is there in every test environment
    raise LoadError(
        "The grammar backend llguidance is not installed.",
        hint="pip install 'gemma-structured[local]'",
    ) from error

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from gemma_structured.grammar.spec import Grammar
    from gemma_structured.grammar.vocabulary import Vocabulary

__all__ = ["LLGuidanceBackend"]


class LLGuidanceBackend:
    """Compiles all kinds of grammars with llguidance."""

    name = "llguidance"

    def __init__(self) -> None:
        # About a second of work for 262,144 tokens: once a vocabulary, and gone with it.
        self._tokenizers: WeakKeyDictionary[Vocabulary, LLTokenizer] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def supports(self, grammar: Grammar) -> bool:
        """Every kind; llguidance refuses to compile what it cannot enforce."""
        return grammar.kind in {"json_schema", "regex", "choice", "lark"}

    def compile(self, grammar: Grammar, vocabulary: Vocabulary) -> LLGuidanceGrammar:
        """Make a grammar ready for a vocabulary.

        Raises:
            GrammarError: It is malformed, uses what llguidance does not know, or passes a limit.
        """
        source = llguidance_source(grammar)
        matcher = LLMatcher(self._tokenizer(vocabulary), source, log_level=0, limits=_limits())
        if matcher.is_error():
            raise _compile_error(grammar, matcher.get_error())
        return LLGuidanceGrammar(grammar, vocabulary, matcher)

    def _tokenizer(self, vocabulary: Vocabulary) -> LLTokenizer:
        with self._lock:
            found = self._tokenizers.get(vocabulary)
            if found is None:
                found = LLTokenizer(
                    TokenizerWrapper(_TokenizerView(vocabulary)), eos_token=list(vocabulary.end_ids)
                )
                self._tokenizers[vocabulary] = found
            return found


class LLGuidanceGrammar:
    """A grammar that llguidance has compiled: a matcher that is never moved, and forked instead."""

    __slots__ = ("_matcher", "_vocabulary", "grammar")

    def __init__(self, grammar: Grammar, vocabulary: Vocabulary, matcher: LLMatcher) -> None:
        self.grammar = grammar
        self._vocabulary = vocabulary
        self._matcher = matcher

    def matcher(self) -> LLGuidanceMatcher:
        """A matcher at the start of the grammar."""
        return LLGuidanceMatcher(self._vocabulary, self._matcher.deep_copy())


class LLGuidanceMatcher:
    """Where one sequence stands in its grammar."""

    __slots__ = ("_accepted", "_matcher", "_vocabulary")

    def __init__(self, vocabulary: Vocabulary, matcher: LLMatcher, accepted: int = 0) -> None:
        self._vocabulary = vocabulary
        self._matcher = matcher
        self._accepted = accepted

    @property
    def is_accepting(self) -> bool:
        """Whether the text so far is whole, so that it may end here."""
        return self._matcher.is_accepting()

    @property
    def is_finished(self) -> bool:
        """Whether the text so far is whole and nothing but the end may follow."""
        return self._matcher.is_stopped() and self._matcher.is_accepting()

    def accept(self, token_ids: Sequence[int]) -> None:
        """Append tokens to the text: all of them or, on an error, none.

        Raises:
            TokenRejectedError: A token is not allowed at its place.
            GrammarError: An end id was fed, or llguidance failed.
        """
        ids = self._checked(token_ids)
        taken = self._matcher.try_consume_tokens(ids)
        self._check()
        if taken < len(ids):
            self._matcher.rollback(taken)
            self._check()
            raise TokenRejectedError(ids[taken], self._accepted + taken)
        self._accepted += taken

    def count_valid(self, token_ids: Sequence[int]) -> int:
        """The length of the longest prefix that `accept` would take. The state is unchanged."""
        size, end_ids = self._vocabulary.size, self._vocabulary.end_ids
        ids = list(token_ids)
        usable = next((n for n, i in enumerate(ids) if not 0 <= i < size or i in end_ids), len(ids))
        valid = self._matcher.validate_tokens(ids[:usable])
        self._check()
        return valid

    def fill_bitmask(self, bitmask: NDArray[np.int32]) -> None:
        """Write which tokens may follow into one row, `[ceil(vocab / 32)]`.

        Raises:
            GrammarError: The row is not of that shape, or llguidance failed.
        """
        if bitmask.ndim != 1 or not bitmask.flags.c_contiguous or bitmask.itemsize != 4:  # noqa: PLR2004
            raise GrammarError("A bitmask row must be one contiguous row of 32-bit words.")
        try:
            self._matcher.unsafe_compute_mask_ptr(bitmask.ctypes.data, bitmask.nbytes)
        except ValueError:
            raise GrammarError(
                f"A bitmask row for {self._vocabulary.size} tokens does not have {bitmask.size} words."
            ) from None
        self._check()

    def forced_tokens(self) -> list[int]:
        """The only tokens that can follow, up to the next choice; they are not consumed."""
        forced = self._matcher.compute_ff_tokens()
        self._check()
        return forced

    def rollback(self, n: int) -> None:
        """Take back the last `n` accepted tokens.

        Raises:
            GrammarError: Fewer than `n` tokens were accepted.
        """
        if not 0 <= n <= self._accepted:
            raise GrammarError(f"Cannot take back {n} of {self._accepted} accepted tokens.")
        if n:
            self._matcher.rollback(n)
            self._check()
            self._accepted -= n

    def fork(self) -> LLGuidanceMatcher:
        """An independent matcher in the same state."""
        return LLGuidanceMatcher(self._vocabulary, self._matcher.deep_copy(), self._accepted)

    def _checked(self, token_ids: Sequence[int]) -> list[int]:
        size, end_ids = self._vocabulary.size, self._vocabulary.end_ids
        for n, token_id in enumerate(token_ids):
            if not 0 <= token_id < size:
                raise TokenRejectedError(token_id, self._accepted + n)
            if token_id in end_ids:
                raise GrammarError(f"The end id {token_id} was fed to a grammar matcher.")
        return list(token_ids)

    def _check(self) -> None:
        if self._matcher.is_error():
            raise GrammarError(f"llguidance failed while matching: {self._matcher.get_error()}")


class _TokenizerView:
    """The vocabulary as `llguidance.TokenizerWrapper` wants to see it."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._encode = vocabulary.encode
        self.eos_token_id = vocabulary.end_ids[0]
        self.bos_token_id = None
        self.tokens = vocabulary.tokens
        self.special_token_ids = sorted(vocabulary.control_ids)

    def __call__(self, text: str | bytes) -> list[int]:
        return self._encode(text if isinstance(text, str) else text.decode())


def _limits() -> LLParserLimits:
    return LLParserLimits(verbose_errors=False)


def _compile_error(grammar: Grammar, message: str) -> GrammarError:
    return GrammarError(f"The {grammar.kind} grammar does not compile: {message}")
