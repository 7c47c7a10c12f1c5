"""Token paths that must not be taken again, and how likely the model was to take them.

A path that led to a refused value is excluded at its last token alone, so that a longer value with
the same start stays possible. The tokens before it become less likely by the share of their
continuations that is excluded, so that what is likeliest next is the likeliest *other* value and
not the refused one with something appended
(adaptive sampling with approximate expected futures, https://arxiv.org/abs/2405.21047).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["Choice", "Exclusions"]

_ALL_BUT_NOTHING: Final = 1.0 - 1e-9


class Choice(NamedTuple):
    """A token that the model chose.

    Attributes:
        position: Its place in the answer.
        probability: How likely it was among those that the grammar allowed there.
    """

    position: int
    probability: float


class _Continuation(NamedTuple):
    """What is known of going on with a token.

    Attributes:
        probability: How likely it is.
        excluded: The share of its continuations that is excluded; 1 if it is excluded itself.
    """

    probability: float
    excluded: float


class Exclusions:
    """The excluded paths of one answer, by the tokens that come before each."""

    def __init__(self) -> None:
        self._after: dict[tuple[int, ...], dict[int, _Continuation]] = {}
        self._lengths: set[int] = set()

    def after(self, prefix: Sequence[int]) -> Mapping[int, _Continuation]:
        """What is known of the tokens after a prefix; nothing of most."""
        if len(prefix) not in self._lengths:
            return {}
        return self._after.get(tuple(prefix), {})

    def exclude(
        self, tokens: Sequence[int], choices: Sequence[Choice], last: Iterable[int]
    ) -> None:
        """Exclude a path.

        Args:
            tokens: The answer up to the last choice on the path.
            choices: The choices on the path, the last one at the end of `tokens`.
            last: The tokens that must not be chosen there.
        """
        *before, final = choices
        prefix = tuple(tokens[: final.position])
        for token_id in last:
            self._note(prefix, token_id, final.probability, 1.0)
        for choice in reversed(before):
            share = self._share(prefix)
            prefix = tuple(tokens[: choice.position])
            self._note(prefix, tokens[choice.position], choice.probability, share)

    def _note(
        self, prefix: tuple[int, ...], token_id: int, probability: float, excluded: float
    ) -> None:
        self._lengths.add(len(prefix))
        known = self._after.setdefault(prefix, {})
        known[token_id] = _Continuation(probability, excluded)

    def _share(self, prefix: tuple[int, ...]) -> float:
        """The share of what follows a prefix that is excluded."""
        known = self._after.get(prefix, {})
        share = sum(each.probability * each.excluded for each in known.values())
        return min(share, _ALL_BUT_NOTHING)


def banned(known: Mapping[int, _Continuation]) -> list[int]:
    """The tokens that must not be chosen."""
    return [token_id for token_id, each in known.items() if each.excluded >= 1.0]


def penalties(
    known: Mapping[int, _Continuation], allowed: NDArray[np.int64]
) -> list[tuple[int, float]]:
    """What to add to the logits of allowed tokens (ascending ids): index and amount."""
    found: list[tuple[int, float]] = []
    for token_id, each in known.items():
        at = int(np.searchsorted(allowed, token_id))
        if 0.0 < each.excluded < 1.0 and at < len(allowed) and allowed[at] == token_id:
            found.append((at, math.log1p(-each.excluded)))
    return found
