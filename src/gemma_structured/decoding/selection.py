"""Choosing the next token of many sequences: row by row on a CPU, all rows at once on a GPU.

A CPU computes the logits of the allowed tokens alone, and a choice costs it little. A GPU would be
waited for once a row: there the masks are filled on CPU threads while the forward runs, and one
batch of operations chooses for all rows.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import torch

from gemma_structured.decoding.batch_sampler import choose_tokens, unpack_bitmask
from gemma_structured.decoding.sampler import not_finite
from gemma_structured.decoding.transfer import to_device
from gemma_structured.grammar import bitmask
from gemma_structured.grammar.bitmask_filler import BitmaskFiller

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from contextlib import AbstractContextManager

    from torch import Tensor

    from gemma_structured.decoding.sequence import TokenSequence
    from gemma_structured.decoding.session import Logits

__all__ = ["BatchSelection", "Place", "RowSelection", "Selection"]

_SPARSE_SHARE = 8
"""Up to one in so many of the vocabulary, over all rows, only those logits are computed."""


class Place(NamedTuple):
    """Where a token is to be chosen.

    Attributes:
        sequence: Whose.
        logits: Of the last forward.
        position: Which of them.
    """

    sequence: TokenSequence
    logits: Logits
    position: int


class Selection(Protocol):
    """A way of choosing."""

    def preparing(self, sequences: Sequence[TokenSequence]) -> AbstractContextManager[None]:
        """Do during a forward what the first choice after it needs.

        Args:
            sequences: Those for which `choose` will be called first, in that order; some of them
                may have failed by then.
        """
        ...

    def choose(self, places: Sequence[Place]) -> list[int | Exception]:
        """Choose a token at each place, of a different sequence each; or say why there is none."""
        ...


class RowSelection:
    """One row after another, from the logits of its allowed tokens."""

    def preparing(self, sequences: Sequence[TokenSequence]) -> AbstractContextManager[None]:
        """Nothing: a mask costs microseconds, and the forward needs the CPU."""
        del sequences
        return nullcontext()

    def choose(self, places: Sequence[Place]) -> list[int | Exception]:
        """Choose a token at each place; see `Selection.choose`."""
        allowed = [self._allowed(place) for place in places]
        return [self._choose(*each) for each in zip(places, allowed, strict=True)]

    @staticmethod
    def _allowed(place: Place) -> Tensor | Exception:
        """The tokens that may come; all rows' are known before one chooses."""
        try:
            allowed = torch.from_numpy(place.sequence.allowed_ids())
        except Exception as error:  # noqa: BLE001 - it is this sequence's alone
            return error
        if place.sequence.takes_largest:
            place.logits.expect(place.position, allowed)
        return allowed

    @staticmethod
    def _choose(place: Place, allowed: Tensor | Exception) -> int | Exception:
        """Sample among the allowed tokens; logits of others are not even computed."""
        if isinstance(allowed, Exception):
            return allowed
        sequence, logits, position = place
        try:
            if sequence.takes_largest:
                allowed = logits.contenders(position, allowed)
            if len(allowed) == 1:
                return int(allowed[0])
            return int(allowed[sequence.choose(logits.at(position, allowed))])
        except Exception as error:  # noqa: BLE001 - it is this sequence's alone
            return error


class BatchSelection:
    """All rows at once, on the device of their logits.

    Sequences whose values are judged while they come choose alone, as on a CPU.

    Args:
        vocab: How many tokens there are.
        device: Where the logits are.
        threads: How many threads fill masks; `None` for most of the machine's.
    """

    def __init__(self, vocab: int, device: torch.device, *, threads: int | None = None) -> None:
        self._vocab = vocab
        self._device = device
        self._rows = RowSelection()
        self._filler = BitmaskFiller(threads)
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="gemma-structured-masks")
        self._masks = self._allocate(0)
        self._prepared: list[_Filled] | None = None

    @contextmanager
    def preparing(self, sequences: Sequence[TokenSequence]) -> Generator[None]:
        """Fill the sequences' masks on another thread."""
        self._prepared = None
        filling = self._worker.submit(self._fill, sequences)
        try:
            yield
        finally:
            wait([filling])
        self._prepared = filling.result()

    def choose(self, places: Sequence[Place]) -> list[int | Exception]:
        """Choose a token at each place; see `Selection.choose`."""
        prepared, self._prepared = self._prepared, None
        filled = self._fill([place.sequence for place in places]) if prepared is None else prepared
        by_sequence = {each.sequence: each for each in filled}
        chosen: dict[TokenSequence, int | Exception] = {}
        together: list[Place] = []
        for place in places:
            sequence = place.sequence
            if sequence.chooses_alone:
                (chosen[sequence],) = self._rows.choose([place])
                continue
            found = self._read(by_sequence[sequence], len(together))
            if found is None:
                together.append(place)
            else:
                chosen[sequence] = found
        if together:
            tokens = self._choose_together(together)
            chosen |= dict(zip((place.sequence for place in together), tokens, strict=True))
        return [chosen[place.sequence] for place in places]

    def _fill(self, sequences: Sequence[TokenSequence]) -> list[_Filled]:
        together = [sequence for sequence in sequences if not sequence.chooses_alone]
        if len(together) > len(self._masks):
            self._masks = self._allocate(len(together))
        masks = self._masks.numpy()[: len(together)]
        errors = self._filler.fill([sequence.matcher for sequence in together], masks)
        return [
            _Filled(sequence, row, error)
            for row, (sequence, error) in enumerate(zip(together, errors, strict=True))
        ]

    def _read(self, filled: _Filled, row: int) -> int | Exception | None:
        """What a mask says; where there is something to choose, it moves up to a row and `None`."""
        if filled.error is not None:
            return filled.error
        masks = self._masks.numpy()
        masks[row] = masks[filled.row]  # never past itself, since rows are read in order
        try:
            return filled.sequence.restrict_bitmask(masks[row])
        except Exception as error:  # noqa: BLE001 - it is this sequence's alone
            return error

    @torch.inference_mode()
    def _choose_together(self, places: Sequence[Place]) -> list[int | Exception]:
        masks = self._masks[: len(places)]
        ids = self._few_ids(masks)
        # The masks are not written again before the tokens are read, and by then they are copied.
        allowed = unpack_bitmask(masks.to(self._device, non_blocking=True), self._vocab)
        if ids is None:
            rows = [logits.full()[position, : self._vocab] for _, logits, position in places]
        else:
            there = to_device(ids, self._device)
            rows = [logits.at(position, there) for _, logits, position in places]
            allowed = allowed[:, there]
        samplers = [place.sequence.sampler for place in places]
        columns = choose_tokens(torch.stack(rows), allowed, samplers)
        return [
            not_finite() if column is None else column if ids is None else int(ids[column])
            for column in columns
        ]

    def _few_ids(self, masks: Tensor) -> Tensor | None:
        """The tokens that any row may choose, ascending, where they are few; every row counts."""
        union = np.bitwise_or.reduce(masks.numpy(), axis=0)
        if bitmask.count(union) * len(masks) * _SPARSE_SHARE > self._vocab:
            return None
        return torch.from_numpy(bitmask.allowed_ids(union, self._vocab))

    def _allocate(self, rows: int) -> Tensor:
        """Room for masks, `[rows, words]`, from which a GPU can read by itself."""
        pinned = self._device.type == "cuda"
        return torch.zeros(
            rows, bitmask.words(self._vocab), dtype=torch.int32, pin_memory=pinned and rows > 0
        )


@dataclass(frozen=True, slots=True)
class _Filled:
    """A mask that was filled for a sequence, in a row; or what went wrong."""

    sequence: TokenSequence
    row: int
    error: Exception | None
