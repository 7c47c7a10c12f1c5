"""Runs the public conformance suite on both backends, and the suite on backends that are wrong."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemma_structured.exceptions import GrammarError
from gemma_structured.grammar.spec import Grammar
from gemma_structured.testing.grammar_conformance import (
    CASES,
    ConformanceError,
    GrammarCase,
    check_backend,
    check_walk,
    random_walk,
)

BACKENDS = ["llguidance", "outlines_core"]
VOCABULARIES = ["byte_vocabulary", "word_vocabulary"]
LLGUIDANCE_ONLY = {
    "an integer in a range",
    "a recursive tree",
    "a date",
    "a Lark grammar",
}


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest):
    return request.getfixturevalue(request.param)


@pytest.fixture(params=VOCABULARIES)
def vocabulary(request: pytest.FixtureRequest):
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_backends_conform(backend, vocabulary, case: GrammarCase) -> None:
    """Mask, accept, count, forced tokens, rollback and fork agree, on every grammar supported."""
    assert backend.supports(case.grammar) == (
        backend.name == "llguidance" or case.name not in LLGUIDANCE_ONLY
    )
    if backend.supports(case.grammar):
        check_backend(backend, vocabulary, case, walks=6)
    else:
        with pytest.raises(GrammarError, match="llguidance"):
            backend.compile(case.grammar, vocabulary)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_llguidance_conforms_on_gemma(llguidance, gemma_vocabulary, case: GrammarCase) -> None:
    """The same holds over 262,144 real tokens."""
    check_backend(llguidance, gemma_vocabulary, case, walks=2, steps=25, sample=24)


def test_outlines_core_conforms_on_gemma(outlines_core, gemma_vocabulary) -> None:
    """The second backend too, on a grammar small enough for it."""
    case = next(case for case in CASES if case.name == "a choice")
    check_backend(outlines_core, gemma_vocabulary, case, walks=2, steps=25, sample=24)


@settings(max_examples=40)
@given(case=st.sampled_from(CASES), data=st.data())
def test_any_walk_conforms(llguidance, outlines_core, word_vocabulary, case, data) -> None:
    """Hypothesis chooses every token: no way through a grammar breaks the laws."""
    for backend in (llguidance, outlines_core):
        if not backend.supports(case.grammar):
            continue
        compiled = backend.compile(case.grammar, word_vocabulary)
        ids = random_walk(
            compiled,
            word_vocabulary,
            lambda allowed: allowed[data.draw(st.integers(0, len(allowed) - 1))],
            steps=12,
            sample=16,
        )
        check_walk(compiled, word_vocabulary, ids, rng=random.Random(0))


@pytest.mark.parametrize(
    "case", [c for c in CASES if c.name not in LLGUIDANCE_ONLY], ids=lambda c: c.name
)
def test_backends_agree(llguidance, outlines_core, word_vocabulary, case: GrammarCase) -> None:
    """What one backend writes, the other accepts as far as it goes."""
    one, other = (b.compile(case.grammar, word_vocabulary) for b in (llguidance, outlines_core))
    rng = random.Random(3)
    for writer, reader in ((one, other), (other, one)):
        for _ in range(5):
            ids = random_walk(writer, word_vocabulary, rng.choice, steps=30, sample=4)
            text = word_vocabulary.decode(ids)
            if reader is other and re.search(r"[\x7f-\x9f]|[eE](?![-+])", text):
                continue  # outlines-core writes these in no string, and signs every exponent
            assert reader.matcher().count_valid(ids) == len(ids)


class Wrapped:
    """A matcher that lies in one way."""

    def __init__(self, matcher, lie: str) -> None:
        self.matcher = matcher
        self.lie = lie

    def __getattr__(self, name: str):
        return getattr(self.matcher, name)

    def fork(self):
        return self if self.lie == "fork" else Wrapped(self.matcher.fork(), self.lie)

    def rollback(self, n: int) -> None:
        if self.lie != "rollback":
            self.matcher.rollback(n)

    def accept(self, token_ids) -> None:
        try:
            self.matcher.accept(token_ids)
        except GrammarError:
            if self.lie != "silence":
                raise

    def fill_bitmask(self, row) -> None:
        if self.lie == "mask":
            row[:] = -1
        else:
            self.matcher.fill_bitmask(row)

    def forced_tokens(self):
        return [60] if self.lie == "forced" else self.matcher.forced_tokens()

    def count_valid(self, token_ids) -> int:
        return 0 if self.lie == "count" else self.matcher.count_valid(token_ids)

    @property
    def is_finished(self) -> bool:
        return self.lie == "finished" or self.matcher.is_finished


class Liar:
    """A backend that lies in one way."""

    name = "liar"

    def __init__(self, real, lie: str) -> None:
        self.real = real
        self.lie = lie

    def compile(self, grammar, vocabulary):
        compiled = self.real.compile(grammar, vocabulary)
        lie = self.lie

        class Compiled:
            grammar = compiled.grammar

            def matcher(self):
                return Wrapped(compiled.matcher(), lie)

        return Compiled()


@pytest.mark.parametrize(
    "lie", ["fork", "rollback", "silence", "mask", "forced", "count", "finished", "wrong texts"]
)
def test_the_suite_finds_backends_that_are_wrong(llguidance, byte_vocabulary, lie: str) -> None:
    """Each kind of wrong backend fails the suite: it does not pass by looking at nothing."""
    case = GrammarCase(
        name="digits",
        grammar=Grammar.regex("[0-9]{2,4}"),
        valid=("12345",) if lie == "wrong texts" else ("12",),
        is_valid=str.isdecimal,
    )
    with pytest.raises(ConformanceError):
        check_backend(Liar(llguidance, lie), byte_vocabulary, case)
    with pytest.raises(ConformanceError, match="the mask let"):
        check_backend(
            llguidance,
            byte_vocabulary,
            GrammarCase(name="x", grammar=case.grammar, is_valid=str.isalpha),
        )
