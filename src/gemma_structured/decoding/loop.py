"""The decode loop: schedule → forward → mask → sample → accept → fast-forward.

One step is one forward for all sequences in it. A sequence that is still reading its prompt
contributes a chunk of it; the others contribute the token they chose last and those that the
grammar forced after it, and choose one more.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from gemma_structured.decoding.failures import explain

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
        max_forward_tokens: Up to how many new tokens of all rows together a forward costs little
            more than for one; drafts fill that room.
    """

    def __init__(
        self,
        session: Session,
        prefixes: PrefixStore,
        *,
        prefill_chunk: int = 512,
        max_forward_tokens: int = 16,
    ) -> None:
        self._session = session
        self._prefixes = prefixes
        self._prefill_chunk = prefill_chunk
        self._max_forward_tokens = max_forward_tokens

    def start(self, sequence: TokenSequence) -> None:
        """Open a row for a sequence, from the longest prefix that is kept."""
        snapshot = self._prefixes.longest(sequence.prompt_ids)
        row = self._session.open(snapshot)
        sequence.start(row, cached_tokens=snapshot.length if snapshot else 0)

    def step(self, sequences: Sequence[TokenSequence]) -> None:
        """Run one forward, and choose a token or more for each sequence whose prompt is read.

        What goes wrong with one sequence is kept as its `error` and does not touch the others.
        """
        room = self._max_forward_tokens // len(sequences) - 1
        scheduled = {_row_of(s): self._schedule(s, room) for s in sequences}
        logits = self._session.forward(
            {row: [*each.chunk, *each.draft] for row, each in scheduled.items()},
            keep={row: each.positions for row, each in scheduled.items()},
        )
        for row, each in scheduled.items():
            self._keep_prefix(row, each.sequence)
            if each.positions:
                self._advance(row, each, logits[row])

    def end(self, sequence: TokenSequence) -> None:
        """Close a sequence's row and free its cache; keep the state of one that is to go on."""
        if sequence.row is None:
            return
        if sequence.keep_answer and sequence.finish_reason is not None and sequence.error is None:
            with suppress(RuntimeError):  # too little memory to keep it fails no answer
                self._keep(sequence.row, sequence)
        self._session.close(sequence.row)
        sequence.row = None

    def _schedule(self, sequence: TokenSequence, room: int) -> _Scheduled:
        """The next tokens to forward; a chunk ends where a prefix ends that is to be kept."""
        count = self._prefill_chunk
        if not sequence.begins_with_fixed_part:
            to_boundary = sequence.fixed_length - self._session.length(_row_of(sequence))
            if 0 < to_boundary < count:
                count = to_boundary
        chunk = sequence.take(count)
        try:
            return _Scheduled(sequence, chunk, sequence.draft(chunk, room))
        except Exception as error:  # noqa: BLE001 - it is this sequence's alone
            sequence.fail(explain(error))
            return _Scheduled(sequence, chunk, [])

    def _keep_prefix(self, row: Row, sequence: TokenSequence) -> None:
        """Keep what later prompts begin with: the fixed part, and a conversation's prompt.

        A conversation's state at the end of its answer is kept too, and usually covers its prompt;
        not where a window has moved on so far that the answer cannot be rewound.
        """
        length = self._session.length(row)
        ends_fixed_part = length == sequence.fixed_length and not sequence.begins_with_fixed_part
        ends_prompt = sequence.keep_answer and length == len(sequence.prompt_ids)
        if ends_fixed_part or (ends_prompt and self._session.rewindable(row) < length):
            self._keep(row, sequence)

    def _keep(self, row: Row, sequence: TokenSequence) -> None:
        """Keep a row's state under its tokens."""
        token_ids = (*sequence.prompt_ids, *sequence.output_ids)[: self._session.length(row)]
        if self._prefixes.wants(token_ids):
            self._prefixes.add(token_ids, self._session.snapshot(row))

    def _advance(self, row: Row, scheduled: _Scheduled, logits: Logits) -> None:
        """Choose tokens for as long as the draft has forwarded them; rewind what does not stay.

        That is what is left of the draft, and the tokens of a value that cannot stand.
        """
        sequence, draft = scheduled.sequence, scheduled.draft
        earliest = self._session.length(row) - self._session.rewindable(row)
        confirmed = 0
        try:
            while not sequence.pending and not sequence.finished:
                token_id = self._choose(sequence, logits, confirmed)
                if sequence.accept(token_id, earliest=earliest):
                    confirmed += sequence.confirm(draft[confirmed:])
        except Exception as error:  # noqa: BLE001 - it is this sequence's alone
            sequence.fail(explain(error))
            return  # its row is closed as it is, so that the cache clears all of it
        if sequence.drafts is not None:
            sequence.drafts.learn(len(draft), confirmed)
            if sequence.drafts.reads_hidden:
                stays = self._session.length(row) - len(draft) + confirmed == sequence.row_length
                sequence.hidden = logits.hidden(confirmed) if stays else None
        if not sequence.finished:
            self._session.rewind(row, self._session.length(row) - sequence.row_length)
        elif sequence.keep_answer:
            self._session.rewind(row, len(draft) - confirmed)

    @staticmethod
    def _choose(sequence: TokenSequence, logits: Logits, position: int) -> int:
        """Sample among the allowed tokens; logits of others are not even computed."""
        allowed = torch.from_numpy(sequence.allowed_ids())
        if sequence.takes_largest:
            allowed = logits.contenders(position, allowed)
        if len(allowed) == 1:
            return int(allowed[0])
        return int(allowed[sequence.choose(logits.at(position, allowed))])


@dataclass(frozen=True, slots=True)
class _Scheduled:
    """What one sequence contributes to a forward."""

    sequence: TokenSequence
    chunk: list[int]
    draft: list[int]

    @property
    def positions(self) -> int:
        """How many of its last tokens logits are wanted for: none in the middle of a prompt."""
        return 0 if self.sequence.pending else 1 + len(self.draft)


def _row_of(sequence: TokenSequence) -> Row:
    if sequence.row is None:
        raise RuntimeError("The sequence was not started.")
    return sequence.row
