"""One sequence's place in a grammar that llguidance has compiled.

`LLMatcher` never raises; each call here looks at its error state afterwards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemma_structured.exceptions import GrammarError, TokenRejectedError
from gemma_structured.grammar.llguidance_errors import check_forced, matching_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from llguidance import LLMatcher
    from numpy.typing import NDArray

    from gemma_structured.grammar.vocabulary import Vocabulary
    from gemma_structured.schema.llguidance_limits import LLGuidanceLimits

__all__ = ["LLGuidanceMatcher"]


class LLGuidanceMatcher:
    """Where one sequence stands in its grammar. Not thread-safe."""

    __slots__ = ("_accepted", "_limits", "_matcher", "_vocabulary")

    def __init__(
        self,
        vocabulary: Vocabulary,
        matcher: LLMatcher,
        limits: LLGuidanceLimits,
        accepted: int = 0,
    ) -> None:
        self._vocabulary = vocabulary
        self._matcher = matcher
        self._limits = limits
        self._accepted = accepted

    @property
    def is_accepting(self) -> bool:
        """Whether the text so far is whole, so that it may end here."""
        return bool(self._matcher.is_accepting())

    @property
    def is_finished(self) -> bool:
        """Whether the text so far is whole and nothing but the end may follow."""
        return bool(self._matcher.is_stopped() and self._matcher.is_accepting())

    def accept(self, token_ids: Sequence[int]) -> None:
        """Append tokens to the text: all of them or, if one is rejected, none.

        Raises:
            TokenRejectedError: A token is not allowed at its place.
            GrammarError: An end id was fed, or a limit was passed.
        """
        ids = list(token_ids)
        usable = self._vocabulary.count_text_ids(ids)
        taken = int(self._matcher.try_consume_tokens(ids[:usable]))
        self.check()
        if taken == len(ids):
            self._accepted += taken
            return
        if taken:
            self._matcher.rollback(taken)
            self.check()
        if ids[taken] in self._vocabulary.end_ids:
            raise GrammarError(f"The end id {ids[taken]} was fed to a grammar matcher.")
        raise TokenRejectedError(ids[taken], self._accepted + taken)

    def count_valid(self, token_ids: Sequence[int]) -> int:
        """The length of the longest prefix that `accept` would take. The state is unchanged.

        Raises:
            GrammarError: A limit was passed.
        """
        ids = list(token_ids)
        valid = int(self._matcher.validate_tokens(ids[: self._vocabulary.count_text_ids(ids)]))
        self.check()
        return valid

    def fill_bitmask(self, bitmask: NDArray[np.int32]) -> None:
        """Write which tokens may follow.

        Args:
            bitmask: One row, `[ceil(vocab / 32)]`, contiguous; every word is written.

        Raises:
            GrammarError: The row is not of that shape, or a limit was passed.
        """
        self._vocabulary.check_bitmask(bitmask)
        self._matcher.unsafe_compute_mask_ptr(bitmask.ctypes.data, bitmask.nbytes)
        self.check()

    def to_fill(self, bitmask: NDArray[np.int32]) -> LLMatcher:
        """Give llguidance's own matcher, for its executor to fill a row; `check` it afterwards.

        Raises:
            GrammarError: The row is not of the shape that `fill_bitmask` wants.
        """
        self._vocabulary.check_bitmask(bitmask)
        return self._matcher

    def check(self) -> None:
        """Raise if llguidance has failed.

        Raises:
            GrammarError: A limit was passed.
        """
        if self._matcher.is_error():
            raise matching_error(self._matcher.get_error(), self._limits)

    def forced_tokens(self) -> list[int]:
        """The only tokens that can follow, up to the next choice; they are not consumed.

        Raises:
            GrammarError: A limit was passed, or what is forced has no end.
        """
        forced: list[int] = self._matcher.compute_ff_tokens()
        self.check()
        check_forced(forced, self._limits)
        return forced

    def rollback(self, n: int) -> None:
        """Take back the last `n` accepted tokens; the state is exactly what it was before them.

        Raises:
            GrammarError: Fewer than `n` tokens were accepted.
        """
        if not 0 <= n <= self._accepted:
            raise GrammarError(f"Cannot take back {n} of {self._accepted} accepted tokens.")
        if n:
            self._matcher.rollback(n)
            self.check()
            self._accepted -= n

    def fork(self) -> LLGuidanceMatcher:
        """An independent matcher in the same state."""
        return LLGuidanceMatcher(
            self._vocabulary, self._matcher.deep_copy(), self._limits, self._accepted
        )
