"""The seam between the decode loop and the library that computes masks.

A *backend* turns a grammar and a vocabulary into a *compiled grammar*, which many requests share;
each request walks it with a *matcher* of its own.

```
GrammarBackend.compile(grammar, vocabulary) → CompiledGrammar.matcher() → GrammarMatcher
```
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from gemma_structured.grammar.spec import Grammar
    from gemma_structured.grammar.vocabulary import Vocabulary

__all__ = ["CompiledGrammar", "GrammarBackend", "GrammarMatcher"]


@runtime_checkable
class GrammarMatcher(Protocol):
    """Where one sequence stands in its grammar.

    End ids are never fed to a matcher: the loop stops when the model samples one, which the mask
    lets it do only while `is_accepting`. A rejected token leaves the state as it was; once a limit
    of the backend was passed, the matcher is of no more use.
    """

    @property
    def is_accepting(self) -> bool:
        """Whether the text so far is whole, so that it may end here."""
        ...

    @property
    def is_finished(self) -> bool:
        """Whether the text so far is whole and nothing but the end may follow."""
        ...

    def accept(self, token_ids: Sequence[int]) -> None:
        """Append tokens to the text: all of them or, on an error, none.

        Raises:
            TokenRejectedError: A token is not allowed at its place.
            GrammarError: An end id was fed, or the backend failed (a limit was passed).
        """
        ...

    def count_valid(self, token_ids: Sequence[int]) -> int:
        """The length of the longest prefix that `accept` would take. The state is unchanged."""
        ...

    def fill_bitmask(self, bitmask: NDArray[np.int32]) -> None:
        """Write which tokens may follow.

        Args:
            bitmask: One row, `[ceil(vocab / 32)]`; bit `i % 32` of word `i // 32` is token `i`.
                Every word is written. The end ids' bits are set if and only if `is_accepting`.

        Raises:
            GrammarError: The backend failed (a limit was passed).
        """
        ...

    def forced_tokens(self) -> list[int]:
        """The only tokens that can follow, up to the next choice; they are not consumed.

        They are the tokens with which the tokenizer itself would write the forced text; where it is
        not sure how it would, the list is shorter, or empty.
        """
        ...

    def rollback(self, n: int) -> None:
        """Take back the last `n` accepted tokens; the state is exactly what it was before them.

        Raises:
            GrammarError: Fewer than `n` tokens were accepted.
        """
        ...

    def fork(self) -> GrammarMatcher:
        """An independent matcher in the same state."""
        ...


@runtime_checkable
class CompiledGrammar(Protocol):
    """A grammar made ready for a vocabulary. It is immutable and may be shared between threads."""

    @property
    def grammar(self) -> Grammar:
        """What was compiled."""
        ...

    def matcher(self) -> GrammarMatcher:
        """A matcher at the start of the grammar."""
        ...


@runtime_checkable
class GrammarBackend(Protocol):
    """A library that computes masks. It may be shared between threads."""

    @property
    def name(self) -> str:
        """What users call it by."""
        ...

    def supports(self, grammar: Grammar) -> bool:
        """Whether every part of the grammar is enforced exactly.

        A cheap look at the grammar's kind and keywords. A supported grammar may still fail to
        compile because it is malformed or too large.
        """
        ...

    def compile(self, grammar: Grammar, vocabulary: Vocabulary) -> CompiledGrammar:
        """Make a grammar ready for a vocabulary.

        Raises:
            GrammarError: It is not supported, malformed, or too large: which, where, what to do.
            LoadError: The library is not installed.
        """
        ...
