"""Holds the mask of a schema to jsonschema, on random walks through it and on random instances.

```python
fuzz = SchemaFuzz()
for seed in range(2000):
    rng = random.Random(seed)
    fuzz.check(random_schema(rng), [random_value(rng) for _ in range(8)], rng)
```
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from jsonschema import ValidationError
from jsonschema.validators import extend

from gemma_structured.exceptions import GrammarError, SchemaError
from gemma_structured.grammar import bitmask
from gemma_structured.grammar.llguidance import LLGuidanceBackend
from gemma_structured.grammar.spec import Grammar
from gemma_structured.parsing.partial import JsonValueParser
from gemma_structured.parsing.strict_json import read_json
from gemma_structured.schema.formats import format_checker
from gemma_structured.schema.json_schema import JsonSchema
from gemma_structured.schema.normalize import normalize
from gemma_structured.schema.residual import ResidualChecks
from gemma_structured.schema.validator import compile_validator, validator_class
from gemma_structured.testing.byte_tokenizer import ByteTokenizer
from gemma_structured.testing.random_schemas import PATTERNS
from gemma_structured.testing.written_values import accepts, canonical

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable

    from jsonschema.protocols import Validator

    from gemma_structured.grammar.backend import CompiledGrammar
    from gemma_structured.types import JsonValue

__all__ = ["Counterexample", "SchemaFuzz"]

_WORDS: Final = ('"kind":', '","', "true", "null", "ab", "cat", "10")
_LIKED: Final = {'"': 4.0, "]": 3.0, "}": 3.0, **dict.fromkeys("abc120", 2.0), "\\": -2.0}
_MAX_TOKENS: Final = 160


class Counterexample(AssertionError):  # noqa: N818 - what it is called where laws are tested
    """A schema and a value of which mask, rewriting and validation do not agree.

    Attributes:
        law: Which law is broken.
        value: The value, where there is one.
    """

    def __init__(self, law: str, schema: Any, value: Any = None) -> None:
        super().__init__(f"{law}: {json.dumps(value)} under {json.dumps(schema)}")
        self.law, self.value = law, value


@dataclass(slots=True)
class SchemaFuzz:
    """Checks schemas one by one and counts what came of them.

    Attributes:
        counts: How many schemas were exact, relaxed and so on; how walks ended; what instances
            were.
    """

    counts: Counter[str] = field(default_factory=Counter)
    _backend: LLGuidanceBackend = field(default_factory=LLGuidanceBackend)
    _vocabulary: Any = field(default_factory=lambda: ByteTokenizer(words=_WORDS).vocabulary())
    _liked: Any = None

    def __post_init__(self) -> None:
        """Say which tokens random logits prefer, so that walks end and values meet the schema."""
        self._liked = np.zeros(self._vocabulary.size)
        for text, by in _LIKED.items():
            self._liked[self._vocabulary.encode(text)] = by
        self._liked[list(self._vocabulary.end_ids)] = 5.0

    def check(
        self,
        value: Any,
        instances: Iterable[JsonValue],
        rng: random.Random,
        *,
        walks: int = 2,
        judge: Callable[[Any], Validator] | None = None,
    ) -> None:
        """Check one schema.

        Args:
            value: The schema.
            instances: Values that the mask, the rewritten schema and validation are asked about.
            rng: Of the walks.
            walks: How many texts are written under the mask.
            judge: Makes the validator that decides; jsonschema with `re` if not given.

        Raises:
            Counterexample: A law does not hold.
        """
        try:
            schema = JsonSchema(value)
        except SchemaError:
            self.counts["schemas that mean nothing"] += 1
            return
        asked = _Asked(schema, value, (judge or plain_judge)(value))
        if schema.dialect.name == "draft-04":  # to which alone 1.0 is no integer
            instances = [json.loads(canonical(instance)) for instance in instances]
        try:
            normalized = normalize(schema)
        except SchemaError as error:
            if "Nothing satisfies" not in str(error):
                self.counts["schemas that mean nothing"] += 1
                return
            self.counts["schemas that nothing satisfies"] += 1
            for instance in instances:
                if asked.judge.is_valid(instance):
                    raise Counterexample("refused as unsatisfiable", value, instance) from None
            return
        self.counts["relaxed schemas" if normalized.residual else "exact schemas"] += 1
        asked.residual = ResidualChecks.of(schema, normalized.residual)
        asked.rewritten = compile_validator(normalized.schema)
        try:
            compiled = self._backend.compile(
                Grammar.json_schema(normalized.schema), self._vocabulary
            )
        except GrammarError as error:
            raise Counterexample(f"does not compile ({error})", value) from None
        for instance in instances:
            self._instance(compiled, instance, asked)
        for _ in range(walks):
            self._walk(compiled, asked, rng)

    def _instance(self, compiled: CompiledGrammar, instance: JsonValue, asked: _Asked) -> None:
        valid = asked.validate(instance)
        accepted = accepts(compiled.matcher(), self._vocabulary, instance)
        self.counts[f"{'valid' if valid else 'invalid'} instances"] += 1
        if valid and not accepted:
            raise Counterexample("the mask refuses a valid instance", asked.value, instance)
        if accepted and not valid:
            self.counts["invalid instances accepted by the mask alone"] += 1
            asked.caught(instance)

    def _walk(self, compiled: CompiledGrammar, asked: _Asked, rng: random.Random) -> None:
        text = self._write(compiled, rng)
        if text is None:
            self.counts["unfinished walks"] += 1
            return
        read = read_json(text)
        if read.issues:
            if not any(
                "twice" in issue.message or "large" in issue.message for issue in read.issues
            ):
                raise Counterexample("the mask writes what is no JSON", asked.value, text)
            self.counts["walks that repeat a key, or overflow"] += 1
        elif asked.validate(read.value, text):
            self.counts["valid walks"] += 1
        else:
            self.counts["walks left to validation"] += 1
            asked.caught(read.value)

    def _write(self, compiled: CompiledGrammar, rng: random.Random) -> str | None:
        """A text that random logits write under the mask; `None` if it does not end."""
        draws = np.random.default_rng(rng.randrange(2**32))
        matcher = compiled.matcher()
        row = bitmask.allocate_row(self._vocabulary.size)
        ends = set(self._vocabulary.end_ids)
        ids: list[int] = []
        while len(ids) < _MAX_TOKENS:
            matcher.fill_bitmask(row)
            logits = self._liked + 2 * draws.gumbel(size=self._vocabulary.size)
            logits[~bitmask.allowed(row, self._vocabulary.size)] = -np.inf
            chosen = int(logits.argmax())
            if chosen in ends:
                return str(self._vocabulary.decode(ids))
            matcher.accept([chosen])
            ids.append(chosen)
        return None


@dataclass(slots=True)
class _Asked:
    """A schema, and who is asked about values."""

    schema: JsonSchema
    value: Any
    judge: Validator
    residual: ResidualChecks | None = None
    rewritten: Validator | None = None
    own: Validator | None = None

    def validate(self, instance: JsonValue, text: str | None = None) -> bool:
        """Whether the value is valid, and validation and rewriting say so too."""
        valid = self.judge.is_valid(instance)
        self.own = self.own or compile_validator(self.schema)
        if self.own.is_valid(instance) != valid:
            raise Counterexample("our validation differs from jsonschema", self.value, instance)
        assert self.rewritten is not None
        rewritten = self.rewritten.is_valid(instance)
        if valid and not rewritten:
            raise Counterexample("rewriting loses a valid instance", self.value, instance)
        if rewritten and not valid and self.residual is None:
            raise Counterexample("rewriting adds an invalid instance", self.value, instance)
        if (
            valid
            and self.residual is not None
            and not _stands(self.residual, text or canonical(instance))
        ):
            raise Counterexample("a residual check refuses a valid instance", self.value, instance)
        return valid

    def caught(self, instance: JsonValue) -> None:
        """What the mask accepts though it is invalid must be told as residual."""
        if self.residual is None:
            raise Counterexample("the mask accepts an invalid instance", self.value, instance)


def _stands(residual: ResidualChecks, text: str) -> bool:
    """Whether the residual checks let a value pass while it is written."""
    parser, follower = JsonValueParser(), residual.follow()
    parser.feed(text)
    parser.finish()
    return all(follower.close(path, part) for path, part in parser.closed_events)


def plain_judge(value: Any) -> Validator:
    """Jsonschema's own validator, its patterns those of `re` that say the same.

    Corrected are only steps, for jsonschema divides doubles, and what draft 2019-09 leaves
    unevaluated, where it forgets `additionalProperties` and fails on booleans.
    """
    schema = JsonSchema.trusted(value)
    corrected = {"multipleOf": _multiple_of}
    if schema.dialect.name == "2019-09":
        ours = validator_class(schema.dialect).VALIDATORS
        corrected |= {keyword: ours[keyword] for keyword in ours if "unevaluated" in keyword}
    kind = extend(schema.dialect.validator_class, corrected)  # type: ignore[no-untyped-call]
    checker = format_checker(schema.dialect)
    made: Validator = kind(_in_python(value), format_checker=checker)
    return made


def _in_python(value: Any) -> Any:
    """A schema of `random_schema` with patterns as `re` has them."""
    if isinstance(value, list):
        return [_in_python(one) for one in value]
    if not isinstance(value, dict):
        return value
    made: dict[str, Any] = {}
    for key, one in value.items():
        if key == "pattern" and isinstance(one, str):
            made[key] = PATTERNS[one]
        elif key == "patternProperties":
            made[key] = {PATTERNS[name]: _in_python(schema) for name, schema in one.items()}
        else:
            made[key] = _in_python(one)
    return made


def _multiple_of(_v: Any, step: float, instance: Any, _s: Any) -> Iterable[ValidationError]:
    number = isinstance(instance, int | float) and not isinstance(instance, bool)
    if number and (Fraction(repr(instance)) / Fraction(repr(step))).denominator != 1:
        yield ValidationError("not a multiple")
