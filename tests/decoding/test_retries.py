"""Values that cannot stand are tried again: exact rewinds, other values, and an end in any case."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gemma_structured.decoding.draft import PromptLookup
from gemma_structured.decoding.loop import DecodeLoop
from gemma_structured.decoding.prefix import PrefixStore
from gemma_structured.decoding.retries import MAX_REWINDS
from gemma_structured.decoding.session import TransformersSession
from gemma_structured.exceptions import OutputValidationError
from gemma_structured.grammar.spec import Grammar
from gemma_structured.parsing.checked import Fault, JsonChecker
from gemma_structured.parsing.validate import validate
from gemma_structured.schema.bounds import Bounds
from gemma_structured.schema.json_schema import JsonSchema
from gemma_structured.schema.output_type import OutputType
from gemma_structured.schema.residual import ResidualChecks
from gemma_structured.testing.random_session import RandomSession
from gemma_structured.types import SamplingParams

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from transformers import PreTrainedModel

    from gemma_structured.decoding.sequence import TokenSequence
    from gemma_structured.decoding.session import Row, Session
    from gemma_structured.grammar.vocabulary import Vocabulary

    Make = Callable[..., TokenSequence]

TIGHT = Bounds(string_length=6, items=4, properties=3, key_length=4, integer_digits=1)
DIGIT = {"type": "integer", "minimum": 0, "maximum": 9}
SMALL = {"type": "integer", "minimum": 0, "maximum": 3}
LETTERS = list("abcdefghijklmnopqrstuvwxyz")
LONG = "The quick brown fox jumps over the lazy dog. " * 3
"""A prompt beyond the sliding window."""

SCHEMAS: dict[str, Any] = {
    "unique numbers": {"type": "array", "items": DIGIT, "uniqueItems": True, "minItems": 4},
    "unique letters": {"type": "array", "items": {"enum": LETTERS}, "uniqueItems": True}
    | {"minItems": 18, "maxItems": 20},
    "unique objects": {
        "type": "array",
        "uniqueItems": True,
        "minItems": 3,
        "items": {"type": "object", "properties": {"a": SMALL}, "required": ["a"]}
        | {"additionalProperties": False},
    },
    "contains": {"type": "array", "items": DIGIT, "minItems": 2}
    | {"contains": {"type": "integer", "multipleOf": 3}, "minContains": 2},
    "oneOf": {"oneOf": [{"type": "integer"}, {"type": "number", "multipleOf": 1.5}]},
    "not": {
        "type": "object",
        "properties": {"a": SMALL, "b": SMALL},
        "required": ["a", "b"],
        "additionalProperties": False,
        "not": {"properties": {"a": {"multipleOf": 2}, "b": {"minimum": 1}}},
    },
    "format": {"type": "array", "items": {"type": "string", "format": "regex", "minLength": 3}}
    | {"minItems": 3},
    "in a union": {
        "anyOf": [
            {"type": "null"},
            {
                "type": "object",
                "properties": {
                    "x": {"type": "array", "items": DIGIT, "uniqueItems": True, "minItems": 4}
                },
                "required": ["x"],
                "additionalProperties": False,
            },
        ]
    },
}


@pytest.fixture
def checked(sequence_for: Make) -> Make:
    """Makes a sequence that answers to a schema, with or without its residual checks."""

    def make(schema: Any, prompt: Any = "prompt", *, checks: bool = True, **options: Any) -> Any:
        output_type = OutputType.of(JsonSchema(schema))
        grammar, report = Grammar.for_output_type(output_type, TIGHT)
        found = ResidualChecks.of(JsonSchema(schema), report.residual)
        checker = JsonChecker(found) if checks and found is not None else None
        return sequence_for(grammar, prompt, checker=checker, **options)

    return make


def loop_on(session: Session, **options: Any) -> DecodeLoop:
    return DecodeLoop(session, PrefixStore(0), **options)


def decode(loop: DecodeLoop, sequences: Sequence[TokenSequence]) -> list[str]:
    """Decode together; what is streamed must be the text."""
    streamed = ["" for _ in sequences]
    for sequence in sequences:
        loop.start(sequence)
    while running := [s for s in sequences if not s.finished]:
        loop.step(running)
        for n, sequence in enumerate(sequences):
            streamed[n] += sequence.take_text()
            assert sequence.text.startswith(streamed[n])
    for n, sequence in enumerate(sequences):
        loop.end(sequence)
        if sequence.error is not None:
            raise sequence.error
        assert streamed[n] + sequence.take_text() == sequence.text
    return [sequence.text for sequence in sequences]


def outcome(schema: Any, sequence: TokenSequence) -> str:
    if sequence.finish_reason != "stop":
        return str(sequence.finish_reason)
    try:
        validate(OutputType.of(JsonSchema(schema)), sequence.text)
    except OutputValidationError:
        return "invalid"
    return "valid"


@pytest.mark.parametrize("temperature", [0.0, 1.5])
@pytest.mark.parametrize("name", SCHEMAS)
def test_answers_validate_that_would_not(name: str, temperature: float, checked: Make) -> None:
    """With random logits, nearly every answer is valid at once; without the checks, many are not."""
    counts: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}
    for seed in range(40):
        for checks, counted in counts.items():
            session = RandomSession(261, seed=seed, spread=3)
            sampling = SamplingParams(temperature=temperature, seed=seed)
            sequence = checked(SCHEMAS[name], checks=checks, sampling=sampling, max_tokens=600)
            decode(loop_on(session), [sequence])
            counted[outcome(SCHEMAS[name], sequence)] += 1
            assert checks or sequence.usage.rewound_tokens == 0
    assert counts[False]["invalid"] >= 6
    assert counts[True]["valid"] >= (28 if name == "format" else 40), counts


def test_a_longer_value_with_the_same_start_stays_possible(checked: Make) -> None:
    """Only the path is excluded that completes the same value."""
    schema = {
        "type": "array",
        "items": {"type": "string", "pattern": "^a{1,3}$"},
        "uniqueItems": True,
        "minItems": 3,
        "maxItems": 3,
    }
    sequence = checked(schema)
    decode(loop_on(RandomSession(261)), [sequence])
    assert sorted(eval(sequence.text)) == ["a", "aa", "aaa"]


class Preferring(RandomSession):
    """A session that likes to write one text after every other."""

    def __init__(self, likes: dict[str, dict[str, float]]) -> None:
        super().__init__(261)
        self.likes = {
            before: {ord(char) + 5: weight for char, weight in after.items()}
            for before, after in likes.items()
        }

    def _logits(self, tokens: Sequence[int]) -> Any:
        logits = np.full(self.vocab_size, -20.0, dtype=np.float32)
        written = "".join(chr(token - 5) for token in tokens if token >= 5)
        for before, after in self.likes.items():
            if written.endswith(before):
                for token, weight in after.items():
                    logits[token] = weight
        return logits


def test_greedy_decoding_takes_the_next_best_value(checked: Make) -> None:
    """A value that must not be repeated gives way to another one, not to itself with a tail."""
    schema = {"type": "array", "items": {"type": "string", "pattern": "^[a-z]+$"}}
    schema |= {"uniqueItems": True, "minItems": 2, "maxItems": 2}
    likes = {
        '"': {"r": 3.0, "b": 2.0},
        "r": {"e": 9.0},
        "re": {"d": 9.0},
        "red": {'"': 9.0, "d": 2.0},
        "b": {"l": 9.0},
        "bl": {"u": 9.0},
        "blu": {'"': 9.0, "e": 2.0},
    }
    sequence = checked(schema)
    assert decode(loop_on(Preferring(likes)), [sequence]) == ['["red","blu"]']
    assert sequence.usage.rewound_tokens == len('red"]')


def test_all_that_must_differ_is_excluded_at_once(checked: Make) -> None:
    """A model that likes the same items in the same order is taken back once an item, not each time."""
    schema = {"type": "array", "items": {"enum": LETTERS}, "uniqueItems": True}
    schema |= {"minItems": 12, "maxItems": 12}
    likes = {char: float(40 - n) for n, char in enumerate(LETTERS)}
    session = Preferring({'["': likes, ',"': likes})
    sequence = checked(schema, max_tokens=2000)
    assert decode(loop_on(session), [sequence]) == [
        f"[{','.join(map(repr, LETTERS[:12]))}]".replace("'", '"')
    ]
    assert sequence.usage.rewound_tokens <= 11 * len('a","')


def test_where_no_value_is_left_the_one_before_ends(checked: Make) -> None:
    """A path that leads nowhere is excluded as a whole: the comma after the last possible item."""
    schema = {"type": "array", "items": {"enum": LETTERS}, "uniqueItems": True, "maxItems": 30}
    likes = {char: {",": 5.0, "]": 1.0} for char in [*LETTERS, '"']}
    session = Preferring({**likes, "[": {'"': 1.0}, ',"': dict.fromkeys(LETTERS, 1.0)})
    sequence = checked(schema, max_tokens=2000)
    (text,) = decode(loop_on(session), [sequence])
    assert outcome(schema, sequence) == "valid"
    assert text.count(",") >= 20


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("name", ["gemma4", "mixtral_sliding", "afmoe", "deepseek_v3"])
def test_models_are_rewound_exactly(
    name: str,
    temperature: float,
    model_for_law: Callable[[str], PreTrainedModel],
    bytes_vocabulary: Vocabulary,
    checked: Make,
) -> None:
    """Alone, in a batch, in chunks, with drafts: the same answers, all of them valid."""
    model = model_for_law(name)
    schema, prompts = SCHEMAS["unique letters"], [LONG, "a", LONG[:30]]

    def sequences(**options: Any) -> list[TokenSequence]:
        return [
            checked(
                schema,
                prompt,
                sampling=SamplingParams(temperature=temperature, seed=seed),
                max_tokens=400,
                **options,
            )
            for seed, prompt in enumerate(prompts)
        ]

    alone = [
        decode(loop_on(TransformersSession(model, 1000)), [sequence])[0] for sequence in sequences()
    ]
    together = sequences()
    assert decode(loop_on(TransformersSession(model, 1000), prefill_chunk=9), together) == alone
    assert [outcome(schema, sequence) for sequence in together] == ["valid"] * 3
    assert sum(sequence.usage.rewound_tokens for sequence in together) > 0
    for sequence, text in zip(sequences(), alone, strict=True):
        sequence.drafts = PromptLookup(text[:30] + LONG, bytes_vocabulary.encode)
        assert decode(loop_on(TransformersSession(model, 1000)), [sequence]) == [text]
        assert sequence.usage.drafted_tokens > 0


def test_the_row_holds_what_the_answer_is(checked: Make) -> None:
    """After each step the cache has the prompt and the answer's tokens that are not pending."""
    session = RandomSession(261, seed=1)
    loop = loop_on(session)
    sequence = checked(SCHEMAS["unique letters"], max_tokens=400)
    loop.start(sequence)
    while not sequence.finished:
        loop.step([sequence])
        if not sequence.finished:
            tokens = [*sequence.prompt_ids, *sequence.output_ids]
            assert sequence.row is not None
            assert session.rows[sequence.row] == tokens[: sequence.row_length]
    usage = sequence.usage
    assert usage.completion_tokens == len(sequence.output_ids)
    assert usage.rewound_tokens > 0


class Forgetful(RandomSession):
    """A session that can take back few tokens."""

    def __init__(self, horizon: int, **options: Any) -> None:
        super().__init__(261, **options)
        self.horizon = horizon

    def rewindable(self, row: Row) -> int:
        return min(self.horizon, super().rewindable(row))

    def rewind(self, row: Row, count: int) -> None:
        if count > self.rewindable(row):
            raise ValueError("too many")
        super().rewind(row, count)


@pytest.mark.parametrize("horizon", [0, 1, 3])
def test_a_cache_is_taken_back_no_further_than_it_can_be(horizon: int, checked: Make) -> None:
    """What is out of reach stays; a value is tried again from as near its start as can be."""
    ended: Counter[str] = Counter()
    for seed in range(20):
        for name in ("unique numbers", "unique objects", "not"):
            sequence = checked(SCHEMAS[name], sampling=SamplingParams(temperature=1.0, seed=seed))
            decode(loop_on(Forgetful(horizon, seed=seed)), [sequence])
            ended[outcome(SCHEMAS[name], sequence)] += 1
    assert set(ended) <= {"valid", "invalid"}
    assert ended["valid"] >= 45


class Refusing:
    """A checker that nothing satisfies."""

    def __init__(self, *, at_end: bool = False) -> None:
        self.pieces = 0
        self.at_end = at_end
        self.rewinds = 0

    def read(self, piece: str) -> Fault | None:
        self.pieces += 1
        return Fault(0, 0) if self.pieces > 3 and not self.at_end else None

    def finish(self) -> Fault | None:
        return Fault(0, 0) if self.at_end else None

    def rewind(self, count: int) -> None:
        self.pieces = count
        self.rewinds += 1

    @property
    def settled(self) -> int:
        return 0


@pytest.mark.parametrize("at_end", [False, True])
def test_what_nothing_satisfies_ends(at_end: bool, sequence_for: Make) -> None:
    """After so many rewinds the answer goes on as it is; all of its text comes."""
    checker = Refusing(at_end=at_end)
    grammar = Grammar.regex("[ab]{10}|[ab]{12}")
    sequence = sequence_for(grammar, checker=checker, max_tokens=500)
    started = time.process_time()
    (text,) = decode(loop_on(RandomSession(261)), [sequence])
    assert time.process_time() - started < 5
    assert len(text) in {10, 12}
    assert 0 < checker.rewinds <= MAX_REWINDS
    assert 0 < sequence.usage.rewound_tokens <= 500


def test_no_more_is_taken_back_than_the_answer_may_have(sequence_for: Make) -> None:
    """Rewound tokens have a budget: as many as the answer's."""
    sequence = sequence_for(Grammar.regex("[ab]{10}"), checker=Refusing(at_end=True), max_tokens=35)
    decode(loop_on(RandomSession(261)), [sequence])
    assert sequence.usage.rewound_tokens <= 35
    assert sequence.finish_reason == "stop"


def test_an_answer_without_a_choice_cannot_be_tried_again(sequence_for: Make) -> None:
    """What the grammar leaves no other way to write is left to validation."""
    sequence = sequence_for(Grammar.choice(["only this"]), checker=Refusing(at_end=True))
    assert (sequence.text, sequence.finish_reason) == ("only this", "stop")
    assert sequence.usage.rewound_tokens == 0


def test_the_end_can_be_taken_back(checked: Make, bytes_vocabulary: Vocabulary) -> None:
    """A number that must not stand goes on, or gives way to another one."""
    schema = {"oneOf": [{"type": "integer", "minimum": 0, "maximum": 99}, {"multipleOf": 1.5}]}
    sequence = checked(schema)
    sequence.take(99)
    for char in "12":
        assert sequence.accept(bytes_vocabulary.encode(char)[0])
    if not sequence.finished:
        sequence.allowed_ids()
        assert not sequence.accept(bytes_vocabulary.end_ids[0])
    assert sequence.text == ""
    assert sequence.usage.rewound_tokens == 2
    assert not sequence.finished
