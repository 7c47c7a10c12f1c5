"""Hostile grammars end in a result or a typed error, in bounded time and memory."""

from __future__ import annotations

import hashlib
import random
import resource
import time

import pytest

from gemma_structured.exceptions import GrammarError, SchemaError
from gemma_structured.grammar import bitmask
from gemma_structured.grammar.spec import Grammar
from gemma_structured.schema.bounds import DEFAULT_BOUNDS
from gemma_structured.schema.json_schema import JsonSchema
from gemma_structured.schema.output_type import OutputType

SECONDS = 20
MEBIBYTES = 1500


def closed(properties, required=None) -> dict:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties) if required is None else required,
        "additionalProperties": False,
    }


def nested(levels: int) -> dict:
    schema: dict = {"type": "string"}
    for _ in range(levels):
        schema = closed({"a": schema})
    return schema


def nested_arrays(levels: int) -> dict:
    schema: dict = {"type": "integer"}
    for _ in range(levels):
        schema = {"type": "array", "items": schema, "maxItems": 2}
    return schema


MANY = {f"property_{i}": {"type": ["string", "integer", "boolean"][i % 3]} for i in range(2000)}
DIGESTS = [hashlib.md5(str(i).encode()).hexdigest() for i in range(10_000)]
USABLE = {
    "2,000 required properties": closed(MANY),
    "2,000 optional properties": closed(MANY, required=[]),
    "10,000 enum members": {"enum": DIGESTS},
    "60 levels of objects": nested(60),
    "60 levels of arrays": nested_arrays(60),
    "a union of 2,000 objects": {
        "anyOf": [
            closed({"kind": {"const": f"k{i}"}, "v": {"type": "string"}}) for i in range(2000)
        ]
    },
    "a union of 2,000 open objects": {
        "anyOf": [
            {"type": "object", "properties": {f"k{i}": {"type": "null"}}} for i in range(2000)
        ]
    },
    "a catastrophic pattern": {"type": "string", "pattern": "^(a+)+$"},
    "a long repetition": {"type": "string", "pattern": "^.{0,100000}$"},
    "nested repetitions": {
        "type": "string",
        "pattern": "^((((a{0,100}){0,100}){0,100}){0,100}){0,100}$",
    },
    "an exponential automaton": {"type": "string", "pattern": "^(a|b)*a(a|b){1000}$"},
    "a huge array": {
        "type": "array",
        "items": {"type": "string"},
        "minItems": 10_000,
        "maxItems": 10**6,
    },
    "a doubling of references": {
        "$ref": "#/$defs/d0",
        "$defs": {
            **{f"d{i}": {"allOf": [{"$ref": f"#/$defs/d{i + 1}"}] * 2} for i in range(30)},
            "d30": {"type": "string"},
        },
    },
}
REFUSED = {
    "26 patterns at once": {
        "allOf": [{"type": "string", "pattern": f".*{chr(97 + i)}.*"} for i in range(26)]
    },
    "500 patternProperties": {
        "type": "object",
        "patternProperties": {f"^{i}_": {"type": "string"} for i in range(500)},
    },
    "a product of 4^12 objects": {
        "allOf": [
            {"anyOf": [{"type": "object", "required": [f"k{i}_{j}"]} for j in range(4)]}
            for i in range(12)
        ]
    },
    "a type without a finite value": {
        "$ref": "#/$defs/n",
        "$defs": {"n": closed({"next": {"$ref": "#/$defs/n"}})},
    },
    "900 levels of objects": nested(450),
    "a chain of 2,000 references": {
        "$ref": "#/$defs/d0",
        "$defs": {f"d{i}": {"$ref": f"#/$defs/d{i + 1}"} for i in range(2000)}
        | {"d2000": {"type": "null"}},
    },
}


@pytest.fixture(autouse=True)
def bounded():
    """Fails a test that takes too long or too much memory, whatever it ends in."""
    start, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert time.process_time() - start < SECONDS
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < MEBIBYTES


def raw(schema) -> Grammar:
    return Grammar.json_schema(JsonSchema.trusted(schema))


def walk(compiled, vocabulary, steps: int = 60) -> str:
    """Write a text at random."""
    matcher, rng = compiled.matcher(), random.Random(0)
    row, written = bitmask.allocate_row(vocabulary.size), []
    while len(written) < steps and not matcher.is_finished:
        forced = matcher.forced_tokens()
        matcher.accept(forced)
        written += forced
        if matcher.is_finished:
            break
        matcher.fill_bitmask(row)
        bitmask.forbid(row, vocabulary.end_ids)
        ids = bitmask.allowed_ids(row, vocabulary.size).tolist()
        if not ids:
            break
        written.append(rng.choice(ids))
        matcher.accept(written[-1:])
    return vocabulary.decode(written)


@pytest.mark.parametrize("name", USABLE)
def test_large_schemas_are_usable(llguidance, gemma_vocabulary, name: str) -> None:
    """They compile as they are, and texts can be written, over 262,144 tokens."""
    assert walk(llguidance.compile(raw(USABLE[name]), gemma_vocabulary), gemma_vocabulary)


@pytest.mark.parametrize("name", [*USABLE, *REFUSED])
def test_large_schemas_pass_the_whole_way(llguidance, byte_vocabulary, name: str) -> None:
    """Bounded and normalised too, they end in a text or in a typed error."""
    schema = {**USABLE, **REFUSED}[name]
    try:
        grammar, _ = Grammar.for_output_type(OutputType.of(JsonSchema(schema)), DEFAULT_BOUNDS)
        compiled = llguidance.compile(grammar, byte_vocabulary)
    except (GrammarError, SchemaError) as error:
        refusal = error
    else:
        assert walk(compiled, byte_vocabulary)
        return
    assert name in REFUSED or name == "a huge array", refusal
    assert len(str(refusal)) < 2000  # the path of a deep place is long itself


@pytest.mark.parametrize("name", REFUSED)
def test_schemas_past_the_limits_are_refused(llguidance, byte_vocabulary, name: str) -> None:
    """What could take minutes raises when it is compiled; the error is short and says what to do."""
    with pytest.raises(GrammarError) as caught:
        llguidance.compile(raw(REFUSED[name]), byte_vocabulary)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("grammar", "usable"),
    [
        (Grammar.choice(DIGESTS), True),
        (Grammar.choice([f"member number {i}" for i in range(10_000)]), True),
        (Grammar.choice(["x" * 100_000 + str(i) for i in range(20)]), True),
        (Grammar.regex("(a+)+$"), True),
        (Grammar.regex(".{0,100000}"), True),
        (Grammar.regex("|".join(DIGESTS)), True),
        (Grammar.regex("(" * 500 + "a" + ")" * 500), False),
        (Grammar.regex("a{2000000}"), False),
        (Grammar.regex(r"(?=.*a.{20})(?=.*b.{20})(?=.*c.{20}).*"), False),
        (
            Grammar.lark("start: T\nT: " + " & ".join(f"/.*{chr(97 + i)}.*/" for i in range(26))),
            False,
        ),
        (
            Grammar.lark(
                "start: "
                + " ".join(f"r{i}" for i in range(500))
                + "\n"
                + "\n".join(f'r{i}: "a"?' for i in range(500))
            ),
            True,
        ),
        (Grammar.lark('start: ("a" | "b"){0,100000}'), True),
        (Grammar.lark('start: s\ns: s s | "a" | "b"'), True),
    ],
    ids=lambda value: value.source[:30] if isinstance(value, Grammar) else None,
)
def test_large_texts(llguidance, byte_vocabulary, grammar: Grammar, usable: bool) -> None:
    """Choices, patterns and Lark grammars that are large or catastrophic, too."""
    if usable:
        assert walk(llguidance.compile(grammar, byte_vocabulary), byte_vocabulary)
    else:
        with pytest.raises(GrammarError):
            llguidance.compile(grammar, byte_vocabulary)


@pytest.mark.parametrize("name", [*USABLE, *REFUSED])
def test_the_second_backend_is_bounded_too(outlines_core, gemma_vocabulary, name: str) -> None:
    """outlines-core compiles it or refuses it, but never runs for minutes."""
    try:
        compiled = outlines_core.compile(raw({**USABLE, **REFUSED}[name]), gemma_vocabulary)
    except GrammarError as error:
        refusal = str(error)
    else:
        assert walk(compiled, gemma_vocabulary)
        return
    assert "llguidance" in refusal
