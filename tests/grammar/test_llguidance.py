"""Tests of what is special to the default backend."""

from __future__ import annotations

import gc
import json
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemma_structured.exceptions import GrammarError, TokenRejectedError
from gemma_structured.grammar import bitmask
from gemma_structured.grammar.llguidance import LLGuidanceBackend
from gemma_structured.grammar.spec import Grammar
from gemma_structured.testing.byte_tokenizer import ByteTokenizer

PERSON = Grammar(
    kind="json_schema",
    source='{"type":"object","properties":{"name":{"type":"string"},"age":{"type":"integer",'
    '"minimum":0,"maximum":999}},"required":["name","age"],"additionalProperties":false}',
)


def allowed(matcher, vocabulary) -> set[int]:
    row = bitmask.allocate_row(vocabulary.size)
    matcher.fill_bitmask(row)
    return set(bitmask.allowed_ids(row, vocabulary.size).tolist())


def accepts(compiled, vocabulary, text: str) -> bool:
    matcher = compiled.matcher()
    ids = vocabulary.encode(text)
    return matcher.count_valid(ids) == len(ids) and (matcher.accept(ids), matcher.is_accepting)[1]


def test_json_is_compact_whatever_the_schema_says(llguidance, byte_vocabulary) -> None:
    """No white space is allowed, even if a schema brings llguidance options of its own."""
    schema = json.loads(PERSON.source) | {
        "x-guidance": {"whitespace_flexible": True, "lenient": True}
    }
    for source in (PERSON.source, json.dumps(schema)):
        compiled = llguidance.compile(Grammar(kind="json_schema", source=source), byte_vocabulary)
        assert accepts(compiled, byte_vocabulary, '{"name":"x","age":1}')
        assert not accepts(compiled, byte_vocabulary, '{"name": "x","age":1}')
        assert not accepts(compiled, byte_vocabulary, '{"name":"x","age":1} ')


def test_a_rejected_token_leaves_the_state_as_it_was(llguidance, byte_vocabulary) -> None:
    """All tokens are accepted or none, and the error says which one was wrong and where."""
    matcher = llguidance.compile(PERSON, byte_vocabulary).matcher()
    matcher.accept(byte_vocabulary.encode('{"name":"a"'))
    before = allowed(matcher, byte_vocabulary)
    ids = byte_vocabulary.encode(',"agX')
    with pytest.raises(TokenRejectedError) as caught:
        matcher.accept(ids)
    assert (caught.value.token_id, caught.value.position) == (ids[-1], 11 + 4)
    assert allowed(matcher, byte_vocabulary) == before
    matcher.accept(byte_vocabulary.encode(',"age":7}'))
    assert matcher.is_finished


def test_end_ids_are_never_fed(llguidance, byte_vocabulary) -> None:
    """An end id raises, before and after the end, and changes nothing."""
    matcher = llguidance.compile(Grammar.regex("ab?"), byte_vocabulary).matcher()
    for text in ("", "a", "b"):
        matcher.accept(byte_vocabulary.encode(text))
        for end_id in byte_vocabulary.end_ids:
            with pytest.raises(GrammarError, match="end id"):
                matcher.accept([end_id])
            assert matcher.count_valid([end_id]) == 0
    assert matcher.is_finished
    matcher.rollback(2)
    assert not matcher.is_accepting


def test_rollback_is_exact_past_the_end(llguidance, byte_vocabulary) -> None:
    """A finished matcher can be taken back to any place and go another way."""
    matcher = llguidance.compile(PERSON, byte_vocabulary).matcher()
    matcher.accept(byte_vocabulary.encode('{"name":"a","age":12}'))
    assert matcher.is_finished
    assert allowed(matcher, byte_vocabulary) == set(byte_vocabulary.end_ids)
    assert matcher.forced_tokens() == []
    matcher.rollback(1)
    assert not matcher.is_accepting
    matcher.accept(byte_vocabulary.encode("3}"))
    assert matcher.is_finished
    with pytest.raises(GrammarError, match="Cannot take back"):
        matcher.rollback(100)


def test_forced_tokens_are_the_tokenizers_own(llguidance, gemma_vocabulary) -> None:
    """Forced text is written with the tokens with which the tokenizer writes it."""
    matcher = llguidance.compile(PERSON, gemma_vocabulary).matcher()
    forced = matcher.forced_tokens()
    whole = gemma_vocabulary.encode('{"name":"')
    assert forced
    assert forced == whole[: len(forced)]
    matcher.accept(gemma_vocabulary.encode('{"name":"Bob","'))
    assert gemma_vocabulary.decode(matcher.forced_tokens()) == 'age":'


@given(options=st.lists(st.text(max_size=6), min_size=1, max_size=8))
def test_a_choice_is_its_options(llguidance, byte_vocabulary, options: list[str]) -> None:
    """Whatever characters the options have, these texts are accepted and no others."""
    compiled = llguidance.compile(Grammar.choice(options), byte_vocabulary)
    for option in options:
        assert accepts(compiled, byte_vocabulary, option)
        assert accepts(compiled, byte_vocabulary, option + "!") == (option + "!" in options)


def test_gemma_strings_hold_html_and_no_control_token(llguidance, gemma_vocabulary) -> None:
    """In a JSON string `<h1>` is allowed as a token and control tokens are not: their names are spelled."""
    compiled = llguidance.compile(
        Grammar(kind="json_schema", source='{"type":"string"}'), gemma_vocabulary
    )
    matcher = compiled.matcher()
    matcher.accept(gemma_vocabulary.encode('"'))
    ids = allowed(matcher, gemma_vocabulary)
    assert gemma_vocabulary.token_id("<h1>") in ids
    assert not ids & gemma_vocabulary.control_ids
    assert max(ids) < 262_144
    names = [gemma_vocabulary.tokens[i].decode() for i in gemma_vocabulary.control_ids if i < 300]
    for name in ["<h1>", "</table>", *names]:
        assert accepts(compiled, gemma_vocabulary, json.dumps(f"a {name} b"))


@pytest.mark.parametrize("kind", ["string", "regex", "lark"])
def test_no_mask_allows_a_control_token_as_text(llguidance, byte_vocabulary, kind: str) -> None:
    """Anything-goes grammars of every kind allow every byte and no control token."""
    grammar = {
        "string": Grammar.regex(r'"[\s\S]*"'),
        "regex": Grammar.regex(r"[\s\S]*"),
        "lark": Grammar.lark("start: /(?s:.*)/"),
    }[kind]
    matcher = llguidance.compile(grammar, byte_vocabulary).matcher()
    matcher.accept(byte_vocabulary.encode('"'))
    assert (
        not (allowed(matcher, byte_vocabulary) - set(byte_vocabulary.end_ids))
        & byte_vocabulary.control_ids
    )


def test_lark_writes_control_tokens_by_id(llguidance, byte_vocabulary) -> None:
    """A grammar may ask for a control token, as for a thought, and then only there."""
    open_id, close_id = 2, 3
    grammar = Grammar.lark(f'start: <[{open_id}]> /[a-z]{{1,9}}/ <[{close_id}]> "x"')
    matcher = llguidance.compile(grammar, byte_vocabulary).matcher()
    assert matcher.forced_tokens() == [open_id]
    matcher.accept([open_id, *byte_vocabulary.encode("ab")])
    assert close_id in allowed(matcher, byte_vocabulary)
    assert open_id not in allowed(matcher, byte_vocabulary)
    matcher.accept([close_id, *byte_vocabulary.encode("x")])
    assert matcher.is_finished
    matcher.rollback(4)
    assert matcher.count_valid([*byte_vocabulary.encode("ab"), close_id]) == 3


@pytest.mark.parametrize(
    ("grammar", "message"),
    [
        (Grammar(kind="json_schema", source="{"), "not JSON"),
        (Grammar(kind="json_schema", source="3"), "not a JSON Schema"),
        (Grammar(kind="json_schema", source="false"), "no value"),
        (Grammar(kind="json_schema", source='{"$ref":"#"}'), "No text|cannot be compiled"),
        (Grammar(kind="json_schema", source='{"not":{"type":"string"}}'), "nimplemented"),
        (Grammar(kind="json_schema", source='{"$ref":"#/$defs/x"}'), "#/\\$defs/x"),
        (Grammar(kind="json_schema", source='{"type":"string","enum":[1]}'), "cannot be compiled"),
        (Grammar.lark("start: missing"), "missing"),
        (Grammar.lark('other: "a"'), "start"),
        (Grammar.lark("start: start"), "No text"),
        (Grammar.lark('start: t "x"\nt[max_tokens=3]: /.*/'), "max_tokens"),
        (Grammar.lark('start: t "x"\nt[stop="q"]: /[a-z]*/'), "stop"),
        (Grammar.lark("start: T\nT: /[/"), "cannot be compiled"),
        (Grammar.regex("("), "cannot be enforced"),
    ],
)
def test_grammars_that_cannot_be_used_are_refused(
    llguidance, byte_vocabulary, grammar, message
) -> None:
    """Malformed, unsatisfiable and unsupported grammars raise when compiled, with a short reason."""
    with pytest.raises(GrammarError, match=message) as caught:
        llguidance.compile(grammar, byte_vocabulary)
    assert len(str(caught.value)) < 500
    assert "backtrace" not in str(caught.value)


def test_true_is_any_json(llguidance, byte_vocabulary) -> None:
    """The schema `true` allows every value."""
    compiled = llguidance.compile(Grammar(kind="json_schema", source="true"), byte_vocabulary)
    for text in ("null", "[1,{}]", '{"a":"b"}'):
        assert accepts(compiled, byte_vocabulary, text)


def test_rows_of_another_shape_are_refused(llguidance, byte_vocabulary) -> None:
    """A bitmask row that is too short or of another type is never written to."""
    matcher = llguidance.compile(PERSON, byte_vocabulary).matcher()
    for row in (np.zeros(9, np.int32), np.zeros(10, np.int64), np.zeros((1, 10), np.int32)):
        with pytest.raises(GrammarError, match="bitmask"):
            matcher.fill_bitmask(row)


def test_threads_share_a_compiled_grammar(llguidance, word_vocabulary) -> None:
    """Eight threads walk through one compiled grammar at once, each with a matcher of its own."""
    compiled = llguidance.compile(PERSON, word_vocabulary)
    ids = word_vocabulary.encode('{"name":"true","age":12}')

    def walk(_: int) -> list[int]:
        matcher = compiled.matcher()
        sizes = []
        for token_id in ids:
            sizes.append(len(allowed(matcher, word_vocabulary)))
            matcher.accept([token_id])
        assert matcher.is_finished
        return sizes

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(walk, range(64)))
    assert all(result == results[0] for result in results)


def test_a_vocabulary_is_let_go() -> None:
    """The backend's tokenizer lives as long as its vocabulary, and no longer."""
    backend = LLGuidanceBackend()
    vocabulary = ByteTokenizer().vocabulary()
    backend.compile(PERSON, vocabulary)
    gone = weakref.ref(vocabulary)
    del vocabulary
    gc.collect()
    assert gone() is None
    assert not backend._tokenizers


def test_gemma_grammars_compile_in_milliseconds(llguidance, gemma_vocabulary) -> None:
    """With the tokenizer built, a schema compiles and masks in milliseconds."""
    llguidance.compile(PERSON, gemma_vocabulary)
    row = bitmask.allocate_row(gemma_vocabulary.size)
    times = []
    for n in range(5):
        source = PERSON.source.replace("999", str(900 + n))
        start = time.process_time()
        llguidance.compile(
            Grammar(kind="json_schema", source=source), gemma_vocabulary
        ).matcher().fill_bitmask(row)
        times.append(time.process_time() - start)
    assert min(times) < 0.1
