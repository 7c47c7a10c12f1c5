"""`Grammar`: what the text of an answer may be, as a value that can be hashed and cached."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar

from gemma_structured.exceptions import GrammarError
from gemma_structured.types import Report

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gemma_structured.schema.bounds import Bounds
    from gemma_structured.schema.json_schema import JsonSchema
    from gemma_structured.schema.output_type import OutputType
    from gemma_structured.types import JsonValue

__all__ = ["Grammar", "GrammarKind"]

T = TypeVar("T")

GrammarKind: TypeAlias = Literal["json_schema", "regex", "choice", "lark"]
"""The languages in which a grammar may be written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grammar:
    """What the text of an answer may be. Equal sources are equal grammars.

    Attributes:
        kind: The language of the source.
        source: A JSON Schema (compact JSON with its keys in the order that the properties are to be
            written in), a regular expression (ECMA-262, matched against the whole text), a JSON
            array of the strings to choose from, or a Lark grammar in llguidance's dialect.
    """

    kind: GrammarKind
    source: str

    @property
    def value(self) -> JsonValue:
        """The source of a JSON Schema or of a choice, decoded.

        Raises:
            GrammarError: It is not JSON.
        """
        try:
            value: JsonValue = json.loads(self.source)
        except (ValueError, RecursionError) as error:
            raise GrammarError(
                f"The source of a {self.kind} grammar is not JSON: {error}."
            ) from None
        return value

    @property
    def options(self) -> list[str]:
        """The strings of a choice.

        Raises:
            GrammarError: The source is not a JSON array of strings, or an empty one.
        """
        value = self.value
        if not isinstance(value, list) or not value or not all(isinstance(o, str) for o in value):
            raise GrammarError("The source of a choice is not a JSON array of strings.")
        return [str(option) for option in value]

    @classmethod
    def json_schema(cls, schema: JsonSchema) -> Grammar:
        """The compact JSON of every instance of a schema."""
        source = json.dumps(schema.value, ensure_ascii=False, separators=(",", ":"))
        return cls(kind="json_schema", source=source)

    @classmethod
    def regex(cls, pattern: str) -> Grammar:
        """The texts that a regular expression (ECMA-262) matches as a whole.

        Raises:
            GrammarError: The pattern is empty.
        """
        if not pattern:
            raise GrammarError("The regular expression is empty, so that only no text matches.")
        return cls(kind="regex", source=pattern)

    @classmethod
    def choice(cls, options: Iterable[str]) -> Grammar:
        """One of some strings; which come twice counts once.

        Raises:
            GrammarError: There is no option.
        """
        distinct = list(dict.fromkeys(options))
        if not distinct:
            raise GrammarError("A choice needs at least one option.")
        return cls(kind="choice", source=json.dumps(distinct, ensure_ascii=False))

    @classmethod
    def lark(cls, source: str) -> Grammar:
        """The texts of a Lark grammar, in llguidance's dialect.

        Raises:
            GrammarError: The source is blank.

        See https://github.com/guidance-ai/llguidance/blob/main/docs/syntax.md.
        """
        if not source.strip():
            raise GrammarError("The Lark grammar is empty.", hint="It needs a rule named `start`.")
        return cls(kind="lark", source=source)

    @classmethod
    def for_output_type(
        cls, output_type: OutputType[T], bounds: Bounds | None
    ) -> tuple[Grammar, Report]:
        """The grammar of an output type, and what was done to get there.

        Args:
            output_type: What is to be written.
            bounds: Bounds for numbers, strings and arrays without their own; `None` for none.

        Returns:
            The grammar, and a report of the bounds put in and of the keywords that the mask cannot
            enforce and that validation checks instead.

        Raises:
            InputError: The bounds are neither `Bounds` nor `None`.
            SchemaError: No instance of the schema can be written.
            GrammarError: A regular expression, choice or Lark grammar is empty.
        """
        from gemma_structured.schema.bounds import bound, check_bounds  # noqa: PLC0415
        from gemma_structured.schema.code import CODE_KEYWORD, Code  # noqa: PLC0415
        from gemma_structured.schema.normalize import normalize  # noqa: PLC0415
        from gemma_structured.schema.terms import Choice, Lark, Regex  # noqa: PLC0415

        check_bounds(bounds)
        term = output_type.term
        if isinstance(term, Regex):
            return cls.regex(term.pattern), Report()
        if isinstance(term, Choice):
            return cls.choice(term.options), Report()
        if isinstance(term, Lark):
            return cls.lark(term.source), Report()
        if isinstance(term, Code):
            return cls.lark(term.lark.source), Report(residual=(("", CODE_KEYWORD),))
        bounded, applied = bound(term, bounds)
        normalized = normalize(bounded)
        report = Report(bounds=tuple(applied), residual=tuple(normalized.residual))
        return cls.json_schema(normalized.schema), report
