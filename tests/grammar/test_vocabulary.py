"""Tests of what ids stand for, and of the ways from text to ids and back."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken

from gemma_structured.exceptions import GrammarError, InputError
from gemma_structured.grammar.vocabulary import Vocabulary
from gemma_structured.testing.byte_tokenizer import ByteTokenizer
from gemma_structured.testing.tiny_tokenizers import build_tokenizer, family_tokens

from . import tokenizers as made

FAMILY_TOKENS = family_tokens()
TEXT = st.text(st.characters(codec="utf-8"), max_size=40)
CONTROL_WORDS = [name for family in FAMILY_TOKENS.values() for name in family.names.values()]
HOSTILE = st.lists(
    st.sampled_from([*CONTROL_WORDS, "▁", "▁▁", "Ġ", "<0x41>", "<h1>", " ", "\n", "e\u0301", "\0"])
    | TEXT,
    max_size=6,
).map("".join)

SENTENCEPIECE = {
    kind: Vocabulary.from_tokenizer(made.sentencepiece(kind), end_ids=[2])
    for kind in ("gemma", "llama_legacy", "llama", "metaspace_decoder")
}
FAMILIES = {
    family: Vocabulary.from_tokenizer(
        build_tokenizer(family).backend_tokenizer,
        end_ids=[i for i, name in tokens.names.items() if name in tokens.ends],
    )
    for family, tokens in FAMILY_TOKENS.items()
}
EVERY = {
    **SENTENCEPIECE,
    **FAMILIES,
    "normalizing": Vocabulary.from_tokenizer(made.normalizing(), end_ids=[1]),
    "words": ByteTokenizer(words=("ab", "abc", "日本")).vocabulary(),
}


def exact(vocabulary: Vocabulary, text: str) -> None:
    ids = vocabulary.encode(text)
    assert vocabulary.control_ids.isdisjoint(ids)
    assert b"".join(vocabulary.tokens[i] for i in ids) == text.encode()
    assert vocabulary.decode(ids) == text
    decoder = vocabulary.decoder()
    assert "".join(decoder.feed([i]) for i in ids) + decoder.flush() == text


@pytest.mark.parametrize("kind", EVERY)
@given(text=HOSTILE)
def test_encoding_is_lossless_and_never_control(kind: str, text: str) -> None:
    """Any text comes back as it was, and no part of it becomes a control token."""
    exact(EVERY[kind], text)


@pytest.mark.parametrize("family", FAMILIES)
def test_no_control_token_of_a_family_is_written_by_text(family: str) -> None:
    """The name of every control token is spelled with other tokens, alone and inside a text."""
    vocabulary = FAMILIES[family]
    for token_id, name in FAMILY_TOKENS[family].names.items():
        assert token_id in vocabulary.control_ids
        exact(vocabulary, name)
        exact(vocabulary, f"so {name} it\n{name}{name}")


@pytest.mark.parametrize("family", FAMILIES)
def test_templates_write_control_tokens(family: str) -> None:
    """In trusted text the names of control tokens are those tokens, flagged special or not."""
    vocabulary = FAMILIES[family]
    for token_id, name in FAMILY_TOKENS[family].names.items():
        assert vocabulary.encode_template(f"a{name}b").count(token_id) == 1
        assert vocabulary.token_id(name) == token_id


@pytest.mark.parametrize("kind", SENTENCEPIECE)
def test_sentencepiece_tokens_stand_for_their_bytes(kind: str) -> None:
    """`▁` is a space, `<0x0A>` a line feed, an added token its name, whichever way they are decoded."""
    vocabulary = SENTENCEPIECE[kind]
    names = made.sentencepiece(kind).get_vocab()
    expected = {
        "▁": b" ",
        "▁ab": b" ab",
        "<0x0A>": b"\n",
        "<0xE2>": b"\xe2",
        "<h1>": b"<h1>",
        "the": b"the",
    }
    for name, token in expected.items():
        assert vocabulary.tokens[names[name]] == token


@pytest.mark.parametrize("kind", SENTENCEPIECE)
def test_no_space_is_put_in_front(kind: str) -> None:
    """A text in the middle of a prompt is encoded as it is: `ab` does not become ` ab`."""
    assert SENTENCEPIECE[kind].encode("ab") == [made.sentencepiece(kind).token_to_id("ab")]


def test_byte_level_tokens_stand_for_their_bytes() -> None:
    """Each of the 256 bytes has its token, and `decode` of the tokenizer agrees with ours."""
    tokenizer = ByteTokenizer(words=("日本", "ab"))
    vocabulary = tokenizer.vocabulary()
    assert [vocabulary.tokens[tokenizer.byte_id(b)] for b in range(256)] == [
        bytes([b]) for b in range(256)
    ]
    backend = tokenizer.tokenizer()
    for token_id in set(range(vocabulary.size)) - vocabulary.control_ids:
        assert backend.decode([token_id]) == vocabulary.tokens[token_id].decode(errors="replace")


def test_added_tokens_are_sorted_into_text_and_control() -> None:
    """HTML tags, words and white space stay writable; what looks like a marker does not."""
    tokenizer = ByteTokenizer().tokenizer()
    text = ["<h1>", "</table>", "\n\n", "covid19", "New York"]
    control = [
        "<think>",
        "[multimodal]",
        "<unused7>",
        "<|x|>",
        "]~b]",
        "<minimax:tool_call>",
        "<2mass>",
    ]
    tokenizer.add_tokens([AddedToken(name, normalized=False) for name in text + control])
    vocabulary = Vocabulary.from_tokenizer(tokenizer, end_ids=[1])
    for name in text:
        assert vocabulary.encode(name) == [tokenizer.token_to_id(name)]
    for name in control:
        assert tokenizer.token_to_id(name) in vocabulary.control_ids
        exact(vocabulary, name)


def test_control_tokens_that_merges_would_spell_are_split() -> None:
    """Where BPE itself would write a control token, the text inside is split instead."""
    vocabulary = Vocabulary.from_tokenizer(made.control_by_merges(), end_ids=[0])
    assert vocabulary.control_ids == {0, 3}
    assert vocabulary.encode("abab") == [1, 2, 1, 2]


def test_the_tokenizer_given_is_left_as_it_is() -> None:
    """Settings that are kept in the caller's object do not change, and do not matter."""
    tokenizer = ByteTokenizer().tokenizer()
    tokenizer.enable_truncation(2)
    tokenizer.enable_padding(length=9)
    vocabulary = Vocabulary.from_tokenizer(tokenizer, end_ids=[1])
    assert vocabulary.decode(vocabulary.encode("a long text")) == "a long text"
    assert not tokenizer.encode_special_tokens
    assert tokenizer.truncation["max_length"] == 2
    assert tokenizer.encode("<eos>", add_special_tokens=False).ids[0] == 1


def test_logits_may_be_wider_or_narrower_than_the_tokenizer() -> None:
    """Padding rows stand for nothing; tokens past the logits are not used, whatever they are."""
    tokenizer = ByteTokenizer(words=("ab",)).tokenizer()
    tokenizer.add_special_tokens(["<late>"])
    wide = Vocabulary.from_tokenizer(tokenizer, end_ids=[1], size=300)
    assert (wide.size, len(wide.tokens), wide.tokens[-1]) == (300, 300, b"")
    narrow = Vocabulary.from_tokenizer(tokenizer, end_ids=[1], size=261)
    assert narrow.size == 261
    exact(narrow, "abc<late>")
    assert narrow.token_id("<late>") is None
    with pytest.raises(InputError, match="<late>"):
        narrow.encode_template("<late>")


def test_lone_surrogates_are_refused_with_their_position() -> None:
    """Half a surrogate pair is no text: the error says where it is."""
    vocabulary = EVERY["words"]
    for encode in (vocabulary.encode, vocabulary.encode_template):
        with pytest.raises(InputError, match=r"U\+D800, at position 3"):
            encode("abc\ud800d")


def test_characters_that_cannot_be_written_are_refused() -> None:
    """A vocabulary without the bytes of a character says which character it is."""
    vocabulary = Vocabulary.from_tokenizer(made.without_bytes(), end_ids=[0])
    assert vocabulary.encode("a b") == [1, 3, 2]
    with pytest.raises(InputError, match=r"U\+0063"):
        vocabulary.encode("abc")


def test_unknown_decoders_are_refused() -> None:
    """A tokenizer that does not keep the text, or does not say how it decodes, is a typed error."""
    with pytest.raises(GrammarError, match="WordPiece"):
        Vocabulary.from_tokenizer(made.wordpiece(), end_ids=[0])
    tokenizer = ByteTokenizer().tokenizer()
    tokenizer.decoder = None
    with pytest.raises(GrammarError, match="no decoder"):
        Vocabulary.from_tokenizer(tokenizer, end_ids=[0])


@pytest.mark.parametrize("end_ids", [[], [-1], [9999]])
def test_end_ids_must_exist(end_ids: list[int]) -> None:
    """Without an id that ends an answer, or with one outside the vocabulary, there is none."""
    with pytest.raises(InputError):
        Vocabulary.from_tokenizer(ByteTokenizer().tokenizer(), end_ids=end_ids)


def test_decoding_shows_control_tokens_on_request() -> None:
    """They have no text unless asked for, as when a prompt is shown."""
    vocabulary = ByteTokenizer().vocabulary()
    ids = vocabulary.encode_template("<bos>hi<eos>")
    assert vocabulary.decode(ids) == "hi"
    assert vocabulary.decode(ids, show_control=True) == "<bos>hi<eos>"


def test_decoders_never_cut_characters() -> None:
    """A character comes out with its last byte, and what is never completed as U+FFFD."""
    tokenizer = ByteTokenizer()
    decoder = tokenizer.vocabulary().decoder()
    ids = [tokenizer.byte_id(byte) for byte in "é🎉".encode()]
    assert [decoder.feed([i]) for i in ids] == ["", "é", "", "", "", "🎉"]
    assert decoder.feed(ids[:1]) == ""
    assert decoder.flush() == "\ufffd"


def test_fingerprints_tell_vocabularies_apart() -> None:
    """Equal vocabularies have equal fingerprints; other tokens, ends or control ids change them."""
    one, same = ByteTokenizer().vocabulary(), ByteTokenizer().vocabulary()
    assert one.fingerprint == same.fingerprint
    tokenizer = ByteTokenizer().tokenizer()
    others = [
        ByteTokenizer(words=("ab",)).vocabulary(),
        Vocabulary.from_tokenizer(tokenizer, end_ids=[1]),
        Vocabulary.from_tokenizer(tokenizer, end_ids=[1, 4], control_ids=[50]),
    ]
    assert len({one.fingerprint, *(other.fingerprint for other in others)}) == 4


def test_bitmask_rows_are_checked_before_a_library_writes_to_them() -> None:
    """A row of another shape, type or layout is refused, as it would be written past its end."""
    vocabulary = ByteTokenizer().vocabulary(size=300)
    vocabulary.check_bitmask(np.zeros(10, np.int32))
    wrong = [
        np.zeros(9, np.int32),
        np.zeros(10, np.int64),
        np.zeros((1, 10), np.int32),
        np.zeros(20, np.int32)[::2],
    ]
    for row in wrong:
        with pytest.raises(GrammarError):
            vocabulary.check_bitmask(row)


def test_gemma_keeps_html_writable_and_control_tokens_not(gemma_vocabulary: Vocabulary) -> None:
    """`<h1>` is a text token; every control token, `[multimodal]` too, is spelled with others."""
    assert gemma_vocabulary.encode("<h1>") == [184]
    assert gemma_vocabulary.encode("</i>") == [210]
    multimodal = gemma_vocabulary.token_id("[multimodal]")
    assert multimodal in gemma_vocabulary.control_ids
    assert len(gemma_vocabulary.control_ids) > 6000
    for token_id in [*sorted(gemma_vocabulary.control_ids)[::50], 1, 2, multimodal, 105, 106]:
        exact(gemma_vocabulary, f"x {gemma_vocabulary.tokens[token_id].decode()}\n")


@pytest.mark.parametrize(
    "text", ["", "\0", "▁", "▁a" * 2000, "▁" * 100_000, " \u3000\t\n", "<0x41>", "日本🎉"]
)
def test_gemma_writes_hostile_text(gemma_vocabulary: Vocabulary, text: str) -> None:
    """What the tokenizer alone would lose (`▁` becomes a space) is spelled by bytes, in little time."""
    exact(gemma_vocabulary, text)


def test_gemma_writes_ordinary_text_as_its_tokenizer_does(
    gemma_vocabulary, gemma_tokenizer
) -> None:
    """Safety costs nothing: text without control names has the tokenizer's own ids."""
    text = "The invoice of 3 May 2024\tcosts €1,294.50.\n\n  - naïve café, <b>bold</b> 日本語 🎉"
    assert (
        gemma_vocabulary.encode(text) == gemma_tokenizer.encode(text, add_special_tokens=False).ids
    )


def test_gemma_is_read_in_little_time(gemma_tokenizer) -> None:
    """262,144 tokens are read in well under a second beside what the tokenizer takes to load."""
    times = []
    for _ in range(3):
        start = time.process_time()
        Vocabulary.from_tokenizer(gemma_tokenizer, end_ids=[1, 106])
        times.append(time.process_time() - start)
    assert min(times) < 1.0


def test_a_megabyte_of_composed_characters_is_encoded_in_time() -> None:
    """Text that is wrong in many places is split near them, not searched again and again."""
    text = ("some words e\u0301 " * 80_000)[:1_000_000]
    start = time.process_time()
    exact(EVERY["normalizing"], text)
    assert time.process_time() - start < 20
