"""What an engine is, and ours: the normaliser in front of llguidance."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from gemma_structured.exceptions import GemmaStructuredError, TokenRejectedError
from gemma_structured.grammar.llguidance import LLGuidanceBackend
from gemma_structured.grammar.spec import Grammar
from gemma_structured.grammar.vocabulary import Vocabulary
from gemma_structured.schema.json_schema import JsonSchema
from gemma_structured.schema.normalize import normalize
from gemma_structured.testing.byte_tokenizer import ByteTokenizer

if TYPE_CHECKING:
    from collections.abc import Callable

    from referencing import Registry


class RefusedError(Exception):
    """The engine does not take the schema."""


class Matcher:
    """A grammar in use, fed with text.

    Args:
        vocabulary: Turns text into tokens.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.encode = vocabulary.encode

    @property
    def is_accepting(self) -> bool:
        """Whether the text so far is whole."""
        raise NotImplementedError

    def feed(self, token_id: int) -> bool:
        """Append a token; false and unchanged if it is not allowed."""
        raise NotImplementedError

    def back(self, tokens: int) -> None:
        """Take back some tokens."""
        raise NotImplementedError

    def mask(self) -> None:
        """Compute which tokens may follow."""
        raise NotImplementedError

    def take(self, text: str) -> int | None:
        """Append a text: how many tokens that was, or `None` and unchanged if it is not allowed."""
        ids = self.encode(text)
        for taken, token_id in enumerate(ids):
            if not self.feed(token_id):
                if taken:
                    self.back(taken)
                return None
        return len(ids)


@dataclass
class Compiled:
    """A schema that an engine took.

    Attributes:
        matcher: Makes a matcher at the start.
        residual: The keywords that are left to validation, with their paths.
        schema: The schema in whose order the engine writes properties.
        seconds: How long rewriting and compiling took; compiling includes the first mask.
    """

    matcher: Callable[[], Matcher]
    schema: Any
    residual: tuple[tuple[str, str], ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)


class Engine(Protocol):
    """Something that turns a schema into masks."""

    name: str

    def compile(self, schema: Any) -> Compiled:
        """Take a schema.

        Raises:
            RefusedError: It does not, and why.
        """
        ...


def load_vocabulary(name: str) -> Vocabulary:
    """The vocabulary of `byte`, of `embedded`, or of a `tokenizer.json`."""
    if name == "byte":
        return ByteTokenizer().vocabulary()
    from tokenizers import Tokenizer

    path = Path(name)
    if name == "embedded":
        from gemma_structured.decoding.embedded import embedded_folder

        path = embedded_folder() / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(path))
    names = ("<eos>", "<end_of_turn>", "<turn|>", "</s>")
    ends = [i for i in map(tokenizer.token_to_id, names) if i is not None]
    return Vocabulary.from_tokenizer(tokenizer, end_ids=ends)


class _OurMatcher(Matcher):
    def __init__(self, matcher: Any, vocabulary: Vocabulary, bitmask: Any) -> None:
        super().__init__(vocabulary)
        self._matcher, self._bitmask = matcher, bitmask

    @property
    def is_accepting(self) -> bool:
        return self._matcher.is_accepting

    def feed(self, token_id: int) -> bool:
        try:
            self._matcher.accept([token_id])
        except TokenRejectedError:
            return False
        return True

    def back(self, tokens: int) -> None:
        self._matcher.rollback(tokens)

    def mask(self) -> None:
        self._matcher.fill_bitmask(self._bitmask)


class Ours:
    """The normaliser in front of llguidance, as `LocalModel` uses them, without default bounds."""

    name = "gemma_structured"

    def __init__(
        self,
        vocabulary: Vocabulary,
        registry: Registry[Any] | None = None,
        formats: Any = "assertion",
    ) -> None:
        self._vocabulary, self._registry, self._formats = vocabulary, registry, formats
        self._backend = LLGuidanceBackend()
        self._bitmask = np.zeros((vocabulary.size + 31) // 32, dtype=np.int32)

    def compile(self, schema: Any) -> Compiled:
        """Rewrite and compile a schema."""
        try:
            parsed = JsonSchema(schema, registry=self._registry, formats=self._formats)
            start = time.perf_counter()
            normalized = normalize(parsed)
            rewritten = time.perf_counter()
            compiled = self._backend.compile(
                Grammar.json_schema(normalized.schema), self._vocabulary
            )
            matcher = compiled.matcher()
            matcher.fill_bitmask(self._bitmask)
        except GemmaStructuredError as error:
            raise RefusedError(str(error)) from None
        seconds = {"rewrite": rewritten - start, "compile": time.perf_counter() - rewritten}
        made = lambda: _OurMatcher(compiled.matcher(), self._vocabulary, self._bitmask)  # noqa: E731
        return Compiled(made, normalized.schema.value, tuple(normalized.residual), seconds)
