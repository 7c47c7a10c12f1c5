"""Tests of what the second backend takes on: only what it enforces exactly."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemma_structured.exceptions import GrammarError
from gemma_structured.grammar.spec import Grammar
from gemma_structured.schema.json_schema import JsonSchema
from gemma_structured.testing.grammar_cases import schema_case
from gemma_structured.testing.grammar_conformance import check_backend


def schema(**keywords: object) -> Grammar:
    return Grammar(kind="json_schema", source=json.dumps(keywords))


def closed(properties: dict, required: list[str]) -> dict:
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


@pytest.mark.parametrize(
    ("keywords", "told"),
    [
        ({"type": "integer", "minimum": 0}, "minimum"),
        ({"type": "number", "multipleOf": 0.5}, "multipleOf"),
        ({"type": "string", "format": "date"}, "format"),
        ({"type": "string", "pattern": "a"}, "pattern"),
        ({"type": "object", "properties": {}}, "an open object"),
        (closed({"a": {"type": "null"}}, ["b"]), "required"),
        (closed({'a"b': {"type": "null"}}, []), "escaped"),
        (closed({"a": {"type": "null"}}, []) | {"minProperties": 1}, "minProperties"),
        ({"type": "array", "items": {"type": "null"}, "uniqueItems": True}, "uniqueItems"),
        ({"type": "array"}, "boolean schema"),
        ({"allOf": [{"type": "null"}]}, "without one `type`"),
        ({"oneOf": [{"type": "null"}]}, "without one `type`"),
        ({"anyOf": [{"type": "null"}], "type": "null"}, "anyOf"),
        ({"type": ["null", "string"]}, "without one `type`"),
        ({}, "without one `type`"),
        ({"enum": [1, 2]}, "enum"),
        ({"type": "string", "enum": ["a", None]}, "enum"),
        ({"enum": ["a"], "maxLength": 1}, "enum"),
        ({"const": {"a": 1}}, "enum"),
        ({"$ref": "#/properties/a", "properties": {"a": {"type": "null"}}}, r"\(root\)"),
        ({"$ref": "#/$defs/a/b", "$defs": {"a": {"b": {}}}}, "other places"),
        (
            {"$ref": "#/$defs/a", "$defs": {"a": closed({"a": {"$ref": "#/$defs/a"}}, [])}},
            "recursive",
        ),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}, "recursive"),
        ({"$ref": "#/$defs/b", "$defs": {}}, "boolean schema"),
        ({"type": "array", "items": {"type": "integer", "maximum": 3}}, "/items.*maximum"),
    ],
)
def test_what_it_would_get_wrong_is_refused(outlines_core, byte_vocabulary, keywords, told) -> None:
    """A keyword that outlines-core ignores is named with its place, and llguidance is pointed to."""
    grammar = schema(**keywords)
    assert not outlines_core.supports(grammar)
    with pytest.raises(GrammarError, match=f"(?s){told}.*llguidance"):
        outlines_core.compile(grammar, byte_vocabulary)


def test_lark_and_large_choices_are_refused(outlines_core, byte_vocabulary) -> None:
    """It has no Lark grammars, and no index over thousands of options."""
    for grammar in (Grammar.lark('start: "a"'), Grammar.choice(map(str, range(5000)))):
        assert not outlines_core.supports(grammar)
        with pytest.raises(GrammarError, match="llguidance"):
            outlines_core.compile(grammar, byte_vocabulary)


def test_the_size_of_an_index_is_bounded(outlines_core, byte_vocabulary, gemma_vocabulary) -> None:
    """What is small over 300 tokens may be too large over 262,144; both numbers are told."""
    grammar = Grammar.regex("[a-z]{1,300}")
    outlines_core.compile(grammar, byte_vocabulary)
    with pytest.raises(GrammarError, match=r"301 states .* at most 152"):
        outlines_core.compile(grammar, gemma_vocabulary)
    with pytest.raises(GrammarError, match="too large"):
        outlines_core.compile(Grammar.regex("(a|b)*a(a|b){30}"), byte_vocabulary)


def test_texts_that_go_on_after_a_whole_text_are_kept(outlines_core, byte_vocabulary) -> None:
    """outlines-core alone loses `red` behind `re`, and the fraction behind `1`: not here."""
    for grammar, texts in [
        (Grammar.choice(["re", "red"]), ["re", "red"]),
        (Grammar.regex(r"[0-9]+(\.[0-9]+)?"), ["1", "1.5"]),
        (Grammar.regex("a|ab|abc"), ["a", "ab", "abc"]),
        (Grammar.regex("a*?b??"), ["", "a", "aab", "b"]),
    ]:
        for text in texts:
            matcher = outlines_core.compile(grammar, byte_vocabulary).matcher()
            matcher.accept(byte_vocabulary.encode(text))
            assert matcher.is_accepting


SCHEMAS = st.recursive(
    st.sampled_from(
        [
            {"type": "null"},
            {"type": "boolean"},
            {"type": "integer"},
            {"type": "number"},
            {"type": "string", "maxLength": 2},
            {"type": "string", "minLength": 1},
            {"enum": ["a", 'b"\n.', None, True]},
            {"const": "x|y"},
            {"type": "string", "enum": ["é", "e"], "title": "T"},
        ]
    ),
    lambda inner: st.one_of(
        st.builds(
            lambda items, least, more: {
                "type": "array",
                "items": items,
                "minItems": least,
                "maxItems": least + more,
            },
            inner,
            st.integers(0, 2),
            st.integers(0, 1),
        ),
        st.lists(inner, min_size=1, max_size=2).map(lambda options: {"anyOf": options}),
        st.dictionaries(st.sampled_from(["a", "b", "c.d"]), inner, max_size=3).flatmap(
            lambda p: st.sets(st.sampled_from(sorted(p)) if p else st.nothing()).map(
                lambda required: closed(p, sorted(required))
            )
        ),
    ),
    max_leaves=4,
)


@settings(max_examples=40)
@given(value=SCHEMAS, seed=st.integers(0, 1000))
def test_what_it_writes_validates(
    outlines_core, llguidance, byte_vocabulary, value: dict, seed: int
) -> None:
    """For random supported schemas, texts of either backend validate and conform."""
    case = schema_case("random", value, (), ())
    assert outlines_core.supports(case.grammar)
    for backend in (outlines_core, llguidance):
        try:
            check_backend(backend, byte_vocabulary, case, walks=1, steps=60, sample=4, seed=seed)
        except GrammarError as error:
            too_large = "too large" in str(error)
        else:
            continue
        assert too_large


def test_annotations_and_references_are_fine(outlines_core) -> None:
    """What constrains nothing is let through, and so are references to `$defs`."""
    grammar = Grammar.json_schema(
        JsonSchema(
            {
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "title": "T",
                "anyOf": [
                    {"$ref": "#/$defs/a", "description": "d"},
                    {"type": "null", "default": None},
                ],
                "$defs": {"a": {"type": "boolean"}},
            }
        )
    )
    assert outlines_core.supports(grammar)
