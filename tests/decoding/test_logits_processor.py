"""Tests of our grammars in transformers' own `generate()`."""

from __future__ import annotations

import json
from typing import Annotated, Literal

import pytest
import torch
from pydantic import BaseModel, Field, TypeAdapter
from transformers import Gemma3ForCausalLM, Gemma3TextConfig

from gemma_structured.decoding.logits_processor import GrammarLogitsProcessor, compiler_for
from gemma_structured.exceptions import GrammarError, InputError, TokenRejectedError
from gemma_structured.grammar.spec import Grammar
from gemma_structured.schema.terms import Choice, Lark, Regex
from gemma_structured.testing.byte_tokenizer import ByteTokenizer


class Ticket(BaseModel):
    title: Annotated[str, Field(max_length=6)]
    priority: Literal["low", "high"]
    open: bool


@pytest.fixture(scope="module")
def tokenizer():
    return ByteTokenizer(words=("true", "false", '"title":')).transformers()


@pytest.fixture(scope="module")
def model(tokenizer):
    """A tiny Gemma 3 with random weights, whose logits are wider than its tokenizer."""
    torch.manual_seed(0)
    config = Gemma3TextConfig(
        vocab_size=len(tokenizer) + 11,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        eos_token_id=[1, 4],
        pad_token_id=0,
        bos_token_id=2,
    )
    return Gemma3ForCausalLM(config).eval()


@pytest.fixture(scope="module")
def compiler(model, tokenizer):
    return compiler_for(model, tokenizer)


PROMPTS = ["a ticket", "a much longer text about a ticket", "x"]


def write(model, tokenizer, processor, prompts=PROMPTS, **options) -> list[str]:
    """What `generate()` writes behind some prompts."""
    inputs = tokenizer(prompts, return_tensors="pt", padding=True)
    inputs.pop("token_type_ids", None)
    options = {"max_new_tokens": 120, "do_sample": False} | options
    ids = model.generate(**inputs, logits_processor=[processor], **options)
    return tokenizer.batch_decode(ids[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"do_sample": True, "temperature": 5.0},
        {"do_sample": True, "num_return_sequences": 3},
        {"do_sample": True, "top_k": 5, "repetition_penalty": 1.5},
    ],
    ids=lambda options: "+".join(options) or "greedy",
)
def test_every_row_is_a_typed_object(model, tokenizer, compiler, options) -> None:
    """Left-padded batches, sampling and several sequences all yield whole, valid objects."""
    torch.manual_seed(1)
    processor = GrammarLogitsProcessor(compiler, Ticket, pad_token_id=0)
    texts = write(model, tokenizer, processor, **options)
    assert len(texts) == len(PROMPTS) * options.get("num_return_sequences", 1)
    for text in texts:
        Ticket.model_validate_json(text)


@pytest.mark.parametrize("output_type", [Ticket, Regex("a")])
def test_bounds_that_are_none_are_refused(compiler, output_type) -> None:
    """Of an object and of a text."""
    with pytest.raises(InputError, match=r"bounds must be gs\.Bounds or None, not 5"):
        GrammarLogitsProcessor(compiler, output_type, bounds=5)


@pytest.mark.parametrize("options", [{"num_beams": 2}, {"num_beams": 3, "do_sample": True}])
def test_beam_search_is_refused(model, tokenizer, compiler, options) -> None:
    """Beams would take masked tokens where the grammar leaves too few: a typed error says so."""
    processor = GrammarLogitsProcessor(compiler, Ticket)
    write(model, tokenizer, processor, max_new_tokens=2)
    for one in (processor, GrammarLogitsProcessor(compiler, Ticket)):
        with pytest.raises(GrammarError, match="Beam search"):
            write(model, tokenizer, one, **options)


@pytest.mark.parametrize(
    ("output_type", "is_valid"),
    [
        (Regex(r"\d{2,5}"), lambda text: text.isdecimal() and 2 <= len(text) <= 5),
        (Choice(["re", "red", "gré"]), lambda text: text in {"re", "red", "gré"}),
        (Lark('start: "a"+ "b"\n'), lambda text: set(text[:-1]) <= {"a"}),
        (list[Literal[1, 2]], lambda text: set(json.loads(text)) <= {1, 2}),
        (bool, TypeAdapter(bool).validate_json),
        (Grammar.choice(["x"]), lambda text: text == "x"),
    ],
)
def test_any_grammar_works(model, tokenizer, compiler, output_type, is_valid) -> None:
    """Every kind of output type, and a grammar itself, can be asked for."""
    torch.manual_seed(2)
    for text in write(
        model, tokenizer, GrammarLogitsProcessor(compiler, output_type), do_sample=True
    ):
        is_valid(text) if output_type is bool else None
        assert output_type is bool or is_valid(text)


def test_rows_that_ended_are_padded(model, tokenizer, compiler) -> None:
    """After its end a row holds padding only, however long the others go on."""
    inputs = tokenizer(PROMPTS, return_tensors="pt", padding=True)
    inputs.pop("token_type_ids", None)
    torch.manual_seed(3)
    processor = GrammarLogitsProcessor(compiler, Choice(["a", "a" * 40]), pad_token_id=0)
    ids = model.generate(
        **inputs,
        logits_processor=[processor],
        do_sample=True,
        max_new_tokens=60,
        num_return_sequences=6,
    )
    new = ids[:, inputs["input_ids"].shape[1] :].tolist()
    lengths = set()
    for row in new:
        end = next(i for i, token in enumerate(row) if token in compiler.vocabulary.end_ids)
        assert set(row[end + 1 :]) <= {0}
        lengths.add(end)
    assert lengths == {1, 40}


def test_only_the_end_is_left_after_the_end(compiler) -> None:
    """Where `generate()` goes on past an end id, that id or padding is all that it may write."""
    vocabulary = compiler.vocabulary
    processor = GrammarLogitsProcessor(compiler, Choice(["a"]), pad_token_id=0)
    scores = torch.zeros(1, vocabulary.size)
    a = vocabulary.encode("a")[0]
    allowed = [
        processor(torch.tensor([ids]), scores).isfinite().nonzero()[:, 1].tolist()
        for ids in ([9], [9, a], [9, a, 4], [9, a, 4, 0])
    ]
    assert allowed == [[a], [1, 4], [0, 1, 4], [0, 1, 4]]


def test_one_processor_serves_many_calls(model, tokenizer, compiler) -> None:
    """Each `generate()` begins anew, whether its prompts are others, longer, or the same again."""
    processor = GrammarLogitsProcessor(compiler, Ticket)
    first = write(model, tokenizer, processor, ["a ticket"])
    for prompts in (
        ["a ticket"],
        ["some ticket"],
        ["a"],
        PROMPTS,
        ["a ticket" + first[0] + " and more"],
    ):
        for text in write(model, tokenizer, processor, prompts):
            Ticket.model_validate_json(text)
    assert write(model, tokenizer, processor, ["a ticket"]) == first


def test_a_token_budget_is_kept(model, tokenizer, compiler) -> None:
    """`max_new_tokens` ends a row inside its object, as always in `generate()`."""
    (text,) = write(
        model, tokenizer, GrammarLogitsProcessor(compiler, Ticket), ["x"], max_new_tokens=3
    )
    assert Ticket.model_json_schema()
    assert text.startswith('{"title":')
    assert not text.endswith("}")


def test_tokens_that_others_choose_are_refused(compiler) -> None:
    """A row with a token that the grammar does not allow raises, and does not go on regardless."""
    processor = GrammarLogitsProcessor(compiler, Choice(["a"]))
    scores = torch.zeros(1, compiler.vocabulary.size)
    processor(torch.tensor([[9]]), scores)
    with pytest.raises(TokenRejectedError):
        processor(torch.tensor([[9, 50]]), scores)


def test_taking_tokens_back_is_refused(compiler) -> None:
    """Assisted decoding would go back to an earlier token: a typed error, no wrong mask."""
    processor = GrammarLogitsProcessor(compiler, Regex("a+"))
    scores = torch.zeros(1, compiler.vocabulary.size)
    a = compiler.vocabulary.encode("a")[0]
    for ids in ([9], [9, a], [9, a, a]):
        processor(torch.tensor([ids]), scores)
    with pytest.raises(GrammarError, match="taken back"):
        processor(torch.tensor([[9, a]]), scores)
    processor.reset()
    assert processor(torch.tensor([[9, a]]), scores).isfinite().sum() == 1


def test_logits_of_another_model_are_refused(compiler) -> None:
    """Logits narrower than the vocabulary belong to another model: the error has both numbers."""
    processor = GrammarLogitsProcessor(compiler, Ticket)
    with pytest.raises(GrammarError, match=f"100 logits .* {compiler.vocabulary.size} tokens"):
        processor(torch.tensor([[9]]), torch.zeros(1, 100))


def test_wider_logits_are_masked_to_their_end(compiler) -> None:
    """Rows of the head past the vocabulary are never allowed."""
    processor = GrammarLogitsProcessor(compiler, Regex(r"[\s\S]*"))
    scores = processor(torch.tensor([[9]]), torch.zeros(1, compiler.vocabulary.size + 40))
    assert not scores[0, compiler.vocabulary.size :].isfinite().any()


def test_the_second_backend_works_too(model, tokenizer) -> None:
    """Any backend may be chosen; here outlines-core."""
    compiler = compiler_for(model, tokenizer, "outlines_core")
    processor = GrammarLogitsProcessor(compiler, Ticket)
    for text in write(model, tokenizer, processor):
        Ticket.model_validate_json(text)
