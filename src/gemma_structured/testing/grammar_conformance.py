"""What every grammar backend must do, as checks that any test can run on a backend of its own.

```python
for case in CASES:
    if backend.supports(case.grammar):
        check_backend(backend, vocabulary, case)
```

The checks walk through a grammar at random and look, at each place, whether the mask, `accept`,
`count_valid`, `forced_tokens`, `rollback` and `fork` tell the same story.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import numpy as np

from gemma_structured.exceptions import GrammarError, TokenRejectedError
from gemma_structured.grammar import bitmask
from gemma_structured.testing.grammar_cases import CASES, GrammarCase

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from gemma_structured.grammar.backend import CompiledGrammar, GrammarBackend, GrammarMatcher
    from gemma_structured.grammar.vocabulary import Vocabulary

__all__ = [
    "CASES",
    "ConformanceError",
    "GrammarCase",
    "check_backend",
    "check_place",
    "check_text",
    "check_walk",
    "random_walk",
]


class ConformanceError(AssertionError):
    """A backend does not do what the protocol says."""


def check_backend(
    backend: GrammarBackend,
    vocabulary: Vocabulary,
    case: GrammarCase,
    *,
    walks: int = 3,
    steps: int = 40,
    sample: int = 64,
    seed: int = 0,
) -> None:
    """Run all checks on one grammar.

    Args:
        backend: Supports the grammar.
        vocabulary: What it is compiled for.
        case: The grammar, with texts that belong to it and texts that do not.
        walks: How many random texts are written.
        steps: The most tokens of each.
        sample: How many allowed and how many forbidden tokens are tried at each place.
        seed: Of the random choices.

    Raises:
        ConformanceError: A check fails; the message says where.
    """
    compiled = backend.compile(case.grammar, vocabulary)
    _require(compiled.grammar == case.grammar, case, "the compiled grammar is another one")
    for text in case.valid:
        check_text(compiled, vocabulary, text, belongs=True)
    for text in case.invalid:
        check_text(compiled, vocabulary, text, belongs=False)
    rng = random.Random(seed)  # noqa: S311
    for _ in range(walks):
        ids = random_walk(compiled, vocabulary, rng.choice, steps=steps, sample=sample, rng=rng)
        check_walk(compiled, vocabulary, ids, rng=rng)
        matcher = compiled.matcher()
        matcher.accept(ids)
        text = vocabulary.decode(ids)
        if matcher.is_accepting and case.is_valid is not None:
            _require(case.is_valid(text), case, f"the mask let {text!r} through")


def check_text(
    compiled: CompiledGrammar, vocabulary: Vocabulary, text: str, *, belongs: bool
) -> None:
    """A text that belongs to the grammar is accepted to its end, and another is not.

    It is fed as the tokenizer writes it and byte by byte, where the vocabulary has all its bytes.
    """
    single = {token: i for i, token in enumerate(vocabulary.tokens) if len(token) == 1}
    spelled = [single.get(bytes([byte]), -1) for byte in text.encode()]
    for ids in [vocabulary.encode(text), spelled]:
        if -1 in ids:
            continue
        matcher = compiled.matcher()
        valid = matcher.count_valid(ids)
        whole = valid == len(ids)
        matcher.accept(ids[:valid])
        accepted = whole and matcher.is_accepting
        what = "refuses" if belongs else "accepts"
        _require(accepted == belongs, compiled, f"it {what} {text!r} after {valid} of {len(ids)}")


def random_walk(
    compiled: CompiledGrammar,
    vocabulary: Vocabulary,
    choose: Callable[[list[int]], int],
    *,
    steps: int = 40,
    sample: int = 64,
    rng: random.Random | None = None,
) -> list[int]:
    """Write a text, checking each place on the way; it may be cut short by `steps`.

    Args:
        compiled: The grammar.
        vocabulary: What it was compiled for.
        choose: Picks one of the allowed ids (`random.choice`, or Hypothesis).
        steps: The most tokens.
        sample: How many allowed and how many forbidden tokens are tried at each place.
        rng: Which ones.
    """
    matcher = compiled.matcher()
    ids: list[int] = []
    for _ in range(steps):
        allowed = check_place(matcher, vocabulary, sample=sample, rng=rng)
        if not allowed:
            break
        chosen = choose(allowed)
        matcher.accept([chosen])
        ids.append(chosen)
    return ids


def check_place(
    matcher: GrammarMatcher,
    vocabulary: Vocabulary,
    *,
    sample: int = 64,
    rng: random.Random | None = None,
) -> list[int]:
    """All that can be said of one place in a text.

    Returns:
        The ids that may follow, the end ids aside.
    """
    rng = rng or random.Random(0)  # noqa: S311
    before = _mask(matcher, vocabulary)
    ends = set(vocabulary.end_ids)
    allowed_ids = set(bitmask.allowed_ids(before, vocabulary.size).tolist())
    allowed = sorted(allowed_ids - ends)
    accepting = matcher.is_accepting
    _require(allowed_ids & ends == (ends if accepting else set()), matcher, "end bits are wrong")
    _require(bool(allowed) or accepting, matcher, "nothing may follow, not even the end")
    finished = accepting and not allowed
    _require(matcher.is_finished == finished, matcher, f"is_finished is not {finished}")
    for token_id in _sample(rng, allowed, sample):
        _require(matcher.count_valid([token_id]) == 1, matcher, f"{token_id} is allowed, not valid")
        _check_step_back(matcher, vocabulary, token_id, before)
    forced = b"".join(vocabulary.tokens[token_id] for token_id in matcher.forced_tokens())
    forbidden = set(_sample(rng, range(vocabulary.size), sample)) - allowed_ids - ends
    for token_id in (*sorted(forbidden), -1, vocabulary.size):
        if matcher.count_valid([token_id]) == 0:
            _check_refusal(matcher, token_id, TokenRejectedError)
        else:  # another spelling of what is forced
            token = vocabulary.tokens[token_id]
            _require(_compatible(token, forced), matcher, f"{token_id} is forbidden, but valid")
    for token_id in ends:
        _require(matcher.count_valid([token_id]) == 0, matcher, f"the end id {token_id} is valid")
        _check_refusal(matcher, token_id, GrammarError)
    _check_forced(matcher, vocabulary, allowed)
    _require(_same(before, _mask(matcher, vocabulary)), matcher, "looking changed the state")
    return allowed


def check_walk(
    compiled: CompiledGrammar,
    vocabulary: Vocabulary,
    ids: Sequence[int],
    *,
    rng: random.Random | None = None,
) -> None:
    """Rolling back equals replaying, from any place to any other, and forks are independent."""
    rng = rng or random.Random(0)  # noqa: S311
    matcher = compiled.matcher()
    matcher.accept(ids)
    for _ in range(4):
        kept = rng.randint(0, len(ids))
        matcher.rollback(len(ids) - kept)
        fresh = compiled.matcher()
        fresh.accept(ids[:kept])
        _require(_agree(matcher, fresh, vocabulary), compiled, f"rollback to {kept} is no replay")
        fork = matcher.fork()
        fork.accept(ids[kept:])
        _require(_agree(matcher, fresh, vocabulary), compiled, "moving a fork moved its origin")
        matcher.accept(ids[kept:])
        _require(_agree(matcher, fork, vocabulary), compiled, "a fork went another way")
        fork.rollback(len(ids))
        _require(_agree(fork, compiled.matcher(), vocabulary), compiled, "a fork forgot its past")
    for n in (-1, len(ids) + 1):
        try:
            matcher.rollback(n)
        except GrammarError:
            continue
        raise ConformanceError(f"{compiled.grammar!r:.200}: rollback({n}) of {len(ids)} is silent")


def _check_step_back(
    matcher: GrammarMatcher, vocabulary: Vocabulary, token_id: int, before: NDArray[np.int32]
) -> None:
    fork = matcher.fork()
    fork.accept([token_id])
    fork.rollback(1)
    _require(_same(before, _mask(fork, vocabulary)), matcher, f"rollback of {token_id} is inexact")


def _check_refusal(matcher: GrammarMatcher, token_id: int, error: type[GrammarError]) -> None:
    try:
        matcher.accept([token_id])
    except error:
        return
    raise ConformanceError(f"{matcher!r:.200}: accepting {token_id} is silent")


def _check_forced(matcher: GrammarMatcher, vocabulary: Vocabulary, allowed: list[int]) -> None:
    forced = matcher.forced_tokens()
    _require(matcher.count_valid(forced) == len(forced), matcher, "forced tokens are not valid")
    fork = matcher.fork()
    rest = b"".join(vocabulary.tokens[token_id] for token_id in forced)
    for token_id in forced:
        _require(not fork.is_accepting, matcher, "tokens are forced where the text may end")
        for other in allowed:
            _require(
                _compatible(vocabulary.tokens[other], rest),
                matcher,
                f"{other} is allowed where {forced} are forced",
            )
        fork.accept([token_id])
        rest = rest[len(vocabulary.tokens[token_id]) :]
        mask = _mask(fork, vocabulary)
        bitmask.forbid(mask, vocabulary.end_ids)
        allowed = bitmask.allowed_ids(mask, vocabulary.size).tolist() if rest else []


def _compatible(token: bytes, forced: bytes) -> bool:
    """Whether a token spells the beginning of what is forced, or all of it and more."""
    return bool(forced) and (forced.startswith(token) or token.startswith(forced))


def _agree(one: GrammarMatcher, other: GrammarMatcher, vocabulary: Vocabulary) -> bool:
    return (
        (one.is_accepting, one.is_finished) == (other.is_accepting, other.is_finished)
        and one.forced_tokens() == other.forced_tokens()
        and _same(_mask(one, vocabulary), _mask(other, vocabulary))
    )


def _mask(matcher: GrammarMatcher, vocabulary: Vocabulary) -> NDArray[np.int32]:
    row = bitmask.allocate_row(vocabulary.size)
    row.fill(-1)  # every word is to be written
    matcher.fill_bitmask(row)
    return row


def _same(one: NDArray[np.int32], other: NDArray[np.int32]) -> bool:
    return bool(np.array_equal(one, other))


def _sample(rng: random.Random, ids: Sequence[int], most: int) -> list[int]:
    return list(ids) if len(ids) <= most else rng.sample(ids, most)


def _require(holds: bool, where: object, complaint: str) -> None:  # noqa: FBT001
    if not holds:
        raise ConformanceError(f"{where!r:.200}: {complaint}")
