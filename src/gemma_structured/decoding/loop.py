"""The decode loop: schedule → forward → mask → sample → accept → fast-forward.

One step is one forward for all sequences in it. A sequence that is still reading its prompt
contributes a chunk of it; the others contribute the token they chose last and those that the
grammar forced after it, and choose one more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from gemma_structured.exceptions import GemmaStructuredError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gemma_structured.decoding.prefix import PrefixStore
    from gemma_structured.decoding.sequence import TokenSequence
    from gemma_structured.decoding.session import Logits, Row, Session

__all__ = ["DecodeLoop"]


class DecodeLoop:
    """Runs sequences on a session. Not thread-safe: its owner holds a lock.

    Args:
        session: Where the forwards happen.
        prefixes: Where the fixed parts of prompts are kept.
        prefill_chunk: The most prompt tokens that one forward reads; between two chunks deadlines
            and cancellations are looked at.
    """

    def __init__(
        self, session: Session, prefixes: PrefixStore, *, prefill_chunk: int = 512
    ) -> None:
        self._session = session
        self._prefixes = prefixes
        self._prefill_chunk = prefill_chunk

    def start(self, sequence: TokenSequence) -> None:
        """Open a row for a sequence, from the longest prefix that is kept."""
        snapshot = self._prefixes.longest(sequence.prompt_ids)
        row = self._session.open(snapshot)
        sequence.start(row, cached_tokens=snapshot.length if snapshot else 0)

    def step(self, sequences: Sequence[TokenSequence]) -> None:
        """Run one forward, and choose a token for each sequence whose prompt is read.

        What goes wrong with one sequence is kept as its `error` and does not touch the others.
        """
        by_row = {_row_of(sequence): sequence for sequence in sequences}
        chunks = {row: self._schedule(sequence) for row, sequence in by_row.items()}
        keep = {row: 0 if sequence.pending else 1 for row, sequence in by_row.items()}
        logits = self._session.forward(chunks, keep=keep)
        for row, sequence in by_row.items():
            self._keep_prefix(row, sequence)
            if not sequence.pending:
                self._advance(sequence, logits[row])

    def end(self, sequence: TokenSequence) -> None:
        """Close a sequence's row and free its cache."""
        if sequence.row is not None:
            self._session.close(sequence.row)
            sequence.row = None

    def _schedule(self, sequence: TokenSequence) -> list[int]:
        """The next tokens to forward; a chunk ends where the prompt's fixed part ends."""
        count = self._prefill_chunk
        to_boundary = sequence.fixed_length - self._session.length(_row_of(sequence))
        if 0 < to_boundary < count:
            count = to_boundary
        return sequence.take(count)

    def _keep_prefix(self, row: Row, sequence: TokenSequence) -> None:
        length = self._session.length(row)
        fixed_ids = sequence.prompt_ids[: sequence.fixed_length]
        if length == sequence.fixed_length > 0 and fixed_ids not in self._prefixes:
            self._prefixes.add(fixed_ids, self._session.snapshot(row))

    def _advance(self, sequence: TokenSequence, logits: Logits) -> None:
        try:
            sequence.accept(self._choose(sequence, logits))
        except GemmaStructuredError as error:
            sequence.fail(error)

    @staticmethod
    def _choose(sequence: TokenSequence, logits: Logits) -> int:
        """Sample among the allowed tokens; logits of others are not even computed."""
        allowed = torch.from_numpy(sequence.allowed_ids())
        if len(allowed) == 1:
            return int(allowed[0])
        return int(allowed[sequence.sampler.choose(logits.of(allowed)[-1])])


def _row_of(sequence: TokenSequence) -> Row:
    if sequence.row is None:
        raise RuntimeError("The sequence was not started.")
    return sequence.row
