"""The engines beside ours: llguidance, xgrammar and outlines-core as they come."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import numpy as np
from conformance_engines import Compiled, Engine, Matcher, Ours, RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemma_structured.grammar.vocabulary import Vocabulary


class _LlguidanceMatcher(Matcher):
    def __init__(self, matcher: Any, vocabulary: Vocabulary, bitmask: Any) -> None:
        super().__init__(vocabulary)
        self._matcher, self._bitmask = matcher, bitmask

    @property
    def is_accepting(self) -> bool:
        return self._matcher.is_accepting()

    def feed(self, token_id: int) -> bool:
        return self._matcher.try_consume_tokens([token_id]) == 1

    def back(self, tokens: int) -> None:
        self._matcher.rollback(tokens)

    def mask(self) -> None:
        self._matcher.unsafe_compute_mask_ptr(self._bitmask.ctypes.data, self._bitmask.nbytes)


class Llguidance:
    """llguidance without anything before it."""

    name = "llguidance"

    def __init__(self, vocabulary: Vocabulary) -> None:
        from llguidance import LLTokenizer, TokenizerWrapper

        self._vocabulary = vocabulary
        self._tokenizer = LLTokenizer(
            TokenizerWrapper(_View(vocabulary)), eos_token=list(vocabulary.end_ids)
        )
        self._bitmask = np.zeros((vocabulary.size + 31) // 32, dtype=np.int32)

    def compile(self, schema: Any) -> Compiled:
        """Compile a schema as it is."""
        from llguidance import LLMatcher

        options = {"whitespace_flexible": False, "item_separator": ",", "key_separator": ":"}
        start = time.perf_counter()
        grammar = LLMatcher.grammar_from_json_schema(json.dumps(schema), overrides=options)
        matcher = LLMatcher(self._tokenizer, grammar, log_level=0)
        if matcher.is_error():
            raise RefusedError(matcher.get_error().splitlines()[0])
        made = lambda: _LlguidanceMatcher(  # noqa: E731
            matcher.deep_copy(), self._vocabulary, self._bitmask
        )
        made().mask()
        return Compiled(made, schema, (), {"compile": time.perf_counter() - start})


class _View:
    """The vocabulary as `llguidance.TokenizerWrapper` wants to see it."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._encode = vocabulary.encode
        self.eos_token_id = vocabulary.end_ids[0]
        self.bos_token_id = None
        self.tokens = vocabulary.tokens
        self.special_token_ids = sorted(vocabulary.control_ids)

    def __call__(self, text: str | bytes) -> list[int]:
        return self._encode(text if isinstance(text, str) else text.decode())


class _XgrammarMatcher(Matcher):
    def __init__(self, matcher: Any, vocabulary: Vocabulary, bitmask: Any) -> None:
        super().__init__(vocabulary)
        self._matcher, self._bitmask = matcher, bitmask

    @property
    def is_accepting(self) -> bool:
        return self._matcher.is_completed()

    def feed(self, token_id: int) -> bool:
        return self._matcher.accept_token(token_id)

    def back(self, tokens: int) -> None:
        self._matcher.rollback(tokens)

    def mask(self) -> None:
        self._matcher.fill_next_token_bitmask(self._bitmask)


class Xgrammar:
    """xgrammar with compact JSON."""

    name = "xgrammar"

    def __init__(self, vocabulary: Vocabulary) -> None:
        import xgrammar

        self._vocabulary = vocabulary
        info = xgrammar.TokenizerInfo(
            [b"" if i in vocabulary.control_ids else t for i, t in enumerate(vocabulary.tokens)],
            xgrammar.VocabType.RAW,
            stop_token_ids=list(vocabulary.end_ids),
        )
        self._compiler = xgrammar.GrammarCompiler(info, max_threads=1, cache_enabled=False)
        self._bitmask = xgrammar.allocate_token_bitmask(1, vocabulary.size)

    def compile(self, schema: Any) -> Compiled:
        """Compile a schema as it is."""
        import xgrammar

        start = time.perf_counter()
        try:
            grammar = self._compiler.compile_json_schema(
                json.dumps(schema), any_whitespace=False, separators=(",", ":"), strict_mode=False
            )
        except RuntimeError as error:
            raise RefusedError(str(error).splitlines()[0]) from None
        made = lambda: _XgrammarMatcher(  # noqa: E731
            xgrammar.GrammarMatcher(grammar), self._vocabulary, self._bitmask
        )
        made().mask()
        return Compiled(made, schema, (), {"compile": time.perf_counter() - start})


class _OutlinesMatcher(Matcher):
    def __init__(self, guide: Any, vocabulary: Vocabulary) -> None:
        super().__init__(vocabulary)
        self._guide = guide

    @property
    def is_accepting(self) -> bool:
        return self._guide.is_finished()

    def feed(self, token_id: int) -> bool:
        if not self._guide.accepts_tokens([token_id]):
            return False
        self._guide.advance(token_id, return_tokens=False)
        return True

    def back(self, tokens: int) -> None:
        self._guide.rollback_state(tokens)

    def mask(self) -> None:
        self._guide.get_tokens()


class OutlinesCore:
    """outlines-core: the schema as one regular expression."""

    name = "outlines-core"

    def __init__(self, vocabulary: Vocabulary) -> None:
        from outlines_core import Vocabulary as OutlinesVocabulary

        self._tokens = vocabulary
        ids: dict[bytes | str, list[int]] = {}
        for token_id, token in enumerate(vocabulary.tokens):
            if token and token_id not in vocabulary.control_ids:
                ids.setdefault(token, []).append(token_id)
        self._vocabulary = OutlinesVocabulary(vocabulary.end_ids[0], ids)

    def compile(self, schema: Any) -> Compiled:
        """Compile a schema as it is."""
        from outlines_core import Guide, Index
        from outlines_core.json_schema import build_regex_from_schema

        start = time.perf_counter()
        try:
            pattern = build_regex_from_schema(json.dumps(schema), whitespace_pattern="")
            index = Index(pattern, self._vocabulary)
        except (ValueError, TypeError, RuntimeError) as error:
            raise RefusedError((str(error).splitlines() or ["no reason"])[0]) from None
        made = lambda: _OutlinesMatcher(Guide(index, max_rollback=10_000), self._tokens)  # noqa: E731
        made().mask()
        return Compiled(made, schema, (), {"compile": time.perf_counter() - start})


ENGINES: dict[str, Callable[[Vocabulary], Engine]] = {
    "gemma_structured": Ours,
    "llguidance": Llguidance,
    "xgrammar": Xgrammar,
    "outlines-core": OutlinesCore,
}
