"""The law that every pass keeps, as a fixture: nothing valid is lost, nothing invalid is added."""

from __future__ import annotations

import random
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import pytest

from gemma_structured.exceptions import SchemaError
from gemma_structured.grammar.llguidance import LLGuidanceBackend
from gemma_structured.grammar.spec import Grammar
from gemma_structured.parsing.partial import JsonValueParser
from gemma_structured.schema.json_schema import JsonSchema
from gemma_structured.schema.normalize import Normalized, normalize
from gemma_structured.schema.residual import ResidualChecks
from gemma_structured.schema.validator import compile_validator
from gemma_structured.testing.byte_tokenizer import ByteTokenizer
from gemma_structured.testing.written_values import accepts, canonical

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemma_structured.grammar.backend import GrammarMatcher


def _refused(checks: ResidualChecks, value: Any) -> tuple[str | int, ...] | None:
    """Where a value is refused when it is written from its beginning to its end."""
    parser, follower = JsonValueParser(), checks.follow()
    parser.feed(canonical(value))
    parser.finish()
    for path, part in parser.closed_events:
        if not follower.close(path, part):
            return path
    return None


class Mask:
    """A schema's mask on single bytes."""

    def __init__(self, schema: JsonSchema) -> None:
        self._compiled = _backend().compile(Grammar.json_schema(schema), _vocabulary())

    def accepts_text(self, text: str) -> bool:
        """Whether the mask accepts a text to its end."""
        ids = _vocabulary().encode(text)
        matcher: GrammarMatcher = self._compiled.matcher()
        if matcher.count_valid(ids) < len(ids):
            return False
        matcher.accept(ids)
        return matcher.is_accepting

    def accepts(self, value: Any) -> bool:
        """Whether the mask accepts a value with its keys in some order."""
        return accepts(self._compiled.matcher(), _vocabulary(), value)


@lru_cache(maxsize=1)
def _backend() -> LLGuidanceBackend:
    return LLGuidanceBackend()


@lru_cache(maxsize=1)
def _vocabulary() -> Any:
    return ByteTokenizer().vocabulary()


NAMES = ("a", "b", "c", "ab", "kind")
TEXTS = ("", "a", "b", "ab", "abc", "x1", "ba", "12", "é", "2020-02-29", "cat")
NUMBERS = (0, 1, 2, 3, 5, 10, -1, 1.5, 2.5, 0.1, -0.5, 100)


def random_value(source: random.Random, depth: int = 0) -> Any:
    """A small JSON value made of few names, texts and numbers, so that schemas meet them."""
    kind = source.random() * (1.0 if depth < 3 else 0.6)
    if kind < 0.1:
        return source.choice([None, True, False])
    if kind < 0.35:
        return source.choice(NUMBERS)
    if kind < 0.6:
        return source.choice(TEXTS)
    if kind < 0.78:
        return [random_value(source, depth + 1) for _ in range(source.randrange(4))]
    names = source.sample(NAMES, source.randrange(4))
    return {name: random_value(source, depth + 1) for name in names}


@lru_cache(maxsize=1)
def _pool() -> tuple[Any, ...]:
    source = random.Random(7)
    values = [random_value(source) for _ in range(150)]
    objects = [
        {name: random_value(source, 2) for name in source.sample(NAMES, source.randrange(5))}
        for _ in range(100)
    ]
    arrays = [[random_value(source, 2) for _ in range(source.randrange(5))] for _ in range(50)]
    flat = [[source.choice([1, 2, "a", "b", None]) for _ in range(n % 5)] for n in range(40)]
    return (*values, *objects, *arrays, *flat)


def check_law(schema: Any, values: tuple[Any, ...]) -> Normalized:
    """Hold a schema's rewriting and its mask to validation, on some values."""
    original = schema if isinstance(schema, JsonSchema) else JsonSchema(schema)
    normalized = normalize(original)
    rewritten = compile_validator(JsonSchema(normalized.schema.value))
    valid = compile_validator(original)
    mask = Mask(normalized.schema)
    checks = ResidualChecks.of(original, normalized.residual)
    for value in values:
        if checks is not None and (path := _refused(checks, value)) is not None:
            assert not valid.is_valid(value), f"{value!r} is valid and was refused at {path}"
        if valid.is_valid(value):
            assert rewritten.is_valid(value), f"rewriting lost {value!r}"
            assert mask.accepts(value), f"the mask refuses {value!r}"
        elif not normalized.residual:
            assert not rewritten.is_valid(value), f"rewriting added {value!r}"
            assert not mask.accepts(value), f"the mask accepts {value!r}"
    return normalized


@pytest.fixture
def law() -> Callable[..., Normalized]:
    """Checks the law on a pool of random values and on those given: `law(schema, *values)`."""

    def check(schema: Any, *values: Any, exact: bool = True) -> Normalized:
        normalized = check_law(schema, (*_pool(), *values))
        assert normalized.exact == exact, normalized.residual
        return normalized

    return check


@pytest.fixture
def mask() -> Callable[[Any], Mask]:
    """The mask of a schema after rewriting."""

    def make(schema: Any) -> Mask:
        return Mask(normalize(JsonSchema(schema)).schema)

    return make


@pytest.fixture(scope="session")
def make_mask() -> Callable[[JsonSchema], Mask]:
    """The mask of a schema that is rewritten already."""
    return Mask


@pytest.fixture(scope="session")
def refused() -> Callable[[ResidualChecks, Any], tuple[str | int, ...] | None]:
    """Says where a value is refused while it is written."""
    return _refused


@pytest.fixture(scope="session")
def check_values() -> Callable[[Any, int, Any], None]:
    """Checks the law on random values drawn by a seed, and on one that is given."""

    def check(schema: Any, seed: int, value: Any) -> None:
        source = random.Random(seed)
        values = (value, *(random_value(source) for _ in range(12)))
        refused: SchemaError | None = None
        try:
            check_law(schema, values)
        except SchemaError as error:
            refused = error
        if refused is not None:
            assert "Nothing satisfies" in str(refused)
            valid = compile_validator(JsonSchema(schema))
            assert not any(map(valid.is_valid, values))

    return check
