"""Trying a value again that cannot stand, within one answer.

Some rules are beyond a mask: that items differ, that something is *not* so. A value that breaks one
is known when it closes. Its tokens are taken back, that path is excluded, and the model goes on
from where the value began.
"""

from __future__ import annotations

from bisect import bisect_left
from operator import attrgetter
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import numpy as np
import torch

from gemma_structured.decoding.exclusions import Choice, Exclusions, banned, penalties

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from gemma_structured.decoding.sampler import Sampler

__all__ = ["MAX_REWINDS", "REWIND_SPAN", "Refusal", "Retries", "ValueChecker"]

MAX_REWINDS: Final = 64
"""How often values of one answer are tried again."""

REWIND_SPAN: Final = 256
"""The most tokens that are taken back at once; text older than that is final."""


class Fault(Protocol):
    """A value that cannot stand where it is: the numbers of the pieces in which things begin."""

    @property
    def start(self) -> int:
        """Where the value begins."""
        ...

    @property
    def root(self) -> int:
        """Where the whole begins that it is part of."""
        ...

    @property
    def alike(self) -> Sequence[tuple[int, int]]:
        """The first and last piece of each earlier value that could not stand there either."""
        ...


class ValueChecker(Protocol):
    """Judges an answer while it comes, one piece of text a token, some of them empty."""

    def read(self, piece: str) -> Fault | None:
        """Read the next piece; say whether a value in it cannot stand."""
        ...

    def finish(self) -> Fault | None:
        """Say that the text has ended, which may close a value."""
        ...

    def rewind(self, count: int) -> None:
        """Forget all but the first pieces, and that the text has ended."""
        ...

    @property
    def settled(self) -> int:
        """How many of the first pieces no judgement will ask to be taken back."""
        ...


class Refusal(NamedTuple):
    """A token after which a value cannot stand.

    Attributes:
        position: The token's place in the answer; the answer's length if it is its end.
        fault: Where the value begins, and the whole that it is part of.
    """

    position: int
    fault: Fault


class Retries:
    """The values of one answer that were tried again.

    Args:
        checker: Judges the values; it is this object's own.
        end_ids: The tokens that end an answer.
        max_tokens: The most tokens that are taken back, all times together.
        max_rewinds: How often.
    """

    def __init__(
        self,
        checker: ValueChecker,
        end_ids: Sequence[int],
        *,
        max_tokens: int,
        max_rewinds: int = MAX_REWINDS,
    ) -> None:
        self._checker = checker
        self._end_ids = tuple(end_ids)
        self._left = max_rewinds
        self._tokens_left = max_tokens
        self._exclusions = Exclusions()
        self._choices: list[Choice] = []
        self._probability = 1.0
        self._allowed: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self._length = 0
        self.settled = 0

    def restrict(self, allowed: NDArray[np.int64], prefix: Sequence[int]) -> NDArray[np.int64]:
        """What is left of the tokens that the grammar allows after the answer so far."""
        excluded = banned(self._exclusions.after(prefix))
        self._probability = 1.0
        self._allowed = allowed[~np.isin(allowed, excluded)] if excluded else allowed
        if not len(self._allowed):  # it was not known yet that this place leads nowhere
            self._allowed = allowed
        return self._allowed

    def choose(self, sampler: Sampler, logits: Tensor, prefix: Sequence[int]) -> int:
        """Choose among the tokens that `restrict` has left, by their logits, `[allowed]`.

        Tokens most of whose continuations are excluded count as less likely.
        """
        known = self._exclusions.after(prefix)
        weighed = logits
        if found := penalties(known, self._allowed):
            weighed = logits.clone()
            for at, amount in found:
                weighed[at] += amount
        index = sampler.choose(weighed)
        likelihood = float(torch.exp(logits[index] - torch.logsumexp(logits, dim=0)))
        excluded = sum(known[token_id].probability for token_id in banned(known))
        self._probability = likelihood * max(1.0 - excluded, 0.0)
        return index

    def chose(self, position: int) -> None:
        """Note that the token at a place was chosen, and not forced."""
        self._choices.append(Choice(position, self._probability))

    def read(self, pieces: Sequence[str], *, is_whole: bool) -> Refusal | None:
        """Judge what the next tokens add to the text.

        Args:
            pieces: One a token.
            is_whole: Whether the answer ends with them.
        """
        for piece in pieces:
            fault = self._checker.read(piece)
            if fault is not None:
                return Refusal(self._length, fault)
            self._length += 1
        if is_whole and (fault := self._checker.finish()) is not None:
            return Refusal(self._length, fault)
        self._settle()
        return None

    def _settle(self) -> None:
        """Let go of what stays: all but the values that are still judged, and what led to them."""
        judged = min(self._checker.settled, self._length)
        before = self._count_choices(judged)
        led = self._choices[before - 1].position if before else 0
        self.settled = max(self.settled, led, self._length - REWIND_SPAN)

    def _count_choices(self, place: int) -> int:
        """How many choices there were before a place."""
        return bisect_left(self._choices, place, key=attrgetter("position"))

    def take_back(
        self,
        refusal: Refusal,
        tokens: Sequence[int],
        allowed_at: Callable[[int], NDArray[np.int64]],
        *,
        earliest: int,
    ) -> int | None:
        """Exclude a path, and say where to go on from.

        Where a place is left without a token, the one that led there is excluded too.

        Args:
            refusal: What cannot stand.
            tokens: The answer's tokens.
            allowed_at: What the grammar allows at a place; asked from the last to the first.
            earliest: The first place that the KV cache can be taken back to, apart from the one
                at which a token was chosen last.

        Returns:
            How many tokens stay; `None` if there is nothing to try, or nothing left to try with.
        """
        choices = self._choices
        at = self._count_choices(refusal.position + 1) - 1
        floor = max(self.settled, refusal.fault.root)
        start = refusal.fault.start
        self._exclude_alike(tokens, start, refusal.fault.alike)
        while self._left > 0 and at >= 0 and choices[at].position >= floor:
            place = choices[at].position
            first = min(self._count_choices(max(start, self.settled, earliest)), at)
            target = choices[first].position
            if target < earliest and target != choices[-1].position:
                return None
            last = tokens[place : place + 1] or self._end_ids
            self._exclusions.exclude(tokens, choices[first : at + 1], last)
            excluded = banned(self._exclusions.after(tokens[:place]))
            if not np.isin(allowed_at(place), excluded).all():
                return self._go_back(target, len(tokens) - target)
            at -= 1
        return None

    def _exclude_alike(
        self, tokens: Sequence[int], start: int, alike: Sequence[tuple[int, int]]
    ) -> None:
        """Exclude earlier values where another must differ from them, before they are tried."""
        for first, end in alike:
            choices = self._choices[self._count_choices(first) : self._count_choices(end + 1)]
            if not choices or tokens[first] != tokens[start]:
                continue  # it begins with another token, so that its path is not known there
            last = choices[-1].position
            moved = [Choice(c.position - first + start, c.probability) for c in choices]
            path = [*tokens[:start], *tokens[first : last + 1]]
            self._exclusions.exclude(path, moved, path[-1:])

    def _go_back(self, target: int, count: int) -> int | None:
        if count > self._tokens_left:
            return None
        self._left -= 1
        self._tokens_left -= count
        while self._choices and self._choices[-1].position >= target:
            self._choices.pop()
        self._length = target
        self._checker.rewind(target)
        return target
