"""Tests of the tokenizer that tests are made with."""

from __future__ import annotations

import pytest

from gemma_structured.exceptions import InputError
from gemma_structured.testing.byte_tokenizer import ByteTokenizer


def test_every_byte_has_a_token() -> None:
    """Any text is written byte by byte, after the control tokens."""
    made = ByteTokenizer()
    vocabulary = made.vocabulary()
    assert vocabulary.size == 5 + 256
    assert vocabulary.encode("é\0") == [made.byte_id(0xC3), made.byte_id(0xA9), made.byte_id(0)]
    assert vocabulary.end_ids == made.end_ids == (1, 4)


def test_words_have_tokens_of_their_own() -> None:
    """Words are merged from their bytes, as BPE does."""
    vocabulary = ByteTokenizer(words=("true", "日本")).vocabulary()
    assert [vocabulary.tokens[i] for i in vocabulary.encode("true日本!")] == [
        b"true",
        "日本".encode(),
        b"!",
    ]


def test_transformers_can_use_it(tmp_path) -> None:
    """It pads on the left, renders its chat template, and survives saving and loading."""
    from transformers import PreTrainedTokenizerFast

    tokenizer = ByteTokenizer().transformers()
    tokenizer.save_pretrained(tmp_path)
    for one in (tokenizer, PreTrainedTokenizerFast.from_pretrained(tmp_path)):
        batch = one(["a", "abc"], padding=True)
        assert batch["input_ids"][0][:2] == [one.pad_token_id] * 2
        text = one.apply_chat_template(
            [{"role": "user", "content": "hi"}], tokenize=False, add_generation_prompt=True
        )
        assert text == "<bos><start_of_turn>user\nhi<end_of_turn>\n<start_of_turn>model\n"
    assert ByteTokenizer().transformers(chat_template=None).chat_template is None


@pytest.mark.parametrize(
    "wrong", [{"ends": ()}, {"ends": ("<x>",)}, {"bos": "<x>"}, {"words": ("a",)}]
)
def test_wrong_names_are_refused(wrong: dict) -> None:
    """Ends and the rest must be control tokens, and words must be longer than a byte."""
    with pytest.raises(InputError):
        ByteTokenizer(**wrong)
