"""The second backend: outlines-core (https://github.com/dottxt-ai/outlines-core).

It turns everything into one regular expression and that into an index over the vocabulary, which
takes time and memory for each state: small grammars only, and only what it enforces exactly. It is
there to check the default backend against, and for those who use outlines.
"""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

from gemma_structured.exceptions import GrammarError, LoadError
from gemma_structured.grammar.ecma import whole_match
from gemma_structured.grammar.outlines_core_matcher import END_MARK, OutlinesCoreGrammar, token_ids
from gemma_structured.grammar.outlines_core_schema import regex_length, unsupported_keyword
from gemma_structured.schema.normalize.regex.determinize import determinize
from gemma_structured.schema.normalize.regex.parse import parse
from gemma_structured.schema.normalize.regex.syntax import RegexError, alt, literal
from gemma_structured.schema.normalize.regex.write import write

try:
    from outlines_core import Index
    from outlines_core import Vocabulary as IndexVocabulary
    from outlines_core.json_schema import (  # pyright: ignore[reportMissingImports]
        build_regex_from_schema,
    )
except ImportError as error:
    raise LoadError(
        "The grammar backend outlines-core is not installed.",
        hint="pip install 'gemma-structured[local]'",
    ) from error

if TYPE_CHECKING:
    from gemma_structured.grammar.spec import Grammar
    from gemma_structured.grammar.vocabulary import Vocabulary
    from gemma_structured.types import JsonValue

__all__ = ["OutlinesCoreBackend"]

_USE_LLGUIDANCE: Final = "Use the backend 'llguidance'."
_MAX_TRANSITIONS: Final = 40_000_000
"""States times tokens: some 150 states over 262,144 tokens, an index of which takes up to 20 s."""
_MAX_OPTIONS: Final = 500
_MAX_LENGTH: Final = 20_000


class OutlinesCoreBackend:
    """Compiles regular expressions, choices and simple JSON Schemas with outlines-core.

    A JSON Schema is simple if it is closed and uses only what outlines-core enforces exactly:
    types, `enum`, `const`, lengths, numbers of items, properties, `required`, `anyOf` and
    references that do not recur. It ignores `minimum`, formats and more: such schemas are not
    supported here.
    """

    def __init__(self) -> None:
        self._vocabularies: WeakKeyDictionary[Vocabulary, IndexVocabulary] = WeakKeyDictionary()
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """What users call it by."""
        return "outlines_core"

    def supports(self, grammar: Grammar) -> bool:
        """Whether outlines-core enforces every part of the grammar exactly."""
        try:
            self._regex(grammar)
        except GrammarError:
            return False
        return True

    def compile(self, grammar: Grammar, vocabulary: Vocabulary) -> OutlinesCoreGrammar:
        """Make a grammar ready for a vocabulary.

        Raises:
            GrammarError: It is not supported, malformed, cannot be written with this vocabulary, or
                its index would be too large.
        """
        regex = self._regex(grammar)
        _check_size(regex, vocabulary)
        try:
            index = Index(f"(?:{regex}){END_MARK}", self._index_vocabulary(vocabulary))
        except ValueError as error:
            raise GrammarError(
                f"outlines-core cannot compile the {grammar.kind.replace('_', ' ')} grammar: "
                f"{str(error)[:200]}",
                hint=_USE_LLGUIDANCE,
            ) from None
        return OutlinesCoreGrammar(grammar, vocabulary, index)

    def _regex(self, grammar: Grammar) -> str:
        """The grammar as one regular expression in Rust's dialect."""
        if grammar.kind == "regex":
            return whole_match(grammar.source)
        if grammar.kind == "choice":
            return _choice_regex(grammar.options)
        if grammar.kind == "json_schema":
            return _schema_regex(grammar)
        raise GrammarError("outlines-core has no Lark grammars.", hint=_USE_LLGUIDANCE)

    def _index_vocabulary(self, vocabulary: Vocabulary) -> IndexVocabulary:  # pyright: ignore[reportUnknownParameterType]
        with self._lock:
            found = self._vocabularies.get(vocabulary)
            if found is None:
                found = IndexVocabulary(vocabulary.end_ids[0], token_ids(vocabulary))
                self._vocabularies[vocabulary] = found
            return found


def _choice_regex(options: list[str]) -> str:
    if len(options) > _MAX_OPTIONS:
        raise GrammarError(
            f"A choice between {len(options)} options is too large for outlines-core, which takes "
            f"{_MAX_OPTIONS}.",
            hint=_USE_LLGUIDANCE,
        )
    return write(alt(map(literal, options)))


def _schema_regex(grammar: Grammar) -> str:
    schema = grammar.value
    try:
        _check_schema(schema)
        return str(build_regex_from_schema(json.dumps(schema, ensure_ascii=False), ""))
    except ValueError as error:
        raise GrammarError(
            f"outlines-core cannot write the schema as a regular expression: {str(error)[:200]}",
            hint=_USE_LLGUIDANCE,
        ) from None
    except RecursionError:
        raise GrammarError(
            "The schema nests too deeply for outlines-core.", hint=_USE_LLGUIDANCE
        ) from None


def _check_schema(schema: JsonValue) -> None:
    if (found := unsupported_keyword(schema)) is not None:
        where, keyword = found
        raise GrammarError(
            f"{where or '(root)'}: outlines-core does not enforce {keyword} exactly.",
            hint=_USE_LLGUIDANCE,
        )
    if (length := regex_length(schema)) > _MAX_LENGTH:
        raise GrammarError(
            "The grammar is too large for outlines-core: as a regular expression it has some "
            f"{min(length, 10**9):,} characters, and {_MAX_LENGTH:,} is the most.",
            hint=_USE_LLGUIDANCE,
        )


def _check_size(regex: str, vocabulary: Vocabulary) -> None:
    """Count the states before outlines-core does, which would not stop at any number."""
    try:
        states = sum(determinize(parse(regex)).live)
    except RegexError as error:
        raise GrammarError(
            f"The grammar is too large for outlines-core: {error}", hint=_USE_LLGUIDANCE
        ) from None
    if states * vocabulary.size > _MAX_TRANSITIONS:
        raise GrammarError(
            f"The grammar's {states} states are too many for outlines-core over "
            f"{vocabulary.size} tokens: at most {_MAX_TRANSITIONS // vocabulary.size}.",
            hint=f"{_USE_LLGUIDANCE} Or bound strings, numbers and arrays less: bounds=None.",
        )
