"""Many bitmasks at once: as one by one, whatever the backend, and each with its own failure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gemma_structured.exceptions import GrammarError
from gemma_structured.grammar import bitmask
from gemma_structured.grammar.bitmask_filler import BitmaskFiller
from gemma_structured.grammar.spec import Grammar

if TYPE_CHECKING:
    from gemma_structured.grammar.llguidance import LLGuidanceBackend
    from gemma_structured.grammar.outlines_core import OutlinesCoreBackend
    from gemma_structured.grammar.vocabulary import Vocabulary

PATTERNS = ("[a-c]{5}", "(true|false)", ".{1,40}", "[0-9]+", "x?")


@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize("threads", [1, 3])
def test_together_as_one_by_one(
    count: int,
    threads: int,
    word_vocabulary: Vocabulary,
    llguidance: LLGuidanceBackend,
    outlines_core: OutlinesCoreBackend,
) -> None:
    """Matchers of both backends, in one bitmask; nothing is left of what was in it."""
    backends = (llguidance, outlines_core)
    matchers = [
        backends[i % 2].compile(Grammar.regex(pattern), word_vocabulary).matcher()
        for i, pattern in enumerate(PATTERNS[:count])
    ]
    filled, expected = (bitmask.allocate(count, word_vocabulary.size) for _ in range(2))
    filled.fill(-1)
    assert BitmaskFiller(threads).fill(matchers, filled) == [None] * count
    for matcher, row in zip(matchers, expected, strict=True):
        matcher.fill_bitmask(row)
    assert (filled == expected).all()


def test_what_fails_fails_alone(word_vocabulary: Vocabulary, llguidance: LLGuidanceBackend) -> None:
    """A matcher that is of no more use says so; the others' masks are right."""
    matchers = [
        llguidance.compile(Grammar.regex(pattern), word_vocabulary).matcher()
        for pattern in PATTERNS[:3]
    ]
    matchers[1]._matcher.consume_token(word_vocabulary.encode("#")[0])
    filled = bitmask.allocate(3, word_vocabulary.size)
    first, broken, last = BitmaskFiller(2).fill(matchers, filled)
    assert first is last is None
    assert isinstance(broken, GrammarError)
    row = bitmask.allocate_row(word_vocabulary.size)
    for i in (0, 2):
        matchers[i].fill_bitmask(row)
        assert (filled[i] == row).all()


def test_a_bitmask_of_the_wrong_width_is_refused(
    word_vocabulary: Vocabulary, llguidance: LLGuidanceBackend
) -> None:
    """Before anything is written past its end."""
    compiled = llguidance.compile(Grammar.regex("[ab]"), word_vocabulary)
    with pytest.raises(GrammarError):
        BitmaskFiller().fill(
            [compiled.matcher() for _ in range(2)], bitmask.allocate(2, word_vocabulary.size + 64)
        )
