"""`GrammarCompiler`: each grammar is compiled once per vocabulary, and kept while there is room."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from cachetools import LRUCache

from gemma_structured.exceptions import GrammarError

if TYPE_CHECKING:
    from gemma_structured.grammar.backend import CompiledGrammar, GrammarBackend
    from gemma_structured.grammar.spec import Grammar
    from gemma_structured.grammar.vocabulary import Vocabulary

__all__ = ["BackendName", "CompilerStats", "GrammarCompiler"]

BackendName: TypeAlias = Literal["llguidance", "outlines_core"]
"""The backends that come with the package."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompilerStats:
    """What a compiler has done so far.

    Attributes:
        hits: Calls that found the grammar compiled, or being compiled.
        misses: Calls that compiled it.
        errors: Compilations that failed; a failure is not kept.
        evictions: Grammars thrown out because the cache was full.
        size: Grammars in the cache.
        max_size: How many there is room for.
    """

    hits: int
    misses: int
    errors: int
    evictions: int
    size: int
    max_size: int


class GrammarCompiler:
    """Compiles grammars for one vocabulary; it may be shared between threads.

    Threads that ask for the same grammar at the same time wait for one compilation. A grammar that
    does not compile raises for all that wait for it; whoever asks later has it tried again.

    Args:
        vocabulary: What the grammars are compiled for.
        backend: A backend's name, or a backend of one's own.
        max_size: How many compiled grammars are kept, the least recently used going first.

    Raises:
        GrammarError: There is no backend of that name, or no room for any grammar.
        LoadError: The backend's library is not installed.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        backend: BackendName | GrammarBackend = "llguidance",
        *,
        max_size: int = 256,
    ) -> None:
        if max_size < 1:
            raise GrammarError(f"max_size must be at least 1, not {max_size}.")
        self.vocabulary = vocabulary
        self.backend = _backend(backend) if isinstance(backend, str) else backend
        self._cache: _EvictionCountingCache = _EvictionCountingCache(max_size)
        self._pending: dict[Grammar, Future[CompiledGrammar]] = {}
        self._lock = threading.Lock()
        self._hits = self._misses = self._errors = 0

    def compile(self, grammar: Grammar) -> CompiledGrammar:
        """The compiled grammar, from the cache where it is there.

        Raises:
            GrammarError: The backend does not support the grammar, or it does not compile.
        """
        while True:
            with self._lock:
                found = self._cache.get(grammar)
                pending = self._pending.get(grammar)
                if found is None and pending is None:
                    self._misses += 1
                    own = self._pending[grammar] = Future()
                    break
                self._hits += 1
            if found is not None:
                return found
            assert pending is not None
            with suppress(CancelledError):  # the other thread was interrupted: try it ourselves
                return pending.result()
        return self._compile(grammar, own)

    def _compile(self, grammar: Grammar, future: Future[CompiledGrammar]) -> CompiledGrammar:
        try:
            compiled = self.backend.compile(grammar, self.vocabulary)
        except BaseException as error:
            with self._lock:
                self._errors += 1
                del self._pending[grammar]
            if isinstance(error, Exception):
                future.set_exception(error)
            else:
                future.cancel()
            raise
        with self._lock:
            self._cache[grammar] = compiled
            del self._pending[grammar]
        future.set_result(compiled)
        return compiled

    @property
    def stats(self) -> CompilerStats:
        """What this compiler has done so far."""
        with self._lock:
            return CompilerStats(
                hits=self._hits,
                misses=self._misses,
                errors=self._errors,
                evictions=self._cache.evictions,
                size=len(self._cache),
                max_size=int(self._cache.maxsize),
            )


class _EvictionCountingCache(LRUCache["Grammar", "CompiledGrammar"]):
    def __init__(self, maxsize: int) -> None:
        super().__init__(maxsize)
        self.evictions = 0

    def popitem(self) -> tuple[Grammar, CompiledGrammar]:
        self.evictions += 1
        return super().popitem()


def _backend(name: str) -> GrammarBackend:
    if name == "llguidance":
        from gemma_structured.grammar.llguidance import LLGuidanceBackend  # noqa: PLC0415

        return LLGuidanceBackend()
    if name == "outlines_core":
        from gemma_structured.grammar.outlines_core import OutlinesCoreBackend  # noqa: PLC0415

        return OutlinesCoreBackend()
    raise GrammarError(
        f"There is no grammar backend named {name!r}.",
        hint="Use 'llguidance' or 'outlines_core', or give a backend of your own.",
    )
