"""One request's way through the decode loop: its tokens, its place in the grammar, its end."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from gemma_structured.decoding.answer_text import AnswerText
from gemma_structured.decoding.draft import DraftContext
from gemma_structured.decoding.retries import Retries
from gemma_structured.exceptions import GenerationCancelledError, GrammarError
from gemma_structured.grammar import bitmask
from gemma_structured.types import Cancellation, Deadline, Usage

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from gemma_structured.decoding.draft import Drafter
    from gemma_structured.decoding.retries import Refusal, ValueChecker
    from gemma_structured.decoding.sampler import Sampler
    from gemma_structured.decoding.session import Row
    from gemma_structured.decoding.thought import Thought
    from gemma_structured.grammar.backend import GrammarMatcher
    from gemma_structured.grammar.vocabulary import Vocabulary
    from gemma_structured.types import FinishReason

__all__ = ["TokenSequence"]

_SHARE_LEFT = 8
"""A conversation's fixed part is kept again only if more than one part in so many was computed."""


class TokenSequence:
    """A prompt that is being answered.

    `pending` are the tokens that the next forward appends to the row: first the prompt, then each
    chosen token with those that the grammar forces after it. Forced tokens are accepted as soon as
    they are known, so a whole run of them costs one forward together with what follows.

    Args:
        prompt_ids: The prompt, at least one token.
        matcher: At the start of the grammar; the sequence owns it.
        vocabulary: Whose ids these are.
        sampler: Chooses among the allowed tokens; the sequence owns it.
        max_tokens: The most tokens that the answer may have, forced ones included.
        fixed_length: How many of the prompt's first tokens are the same for many prompts.
        keep_answer: Whether a later prompt is likely to begin with this one and its answer, as the
            next turn of a conversation does.
        drafts: Guesses at what comes next, where guessing pays.
        thought: Counts the tokens of a thought before the answer, and ends it in time.
        checker: Judges values by what the mask cannot hold; those that cannot stand are tried
            again. The sequence owns it.
        show_control: Whether control tokens are in the text, by name.
        deadline: When to give up.
        cancellation: Looked at between steps.
    """

    def __init__(
        self,
        prompt_ids: Sequence[int],
        matcher: GrammarMatcher,
        vocabulary: Vocabulary,
        sampler: Sampler,
        *,
        max_tokens: int,
        fixed_length: int = 0,
        keep_answer: bool = False,
        drafts: Drafter | None = None,
        thought: Thought | None = None,
        checker: ValueChecker | None = None,
        show_control: bool = False,
        deadline: Deadline | None = None,
        cancellation: Cancellation | None = None,
    ) -> None:
        self.prompt_ids = tuple(prompt_ids)
        self.fixed_length = fixed_length
        self.keep_answer = keep_answer
        self.matcher = matcher
        self.sampler = sampler
        self.max_tokens = max_tokens
        self.deadline = deadline or Deadline()
        self.cancellation = cancellation or Cancellation()
        self.drafts = drafts
        self.row: Row | None = None
        self.hidden: Tensor | None = None  # the model's state after its row, where drafts read it
        self.pending: list[int] = list(self.prompt_ids)
        self.output_ids: list[int] = []
        self.finish_reason: FinishReason | None = None
        self.error: Exception | None = None
        self.forward_passes = 0
        self.cached_tokens = 0
        self._vocabulary = vocabulary
        self._end_ids = frozenset(vocabulary.end_ids)
        self._thought = thought
        self._text = AnswerText(vocabulary, show_control=show_control)
        self._bitmask = bitmask.allocate_row(vocabulary.size)
        self._retries: Retries | None = None
        if checker is not None:
            self._retries = Retries(checker, vocabulary.end_ids, max_tokens=max_tokens)
        self._sampled: list[int] = []
        self._drafted_tokens = 0
        self._rewound_tokens = 0
        self._abandoned = False
        self._started = time.monotonic()
        self._first_token: float | None = None
        self._ended: float | None = None
        self._extend([])

    @property
    def finished(self) -> bool:
        """Whether nothing more comes."""
        return self.finish_reason is not None or self.error is not None

    @property
    def reading_prompt(self) -> bool:
        """Whether it has not chosen a token yet."""
        return self._first_token is None

    @property
    def begins_with_fixed_part(self) -> bool:
        """Whether the row began with the fixed part, or a conversation's with all but its end."""
        missing = self.fixed_length - self.cached_tokens
        return missing <= (self.fixed_length // _SHARE_LEFT if self.keep_answer else 0)

    @property
    def reads_fixed_part(self) -> bool:
        """Whether it is still to read what later prompts will find in the prefix store."""
        misses_it = not self.begins_with_fixed_part and self.row_length < self.fixed_length
        return self.reading_prompt and misses_it

    @property
    def takes_largest(self) -> bool:
        """Whether it chooses the token with the largest logit, whatever the others are."""
        return self.sampler.is_greedy and not self.chooses_alone

    @property
    def max_length(self) -> int:
        """The most tokens that its row can come to have."""
        return len(self.prompt_ids) + self.max_tokens

    @property
    def row_length(self) -> int:
        """How many tokens its row is to have: those of prompt and answer that are not pending."""
        return len(self.prompt_ids) + len(self.output_ids) - len(self.pending)

    @property
    def text(self) -> str:
        """The answer so far."""
        return str(self._text)

    @property
    def usage(self) -> Usage:
        """What it has cost so far."""
        return Usage(
            prompt_tokens=len(self.prompt_ids),
            cached_tokens=self.cached_tokens,
            sampled_tokens=len(self._sampled),
            forced_tokens=len(self.output_ids) - len(self._sampled),
            drafted_tokens=self._drafted_tokens,
            rewound_tokens=self._rewound_tokens,
            reasoning_tokens=self._thought.tokens if self._thought is not None else 0,
            forward_passes=self.forward_passes,
            seconds_to_first_token=self._first_token,
            seconds=(self._ended or time.monotonic()) - self._started,
        )

    def start(self, row: Row, cached_tokens: int) -> None:
        """Begin in a row that holds the prompt's first tokens already."""
        self.row = row
        self.cached_tokens = cached_tokens
        del self.pending[:cached_tokens]

    def check(self) -> None:
        """Raise if the time is up or the caller has gone.

        Raises:
            DeadlineExceededError: The deadline has passed.
            GenerationCancelledError: The caller cancelled, or went away.
        """
        self.cancellation.check()
        if self._abandoned:
            raise GenerationCancelledError("Nobody waits for this answer any more.")
        self.deadline.check()

    def abandon(self) -> None:
        """Say, from any thread, that nobody waits for the answer; it ends at its next step."""
        self._abandoned = True

    def take_text(self) -> str:
        """The text since the last call, less what may still be taken back."""
        held = self._retries is not None and not self.finished
        return self._text.take(self._retries.settled if held and self._retries else None)

    def fail(self, error: Exception) -> None:
        """End with an error."""
        self.error = error
        self.pending = []
        self._ended = time.monotonic()

    def take(self, count: int) -> list[int]:
        """Hand over the next pending tokens for a forward."""
        chunk, self.pending = self.pending[:count], self.pending[count:]
        self.forward_passes += 1
        return chunk

    def draft(self, chunk: Sequence[int], room: int) -> list[int]:
        """Tokens that may come after a chunk and that the grammar allows, at most `room`."""
        room = min(room, self.max_tokens - len(self.output_ids))
        if self.drafts is None or self.reading_prompt or self.pending or room < 1:
            return []
        context = DraftContext(
            output_ids=self.output_ids,
            pieces=self._text.pieces,
            next_ids=chunk,
            matcher=self.matcher,
            row=self.row,
            hidden=self.hidden,
        )
        tokens = self.drafts.propose(context, room)
        return tokens[: self.matcher.count_valid(tokens)]

    def confirm(self, draft: list[int]) -> int:
        """Take out of `pending` what a draft has forwarded already.

        Returns:
            How many tokens that is. Where it is all of them, the next token can be chosen at once.
        """
        count = 0
        while count < min(len(draft), len(self.pending)) and draft[count] == self.pending[count]:
            count += 1
        del self.pending[:count]
        self._drafted_tokens += count
        return count

    def allowed_ids(self) -> NDArray[np.int64]:
        """The tokens that may come next, end ids among them where the answer may end.

        Raises:
            GrammarError: There is none: no token spells what the grammar wants.
        """
        self.matcher.fill_bitmask(self._bitmask)
        ids = bitmask.allowed_ids(self._bitmask, self._vocabulary.size)
        if not len(ids):
            raise self._dead_end()
        if self._thought is not None:
            ids = self._thought.restrict(ids)
        return ids if self._retries is None else self._retries.restrict(ids, self.output_ids)

    @property
    def chooses_alone(self) -> bool:
        """Whether tokens are chosen by `allowed_ids` and `choose` alone: values are judged."""
        return self._retries is not None

    def restrict_bitmask(self, row: NDArray[np.int32]) -> int | None:
        """What `allowed_ids` says, for one that does not choose alone.

        Args:
            row: As the matcher fills it; tokens that may not come next are cleared.

        Returns:
            The only token that may come next, if there is just one.

        Raises:
            GrammarError: There is none.
        """
        if self._thought is not None:
            self._thought.restrict_bitmask(row)
        count = bitmask.count(row)
        if not count:
            raise self._dead_end()
        return int(bitmask.allowed_ids(row, self._vocabulary.size)[0]) if count == 1 else None

    def _dead_end(self) -> GrammarError:
        return GrammarError(
            f"After {len(self.output_ids)} tokens no token continues the answer.",
            hint="The grammar asks for text that the model's tokenizer cannot write.",
        )

    def choose(self, logits: Tensor) -> int:
        """Choose among the tokens that `allowed_ids` has just given.

        Args:
            logits: Theirs, `[allowed]`.

        Returns:
            The index into them.
        """
        if self._retries is None:
            return self.sampler.choose(logits)
        return self._retries.choose(self.sampler, logits, self.output_ids)

    def accept(self, token_id: int, *, earliest: int = 0) -> bool:
        """Append a token that was chosen, and what the grammar forces after it.

        Args:
            token_id: One of `allowed_ids`.
            earliest: The least length that its row can be taken back to.

        Returns:
            Whether it stands. Where it completed a value that cannot stand, that value's tokens
            are taken back; the last of those that stay is pending, unless the row holds just them.
        """
        if self._first_token is None:
            self._first_token = time.monotonic() - self._started
        place = len(self.output_ids)
        if self._retries is not None:
            self._retries.chose(place)
        if token_id in self._end_ids:
            return self._keep([], place, place, earliest, is_whole=True)
        self.matcher.accept([token_id])
        self._sampled.append(place)
        return self._extend([token_id], earliest)

    def _extend(self, token_ids: list[int], earliest: int = 0) -> bool:
        place = len(self.output_ids)
        if not self.matcher.is_finished:
            forced = self.matcher.forced_tokens()
            self.matcher.accept(forced)
            token_ids = token_ids + forced
        kept = token_ids[: self.max_tokens - place]
        self.pending += kept
        self.output_ids += kept
        if self._thought is not None:
            self._thought.follow(kept)
        is_whole = self.matcher.is_finished and len(kept) == len(token_ids)
        return self._keep(kept, place, place + len(token_ids), earliest, is_whole=is_whole)

    def _keep(
        self, kept: list[int], place: int, accepted: int, earliest: int, *, is_whole: bool
    ) -> bool:
        """Judge what was appended at a place, and end if the answer has come to its end."""
        pieces = self._text.append(kept)
        if self._retries is not None:
            refusal = self._retries.read(pieces, is_whole=is_whole)
            if refusal is not None and self._take_back(refusal, place, accepted, earliest):
                return False
        if is_whole:
            self._finish("stop")
        elif len(self.output_ids) >= self.max_tokens:
            self._finish("length")
        return True

    def _take_back(self, refusal: Refusal, place: int, accepted: int, earliest: int) -> bool:
        """Go back to where a refused value can be tried again; if nowhere, judge no more."""
        assert self._retries is not None
        matcher = self.matcher.fork()

        def allowed_at(position: int) -> NDArray[np.int64]:
            nonlocal accepted
            matcher.rollback(accepted - position)
            accepted = position
            matcher.fill_bitmask(self._bitmask)
            return bitmask.allowed_ids(self._bitmask, self._vocabulary.size)

        first = earliest - len(self.prompt_ids) + 1  # the last token that stays is read again
        target = self._retries.take_back(refusal, self.output_ids, allowed_at, earliest=first)
        if target is None:
            self._retries = None
            return False
        matcher.rollback(accepted - target)
        self.matcher = matcher
        self._rewound_tokens += len(self.output_ids) - target
        del self.output_ids[target:]
        while self._sampled and self._sampled[-1] >= target:
            self._sampled.pop()
        self._text.drop(self.output_ids)
        self.pending = [] if target == place else [(*self.prompt_ids, *self.output_ids)[-1]]
        return True

    def _finish(self, reason: FinishReason) -> None:
        self._text.finish()
        self.finish_reason = reason
        self.pending = []
        self._ended = time.monotonic()
