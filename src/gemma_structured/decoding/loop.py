"""The decode loop: schedule → forward → mask → sample → accept → fast-forward.

One step is one forward for all sequences in it. A sequence that is still reading its prompt
contributes a chunk of it; the others contribute the token they chose last and those that the
grammar forced after it, and choose one more.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gemma_structured.decoding.failures import explain
from gemma_structured.decoding.selection import Place, RowSelection

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gemma_structured.decoding.prefix import PrefixStore
    from gemma_structured.decoding.selection import Selection
    from gemma_structured.decoding.sequence import TokenSequence
    from gemma_structured.decoding.session import Logits, Row, Session

__all__ = ["DecodeLoop"]


class DecodeLoop:
    """Runs sequences on a session. Not thread-safe: its owner holds a lock.

    Args:
        session: Where the forwards happen.
        prefixes: Where the fixed parts of prompts are kept.
        prefill_chunk: The most prompt tokens that one forward reads, of all prompts together;
            between two chunks deadlines and cancellations are looked at.
        max_forward_tokens: Up to how many new tokens of all rows together a forward costs little
            more than for one; drafts fill that room.
        selection: How tokens are chosen: row by row unless told.
    """

    def __init__(
        self,
        session: Session,
        prefixes: PrefixStore,
        *,
        prefill_chunk: int = 512,
        max_forward_tokens: int = 16,
        selection: Selection | None = None,
    ) -> None:
        self._session = session
        self._prefixes = prefixes
        self._prefill_chunk = prefill_chunk
        self._max_forward_tokens = max_forward_tokens
        self._selection = selection or RowSelection()

    def start(self, sequence: TokenSequence) -> None:
        """Open a row for a sequence, from the longest prefix that is kept."""
        snapshot = self._prefixes.longest(sequence.prompt_ids)
        row = self._session.open(snapshot)
        sequence.start(row, cached_tokens=snapshot.length if snapshot else 0)

    def turn(self, sequences: Sequence[TokenSequence]) -> list[TokenSequence]:
        """Those that the next step is for: all that answer, and prompts that fill a chunk.

        The first prompt is always among them, so that each is read in the end.
        """
        chosen = []
        left = self._prefill_chunk
        for sequence in sequences:
            if sequence.finished:
                continue
            if sequence.reading_prompt:
                wanted = min(len(sequence.pending), self._prefill_chunk)
                if wanted > left:
                    left = 0  # nor those behind it: they are read in order
                    continue
                left -= wanted
            chosen.append(sequence)
        return chosen

    def step(self, sequences: Sequence[TokenSequence]) -> None:
        """Run one forward, and choose a token or more for each sequence whose prompt is read.

        What goes wrong with one sequence is kept as its `error` and does not touch the others.
        """
        room = self._max_forward_tokens // len(sequences) - 1
        scheduled = [self._schedule(sequence, room) for sequence in sequences]
        answering = [each for each in scheduled if each.positions]
        with self._selection.preparing([each.sequence for each in answering]):
            logits = self._session.forward(
                {each.row: [*each.chunk, *each.draft] for each in scheduled},
                keep={each.row: each.positions for each in scheduled},
            )
        for each in scheduled:
            self._keep_prefix(each.row, each.sequence)
        self._advance(answering, logits)
        for each in answering:
            self._rewind(each, logits[each.row])

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
        row = _row_of(sequence)
        count = self._prefill_chunk
        if not sequence.begins_with_fixed_part:
            to_boundary = sequence.fixed_length - self._session.length(row)
            if 0 < to_boundary < count:
                count = to_boundary
        chunk = sequence.take(count)
        try:
            return _Scheduled(sequence, row, chunk, sequence.draft(chunk, room))
        except Exception as error:  # noqa: BLE001 - it is this sequence's alone
            sequence.fail(explain(error))
            return _Scheduled(sequence, row, chunk, [])

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

    def _advance(self, answering: Sequence[_Scheduled], logits: Mapping[Row, Logits]) -> None:
        """Choose tokens for all, then for those whose draft has forwarded what was chosen."""
        ready = [each for each in answering if not each.sequence.finished]
        while ready:
            places = [Place(each.sequence, logits[each.row], each.confirmed) for each in ready]
            chosen = self._selection.choose(places)
            ready = [
                each for each, token in zip(ready, chosen, strict=True) if self._accept(each, token)
            ]

    def _accept(self, scheduled: _Scheduled, chosen: int | Exception) -> bool:
        """Append a token that was chosen; say whether the next can be chosen at once."""
        sequence, row = scheduled.sequence, scheduled.row
        if isinstance(chosen, Exception):
            sequence.fail(explain(chosen))
            return False
        earliest = self._session.length(row) - self._session.rewindable(row)
        try:
            if sequence.accept(chosen, earliest=earliest):
                scheduled.confirmed += sequence.confirm(scheduled.draft[scheduled.confirmed :])
        except Exception as error:  # noqa: BLE001 - it is this sequence's alone
            sequence.fail(explain(error))
        return not sequence.pending and not sequence.finished

    def _rewind(self, scheduled: _Scheduled, logits: Logits) -> None:
        """Take back what does not stay: the rest of the draft, and a value that cannot stand."""
        sequence, row, draft = scheduled.sequence, scheduled.row, scheduled.draft
        if sequence.error is not None:
            return  # its row is closed as it is, so that the cache clears all of it
        if sequence.drafts is not None:
            confirmed = scheduled.confirmed
            sequence.drafts.learn(len(draft), confirmed)
            if sequence.drafts.reads_hidden:
                stays = self._session.length(row) - len(draft) + confirmed == sequence.row_length
                sequence.hidden = logits.hidden(confirmed) if stays else None
        if not sequence.finished:
            self._session.rewind(row, self._session.length(row) - sequence.row_length)
        elif sequence.keep_answer:
            self._session.rewind(row, len(draft) - scheduled.confirmed)


@dataclass(slots=True)
class _Scheduled:
    """What one sequence contributes to a forward, and how much of its draft was right."""

    sequence: TokenSequence
    row: Row
    chunk: list[int]
    draft: list[int]
    confirmed: int = 0
    positions: int = field(init=False)

    def __post_init__(self) -> None:
        """Logits are wanted for so many of its last tokens: none in the middle of a prompt."""
        self.positions = 0 if self.sequence.pending else 1 + len(self.draft)


def _row_of(sequence: TokenSequence) -> Row:
    if sequence.row is None:
        raise RuntimeError("The sequence was not started.")
    return sequence.row
