"""`Code`: text that a real parser reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gemma_structured.schema.code_parsers import (
    LANGUAGE_FORMS,
    Language,
    code_fault,
    known_language,
)
from gemma_structured.schema.terms import Lark, TextTerm

__all__ = ["CODE_KEYWORD", "Code"]

CODE_KEYWORD = "x-gemma-code"
"""The keyword by which a string in a JSON Schema has to be code of a language."""


@dataclass(frozen=True, slots=True)
class Code(TextTerm):
    """Code that a real parser reads.

    Where it is the whole output, the mask writes the subset of the language that `lark` derives.
    Inside a type (`Annotated[str, gs.Code("sql")]`) the mask leaves it free. Either way the parser
    has the last word, and wrong code is asked for again with what the parser said.

    Attributes:
        language: `"sql"`: one statement, as sqlglot (extra `code`) reads it, of whichever engine.
            `"python"`: one expression, as the running Python's `ast` reads and its compiler takes
            it. Nothing is ever run.

    Raises:
        SchemaError: There is no such language.
        LoadError: Its parser is not installed.
    """

    language: Language

    def __post_init__(self) -> None:
        """Refuse what could not be checked."""
        known_language(self.language)

    @property
    def lark(self) -> Lark:
        """What the mask writes where the code is the whole output."""
        return Lark.ready(self.language)

    def matches(self, text: str) -> bool:
        """Whether the language's parser reads the text."""
        return self.fault(text) is None

    def fault(self, text: str) -> str | None:
        """What the language's parser says is wrong with a text; `None` for nothing."""
        return code_fault(self.language, text)

    def _keywords(self) -> dict[str, Any]:
        return {CODE_KEYWORD: self.language}

    @property
    def expectation(self) -> str:
        """What is wrong with a text that does not match."""
        return f"is not {LANGUAGE_FORMS[self.language]}"
