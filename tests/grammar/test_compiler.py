"""Tests of the cache of compiled grammars."""

from __future__ import annotations

import threading
import time

import pytest

from gemma_structured.exceptions import GrammarError
from gemma_structured.grammar.compiler import GrammarCompiler
from gemma_structured.grammar.llguidance import LLGuidanceBackend
from gemma_structured.grammar.outlines_core import OutlinesCoreBackend
from gemma_structured.grammar.spec import Grammar


class SlowBackend:
    """Compiles with llguidance, slowly, and counts; the first `failures` compilations fail."""

    name = "slow"

    def __init__(self, failure: BaseException | None = None, failures: int = 0) -> None:
        self.real = LLGuidanceBackend()
        self.calls = 0
        self.failure = failure
        self.failures = failures
        self.begun = threading.Event()

    def supports(self, grammar):
        return True

    def compile(self, grammar, vocabulary):
        self.calls += 1
        self.begun.set()
        time.sleep(0.1)
        if self.failures:
            self.failures -= 1
            raise self.failure
        return self.real.compile(grammar, vocabulary)


def in_threads(count: int, action) -> list[object]:
    """What an action returns or raises in some threads at once."""
    results: list[object] = []

    def run() -> None:
        try:
            results.append(action())
        except BaseException as error:  # noqa: BLE001
            results.append(error)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_a_grammar_is_compiled_once(byte_vocabulary) -> None:
    """Asked for again, the same compiled grammar comes back, and the counters say so."""
    compiler = GrammarCompiler(byte_vocabulary)
    first = compiler.compile(Grammar.regex("a+"))
    assert compiler.compile(Grammar.regex("a+")) is first
    stats = compiler.stats
    assert (stats.hits, stats.misses, stats.errors, stats.size) == (1, 1, 0, 1)


def test_threads_wait_for_one_compilation(byte_vocabulary) -> None:
    """Eight threads that ask at once cause one compilation and share it."""
    backend = SlowBackend()
    compiler = GrammarCompiler(byte_vocabulary, backend)
    results = in_threads(8, lambda: compiler.compile(Grammar.regex("a+")))
    assert backend.calls == 1
    assert len({id(result) for result in results}) == 1


def test_other_grammars_do_not_wait(byte_vocabulary) -> None:
    """While one grammar compiles, another can be compiled."""
    backend = SlowBackend()
    compiler = GrammarCompiler(byte_vocabulary, backend)
    start = time.perf_counter()
    grammars = iter([Grammar.regex(c) for c in "abcdefgh"])
    lock = threading.Lock()

    def compile_next() -> object:
        with lock:
            grammar = next(grammars)
        return compiler.compile(grammar)

    in_threads(8, compile_next)
    assert backend.calls == 8
    assert time.perf_counter() - start < 0.7


def test_failures_reach_all_that_wait_and_are_not_kept(byte_vocabulary) -> None:
    """Who waits for a failed compilation gets its error; who asks later has it tried again."""
    backend = SlowBackend(GrammarError("broken"), failures=1)
    compiler = GrammarCompiler(byte_vocabulary, backend)
    results = in_threads(4, lambda: compiler.compile(Grammar.regex("a")))
    assert all(isinstance(result, GrammarError) for result in results)
    assert backend.calls == 1
    assert compiler.compile(Grammar.regex("a")).grammar == Grammar.regex("a")
    assert compiler.stats.errors == 1


def test_an_interrupted_compilation_is_taken_over(byte_vocabulary) -> None:
    """If the compiling thread is interrupted, one that waits compiles instead."""
    backend = SlowBackend(KeyboardInterrupt(), failures=1)
    compiler = GrammarCompiler(byte_vocabulary, backend)
    results = in_threads(4, lambda: compiler.compile(Grammar.regex("a")))
    interrupted = [result for result in results if isinstance(result, KeyboardInterrupt)]
    assert len(interrupted) == 1
    assert len({id(result) for result in results if result is not interrupted[0]}) == 1
    assert backend.calls == 2


def test_the_cache_is_bounded(byte_vocabulary) -> None:
    """The least recently used grammar goes first."""
    compiler = GrammarCompiler(byte_vocabulary, max_size=2)
    a = compiler.compile(Grammar.regex("a"))
    b = compiler.compile(Grammar.regex("b"))
    assert compiler.compile(Grammar.regex("a")) is a
    compiler.compile(Grammar.regex("c"))
    assert compiler.compile(Grammar.regex("a")) is a
    assert compiler.compile(Grammar.regex("b")) is not b
    assert (compiler.stats.size, compiler.stats.evictions, compiler.stats.max_size) == (2, 2, 2)


def test_backends_are_chosen_by_name_or_given(byte_vocabulary) -> None:
    """Both backends have names; an unknown one is a typed error that lists them."""
    assert GrammarCompiler(byte_vocabulary).backend.name == "llguidance"
    assert isinstance(
        GrammarCompiler(byte_vocabulary, "outlines_core").backend, OutlinesCoreBackend
    )
    own = SlowBackend()
    assert GrammarCompiler(byte_vocabulary, own).backend is own
    with pytest.raises(GrammarError, match=r"'xgrammar'.*llguidance"):
        GrammarCompiler(byte_vocabulary, "xgrammar")
    with pytest.raises(GrammarError, match="max_size"):
        GrammarCompiler(byte_vocabulary, max_size=0)
