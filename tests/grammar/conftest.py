"""Vocabularies of every kind of tokenizer that the supported families have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gemma_structured.grammar.llguidance import LLGuidanceBackend
from gemma_structured.grammar.outlines_core import OutlinesCoreBackend
from gemma_structured.grammar.vocabulary import Vocabulary
from gemma_structured.testing.byte_tokenizer import ByteTokenizer

if TYPE_CHECKING:
    from pathlib import Path

    from tokenizers import Tokenizer

WORDS = ("true", "false", "null", '"title":', '","', "re", "red", "ab", "12", "é", "日本")


@pytest.fixture(scope="session")
def byte_vocabulary() -> Vocabulary:
    """One token a byte, and logits wider than the vocabulary."""
    return ByteTokenizer().vocabulary(size=300)


@pytest.fixture(scope="session")
def word_vocabulary() -> Vocabulary:
    """Bytes, and some words of several bytes."""
    return ByteTokenizer(words=WORDS).vocabulary()


@pytest.fixture(scope="session")
def gemma_tokenizer(embedded_checkpoint: Path) -> Tokenizer:
    """The real Gemma tokenizer: 262,144 tokens."""
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(embedded_checkpoint / "tokenizer.json"))


@pytest.fixture(scope="session")
def gemma_vocabulary(gemma_tokenizer: Tokenizer) -> Vocabulary:
    """The real Gemma vocabulary, over logits with 64 padding rows."""
    return Vocabulary.from_tokenizer(gemma_tokenizer, end_ids=[1, 106], size=262_208)


@pytest.fixture(scope="session")
def llguidance() -> LLGuidanceBackend:
    """The default backend, which keeps its tokenizers between tests."""
    return LLGuidanceBackend()


@pytest.fixture(scope="session")
def outlines_core() -> OutlinesCoreBackend:
    """The second backend, which keeps its vocabularies between tests."""
    return OutlinesCoreBackend()
