"""Each limit on a grammar is said by name, and raised the way that the error says."""

from __future__ import annotations

import json
import re
from dataclasses import fields

import pytest

from gemma_structured.exceptions import GrammarError, InputError, SchemaError
from gemma_structured.grammar import bitmask
from gemma_structured.grammar.llguidance import LLGuidanceBackend, LLGuidanceLimits
from gemma_structured.grammar.spec import Grammar
from gemma_structured.schema.bounds import DEFAULT_BOUNDS
from gemma_structured.schema.json_schema import JsonSchema
from gemma_structured.schema.output_type import OutputType
from gemma_structured.schema.terms import Lark


def schema(value) -> Grammar:
    return Grammar.json_schema(JsonSchema.trusted(value))


LETTERS = [chr(97 + i) for i in range(20)]
MANY_OPTIONAL = schema(
    {"type": "object", "properties": {f"p{i}": {"type": "string"} for i in range(300)}}
)
PATTERNS = {"allOf": [{"type": "string", "pattern": f"^[^{x.upper()}]*$"} for x in LETTERS]}
EXPONENTIAL = schema({"type": "string", "pattern": "^(a|b)*a(a|b){1000}$"})
CASES = {
    "max_items_in_row": (100, MANY_OPTIONAL, '{"p7'),
    "step_max_items": (100, MANY_OPTIONAL, '{"p7'),
    "initial_lexer_fuel": (100, EXPONENTIAL, '"ab'),
    "step_lexer_fuel": (500, EXPONENTIAL, '"' + "abbab" * 40),
    "max_lexer_states": (20, EXPONENTIAL, '"' + "abbab" * 40),
    "max_grammar_size": (
        500,
        Grammar.lark(
            f"start: {' '.join(f'r{i}' for i in range(500))}\n"
            + "\n".join(f'r{i}: "a"? "b"' for i in range(500))
        ),
        "bab",
    ),
    "max_patterns": (12, schema(PATTERNS), '"abc"'),
    "max_pattern_properties": (
        200,
        schema({"type": "object", "patternProperties": {f"^{i}_": {} for i in range(201)}}),
        '{"7_":1}',
    ),
    "max_intersections": (
        12,
        Grammar.lark("start: T\nT: " + " & ".join(f"/[^{x.upper()}]*/" for x in LETTERS)),
        "abc",
    ),
    "max_forced_tokens": (1000, Grammar.lark(f'start: "{"x" * 2000}" /[ab]/'), "x" * 2000 + "a"),
}
"""Of each limit: a value that its grammar passes, and a text of that grammar."""


def write(backend: LLGuidanceBackend, grammar: Grammar, vocabulary, text: str) -> None:
    """Compile a grammar, and write a text with a mask and a look for forced tokens at each token."""
    matcher = backend.compile(grammar, vocabulary).matcher()
    row = bitmask.allocate_row(vocabulary.size)
    for token_id in vocabulary.encode(text):
        matcher.fill_bitmask(row)
        matcher.forced_tokens()
        matcher.accept([token_id])


def test_every_limit_has_a_case() -> None:
    """No limit is without a grammar that passes it."""
    assert {field.name for field in fields(LLGuidanceLimits)} == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_a_limit_is_told_and_raised_as_the_hint_says(byte_vocabulary, name: str) -> None:
    """The error names the limit and its value; doing what the hint says makes the grammar usable."""
    limit, grammar, text = CASES[name]
    for _ in range(15):
        backend = LLGuidanceBackend(limits=LLGuidanceLimits(**{name: limit}))
        with pytest.raises(GrammarError, match=rf"the limit {name} of {limit:,}\.") as caught:
            write(backend, grammar, byte_vocabulary, text)
        assert len(str(caught.value)) < 500
        told = re.search(r"LLGuidanceLimits\((\w+)=(\d+)\)", str(caught.value.hint))
        assert told is not None
        assert told[1] == name
        limit = int(told[2])
        try:
            write(
                LLGuidanceBackend(limits=LLGuidanceLimits(**{name: limit})),
                grammar,
                byte_vocabulary,
                text,
            )
        except GrammarError:
            continue
        return
    pytest.fail("the limit was raised as told, again and again, and it is still passed")


@pytest.mark.parametrize("name", CASES)
def test_a_limit_is_a_positive_whole_number(name: str) -> None:
    """Anything else is refused at once, and named."""
    for value in (0, -1, 1.5, True, None, "9", 2**31, float("inf")):
        with pytest.raises(InputError, match=name):
            LLGuidanceLimits(**{name: value})


@pytest.mark.parametrize(
    ("grammar", "advice"),
    [
        (
            schema(
                {
                    "anyOf": [
                        {"type": "object", "properties": {f"k{i}": {"type": "string"}}}
                        for i in range(20_000)
                    ]
                }
            ),
            "no option raises: divide",
        ),
        (
            schema(json.loads('{"type":"array","items":' * 130 + '{"type":"null"}' + "}" * 130)),
            "no option raises: define deep parts",
        ),
    ],
    ids=["size", "nesting"],
)
def test_what_cannot_be_raised_is_told_too(llguidance, byte_vocabulary, grammar, advice) -> None:
    """The engine has bounds of its own: the error says so, and what to do instead."""
    with pytest.raises(GrammarError, match=advice):
        llguidance.compile(grammar, byte_vocabulary)


def test_a_failure_in_the_middle_is_told(byte_vocabulary) -> None:
    """A limit that is only passed while matching raises there, by name, and is never silent."""
    backend = LLGuidanceBackend(limits=LLGuidanceLimits(max_items_in_row=100))
    rules = [f"r{i}" for i in range(300)]
    many = "\n".join(f'{rule}: "{chr(97 + n % 26)}"?' for n, rule in enumerate(rules))
    grammar = Grammar.lark(f"start: /[xy]/ /[zw]/ /[xy]/ {' '.join(rules)}\n{many}")
    matcher = backend.compile(grammar, byte_vocabulary).matcher()
    row = bitmask.allocate_row(byte_vocabulary.size)
    matcher.fill_bitmask(row)
    for call in (
        lambda: matcher.accept(byte_vocabulary.encode("xzx")),
        lambda: matcher.fill_bitmask(row),
    ):
        with pytest.raises(GrammarError, match="max_items_in_row"):
            call()


@pytest.mark.parametrize(
    "grammar",
    [
        "start: answer\nanswer: %json " + json.dumps(PATTERNS),
        "start: answer\nanswer: %lark {\nstart: %json " + json.dumps(PATTERNS) + "\n}",
    ],
)
def test_schemas_inside_a_grammar_are_looked_at(llguidance, byte_vocabulary, grammar) -> None:
    """A family puts the schema into the grammar of a whole turn: the limits hold there too."""
    with pytest.raises(GrammarError, match="max_patterns"):
        llguidance.compile(Grammar.lark(grammar), byte_vocabulary)
    raised = LLGuidanceBackend(limits=LLGuidanceLimits(max_patterns=20))
    write(raised, Grammar.lark(grammar), byte_vocabulary, '"abc"')


@pytest.mark.parametrize(
    "terminals",
    [
        "".join(f"T{i}: ~/.*{x}.*/ & T{i + 1}\n" for i, x in enumerate(LETTERS)) + "T20: /.+/",
        "T0: A & B\nA: " + " & ".join(f"~/.*{x}.*/" for x in LETTERS[:10]) + "\n"
        "B: C | D\nC: /.*/ & /x/\nD: " + " & ".join(f"~/.*{x}.*/" for x in LETTERS[10:]),
    ],
)
def test_intersections_are_counted_through_names(llguidance, byte_vocabulary, terminals) -> None:
    """Terminals that are made of each other cost as much as if they were written as one."""
    with pytest.raises(GrammarError, match="max_intersections"):
        llguidance.compile(Grammar.lark("start: T0\n" + terminals), byte_vocabulary)


@pytest.mark.parametrize("name", ["max_intersections", "max_patterns", "max_pattern_properties"])
def test_a_lark_of_one_s_own_is_raised_as_the_hint_says(byte_vocabulary, name: str) -> None:
    """A term refuses what a backend refuses, and with the same limits both take it."""
    _, grammar, text = CASES[name]
    lark = grammar.source if grammar.kind == "lark" else f"start: %json {grammar.source}"
    with pytest.raises(SchemaError, match=f"the limit {name}") as caught:
        Lark(lark)
    told = re.search(r"LLGuidanceLimits\((\w+)=(\d+)\)", str(caught.value.hint))
    assert told is not None
    assert "a gs.Lark takes the same limits" in str(caught.value.hint)
    limits = LLGuidanceLimits(**{told[1]: int(told[2])})
    term = Lark(lark, limits=limits)
    assert term.matches(text)
    made, _ = Grammar.for_output_type(OutputType.of(term), DEFAULT_BOUNDS)
    write(LLGuidanceBackend(limits=limits), made, byte_vocabulary, text)


def test_an_ampersand_in_a_text_intersects_nothing(llguidance, byte_vocabulary) -> None:
    """Nor does one in a regular expression, a comment, or a schema."""
    signs = "&" * 20
    grammar = f"""
        start: "{signs}\\"{signs}" /\\/{signs}/ T U answer  // {signs}
        T: /a/ & /[ab]/
        answer: %json {{"const": "{signs}"}}
        U: "{signs}"
    """
    text = f'{signs}"{signs}/{signs}a{signs}"{signs}"'
    write(llguidance, Grammar.lark(grammar), byte_vocabulary, text)
