"""Each family's form of calls with the family's own control tokens on their ids."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import pytest

from gemma_structured.decoding.chat_tokenizer import TransformersChatTokenizer
from gemma_structured.families.afmoe import Afmoe
from gemma_structured.families.completion import Completion
from gemma_structured.families.deepseek_v3 import DeepseekV3
from gemma_structured.families.gemma3 import Gemma3
from gemma_structured.families.gemma4 import Gemma4
from gemma_structured.families.minimax_m2 import MiniMaxM2
from gemma_structured.families.mixtral import Mixtral
from gemma_structured.families.turn import turn_grammar
from gemma_structured.grammar.compiler import GrammarCompiler
from gemma_structured.grammar.vocabulary import Vocabulary
from gemma_structured.testing.tiny_tokenizers import build_tokenizer, family_tokens

if TYPE_CHECKING:
    from gemma_structured.families.base import Family
    from gemma_structured.families.call_format import CallFormat
    from gemma_structured.grammar.backend import GrammarMatcher

FAMILIES = {
    "gemma4": Gemma4,
    "functiongemma": Gemma3,
    "gemma3": Gemma3,
    "mixtral": Mixtral,
    "deepseek_v3": DeepseekV3,
    "afmoe": Afmoe,
    "minimax_m2": MiniMaxM2,
    "completion": Completion,
}
TOKENS = {"completion": "gemma3"}
"""Whose tokens a family is tried with that has none of its own."""


@dataclass(frozen=True)
class Setting:
    """A family over its tokenizer."""

    name: str
    family: Family
    vocabulary: Vocabulary
    tokenizer: TransformersChatTokenizer
    compiler: GrammarCompiler

    @property
    def form(self) -> CallFormat:
        """The form of calls that a model with this tokenizer writes."""
        return self.family.call_format(self.tokenizer)

    def matcher(self, offer, *, bounds=None, **options) -> GrammarMatcher:
        """At the start of a turn."""
        rules = self.form.rules(self.vocabulary, offer, bounds)
        options = {"must_call": offer.must_call, **options}
        grammar = turn_grammar(self.vocabulary, calls=rules, **options)
        return self.compiler.compile(grammar).matcher()

    def accepts(self, matcher: GrammarMatcher, text: str) -> bool:
        """Whether the grammar takes a whole turn, token by token."""
        one = matcher.fork()
        ids = self.vocabulary.encode_template(text)
        if one.count_valid(ids) < len(ids):
            return False
        for token_id in ids:
            one.accept([token_id])
        return one.is_accepting


@cache
def setting_of(name: str) -> Setting:
    """The setting of a family by its name."""
    tokens = family_tokens()[TOKENS.get(name, name)]
    tokenizer = build_tokenizer(TOKENS.get(name, name))
    vocabulary = Vocabulary.from_tokenizer(
        tokenizer.backend_tokenizer,
        end_ids=[tokenizer.convert_tokens_to_ids(end) for end in tokens.ends],
    )
    return Setting(
        name=name,
        family=FAMILIES[name](),
        vocabulary=vocabulary,
        tokenizer=TransformersChatTokenizer(tokenizer, vocabulary),
        compiler=GrammarCompiler(vocabulary),
    )


@pytest.fixture(params=list(FAMILIES), scope="session")
def setting(request) -> Setting:
    """Each family in turn."""
    return setting_of(request.param)


@pytest.fixture(scope="session")
def gemma4() -> Setting:
    """Gemma 4 alone."""
    return setting_of("gemma4")


@pytest.fixture(scope="session")
def settings_by_name() -> dict[str, Setting]:
    """Every family."""
    return {name: setting_of(name) for name in FAMILIES}
