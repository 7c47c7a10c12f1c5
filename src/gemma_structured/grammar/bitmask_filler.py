"""The bitmasks of many sequences at once, on as many threads as the backend can use."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from gemma_structured.grammar.llguidance_matcher import LLGuidanceMatcher

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from llguidance import LLExecutor
    from numpy.typing import NDArray

    from gemma_structured.grammar.backend import GrammarMatcher

__all__ = ["BitmaskFiller"]


class BitmaskFiller:
    """Fills the rows of a bitmask. Not thread-safe.

    llguidance's matchers are asked in parallel, and Python runs on meanwhile; those of other
    backends one after another.

    Args:
        threads: How many threads llguidance may use; `None` for most of the machine's.
    """

    def __init__(self, threads: int | None = None) -> None:
        self._threads = threads
        self._made: LLExecutor | None = None

    def fill(
        self, matchers: Sequence[GrammarMatcher], bitmask: NDArray[np.int32]
    ) -> list[Exception | None]:
        """Write which tokens may follow.

        Args:
            matchers: Where the sequences stand, each a different object.
            bitmask: `[len(matchers), ceil(vocab / 32)]`, contiguous.

        Returns:
            For each matcher what went wrong with it, if anything did: its row means nothing then.

        Raises:
            GrammarError: The bitmask is not of that shape.
        """
        parallel = [
            (matcher.to_fill(bitmask[row]), row)
            for row, matcher in enumerate(matchers)
            if isinstance(matcher, LLGuidanceMatcher)
        ]
        if parallel:
            self._executor().unsafe_compute_mask_ptr(
                parallel, bitmask.ctypes.data, bitmask.strides[0], len(bitmask)
            )
        return [
            _attempt(partial(matcher.fill_bitmask, bitmask[row]))
            if not isinstance(matcher, LLGuidanceMatcher)
            else _attempt(matcher.check)
            for row, matcher in enumerate(matchers)
        ]

    def _executor(self) -> LLExecutor:
        if self._made is None:
            from llguidance import LLExecutor  # noqa: PLC0415 - part of the extra `local`

            self._made = LLExecutor(self._threads)
        return self._made


def _attempt(action: Callable[[], None]) -> Exception | None:
    try:
        action()
    except Exception as error:  # noqa: BLE001 - it is one matcher's alone
        return error
    return None
