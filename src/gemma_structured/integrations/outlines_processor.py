"""The logits processors that reach an outlines model, as places in a grammar.

Our loop does not process logits: it asks a matcher. So what is wanted of a processor is the grammar
in it, which ours carries, and which outlines' own hold in some form or other.
"""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from cachetools import LRUCache

from gemma_structured.exceptions import GrammarError
from gemma_structured.grammar import bitmask
from gemma_structured.grammar.outlines_core_matcher import OutlinesCoreMatcher
from gemma_structured.grammar.spec import Grammar
from gemma_structured.schema.free_text import FREE_TEXT
from gemma_structured.schema.json_schema import JsonSchema
from gemma_structured.schema.output_type import OutputType

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gemma_structured.decoding.runtime import Runtime
    from gemma_structured.grammar.backend import GrammarMatcher
    from gemma_structured.grammar.outlines_core_matcher import TokenIndex
    from gemma_structured.grammar.vocabulary import Vocabulary
    from gemma_structured.schema.bounds import Bounds

__all__ = ["GrammarProcessor", "matcher_for"]

_KEPT_MASKS: Final = 256


class GrammarProcessor:
    """A grammar where outlines expects a logits processor. It has no state.

    Attributes:
        grammar: What the text must be.
    """

    def __init__(self, grammar: Grammar) -> None:
        self.grammar = grammar

    def reset(self) -> None:
        """Nothing to do: each call has a matcher of its own."""

    def __repr__(self) -> str:
        return f"GrammarProcessor({self.grammar.kind})"


def matcher_for(processor: object, runtime: Runtime, bounds: Bounds | None) -> GrammarMatcher:
    """A matcher at the start of the grammar that a processor stands for.

    Args:
        processor: Ours, one of outlines' backends `llguidance` and `outlines_core`, or `None` for
            any text.
        runtime: The model that is to write.
        bounds: For schemas that outlines has handed to llguidance.

    Raises:
        GrammarError: The processor holds no grammar that can be read, or it does not compile.
    """
    index = getattr(processor, "index", None)
    if index is not None and hasattr(index, "get_next_state"):
        states = _IndexStates(runtime.vocabulary, index)
        return OutlinesCoreMatcher(states, [index.get_initial_state()])
    return runtime.compiler.compile(_grammar(processor, bounds)).matcher()


def _grammar(processor: object, bounds: Bounds | None) -> Grammar:
    if processor is None:
        return Grammar.for_output_type(FREE_TEXT, None)[0]
    if isinstance(processor, GrammarProcessor):
        return processor.grammar
    source = getattr(processor, "grammar", None)
    parts: list[dict[str, Any]] = _parts(source) if isinstance(source, str) else []
    if len(parts) == 1 and "json_schema" in parts[0]:
        schema = OutputType.of(JsonSchema(parts[0]["json_schema"]))
        return Grammar.for_output_type(schema, bounds)[0]
    if len(parts) == 1 and "lark_grammar" in parts[0]:
        return Grammar.lark(parts[0]["lark_grammar"])
    raise GrammarError(
        f"A {type(processor).__name__} holds no grammar that our loop can follow.",
        hint="Use outlines.Generator(model, processor=model.processor(output_type)).",
    )


def _parts(source: str) -> list[dict[str, Any]]:
    try:
        parts: list[dict[str, Any]] = json.loads(source)["grammars"]
    except (ValueError, KeyError, TypeError):
        return []
    return parts


class _IndexStates:
    """An index that outlines has built over its own view of the tokenizer.

    To outlines control tokens are text like any other; here they are never allowed.
    """

    def __init__(self, vocabulary: Vocabulary, index: TokenIndex) -> None:
        self.vocabulary = vocabulary
        self._index = index
        self._masks: LRUCache[int, NDArray[np.int32]] = LRUCache(_KEPT_MASKS)
        self._lock = threading.Lock()

    def is_final(self, state: int) -> bool:
        """Whether the text may end in this state."""
        return self._index.is_final_state(state)

    def next_state(self, state: int, token_id: int) -> int | None:
        """Where a token leads; `None` where it is not allowed."""
        vocabulary = self.vocabulary
        if not 0 <= token_id < vocabulary.size or token_id in vocabulary.control_ids:
            return None
        return self._index.get_next_state(state, token_id)

    def mask(self, state: int) -> NDArray[np.int32]:
        """The bitmask row of a state, end ids included; shared, not to be written to."""
        with self._lock:
            row = self._masks.get(state)
            if row is None:
                row = self._masks[state] = self._build_mask(state)
            return row

    def _build_mask(self, state: int) -> NDArray[np.int32]:
        vocabulary = self.vocabulary
        flags = np.zeros(bitmask.words(vocabulary.size) * 32, dtype=np.bool_)
        flags[self._index.get_allowed_tokens(state)] = True
        flags[list(vocabulary.control_ids)] = False
        flags[list(vocabulary.end_ids)] = self.is_final(state)
        row = bitmask.allocate_row(vocabulary.size)
        row[:] = np.packbits(flags, bitorder="little").view("<i4")
        row.setflags(write=False)
        return row
