"""What users may give instead of a Python type: a regular expression, a choice, a grammar."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Generic, cast

from pydantic_core import core_schema
from typing_extensions import TypeVar

from gemma_structured.exceptions import SchemaError
from gemma_structured.schema.code_parsers import LANGUAGE_FORMS, Language
from gemma_structured.schema.ecma import EcmaRegex
from gemma_structured.schema.lark_text import LarkText
from gemma_structured.schema.llguidance_limits import DEFAULT_LIMITS, LLGuidanceLimits

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue

__all__ = ["LARK_KEYWORD", "Choice", "Lark", "Regex", "Term", "TextTerm"]

T_co = TypeVar("T_co", covariant=True)

LARK_KEYWORD = "x-gemma-lark"
"""The keyword by which a string in a JSON Schema is held to a Lark grammar."""


class Term(Generic[T_co]):
    r"""An output type that is not a Python type; `T_co` is what it yields.

    The terms are `Regex`, `Choice`, `Lark` and `Code`, whose output is the text itself, and
    `JsonSchema`, whose output is a JSON value. The first four may also stand inside a type, as
    `Annotated[str, gs.Regex(r"[A-Z]{2}\d+")]`.
    """

    __slots__ = ()


class TextTerm(Term[str]):
    """What the terms of text share: their place inside a Pydantic type."""

    __slots__ = ()

    def matches(self, text: str) -> bool:
        """Whether the whole text is one that the term allows.

        Raises:
            SchemaError: It cannot be told: see the term.
        """
        raise NotImplementedError

    def fault(self, text: str) -> str | None:
        """What is wrong with a text, in words that a model can act on; `None` for nothing.

        Raises:
            SchemaError: It cannot be told: see the term.
        """
        return None if self.matches(text) else self.expectation

    def _keywords(self) -> dict[str, Any]:
        """The same constraint on a string, in JSON Schema."""
        raise NotImplementedError

    @property
    def expectation(self) -> str:
        """What is wrong with a text that does not match."""
        raise NotImplementedError

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        schema = handler(source)
        if schema["type"] not in {"str", "function-after", "literal"}:
            raise SchemaError(
                f"{type(self).__name__} says what a string looks like and cannot annotate "
                f"{source!r:.100}.",
                hint=f"Write Annotated[str, {type(self).__name__}(...)].",
            )

        def check(value: object) -> object:
            fault = self.fault(value) if isinstance(value, str) else self.expectation
            if fault is not None:
                raise ValueError(fault)
            return value

        return core_schema.no_info_after_validator_function(check, schema)

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        described = handler(schema)
        added = self._keywords()
        if described.keys() & added.keys():
            return {**described, "allOf": [*described.get("allOf", []), added]}
        return {**described, **added}


@dataclass(frozen=True, slots=True)
class Regex(TextTerm):
    r"""Text that matches a regular expression as a whole.

    Attributes:
        pattern: ECMA-262 with Unicode semantics, the dialect of JSON Schema
            (https://json-schema.org/draft/2020-12/json-schema-core#name-regular-expressions): `\d`
            is `[0-9]`, and no `^` and `$` are needed.

    Raises:
        SchemaError: The pattern is not a regular expression.
    """

    pattern: str

    def __post_init__(self) -> None:
        """Refuse what does not compile."""
        if not isinstance(cast("object", self.pattern), str):
            raise SchemaError(f"A pattern is a string, not a {type(self.pattern).__name__}.")
        _refuse_surrogates(self.pattern)
        EcmaRegex.of(self.pattern)

    def matches(self, text: str) -> bool:
        """Whether the whole text matches."""
        return EcmaRegex.of(self.pattern).fullmatch(text)

    def _keywords(self) -> dict[str, Any]:
        return {"pattern": f"^(?:{self.pattern})$"}

    @property
    def expectation(self) -> str:
        """What is wrong with a text that does not match."""
        return f"does not match {self.pattern!r:.200}"


@dataclass(frozen=True, slots=True, init=False)
class Choice(TextTerm):
    """One of several texts.

    Attributes:
        options: The texts, each once, in the order given.

    Raises:
        SchemaError: There is none, or one is not Unicode text.
    """

    options: tuple[str, ...]

    def __init__(self, options: Iterable[str]) -> None:
        if isinstance(options, str):
            raise SchemaError("The options of a Choice are a list of strings, not one string.")
        given: list[object] = list(options)
        for option in given:
            if not isinstance(option, str):
                raise SchemaError(
                    f"An option of a Choice is a string, not a {type(option).__name__}.",
                    hint="For other values use Literal or Enum.",
                )
            if not option.isascii():
                _refuse_surrogates(option)
        if not given:
            raise SchemaError("A Choice needs at least one option.")
        object.__setattr__(self, "options", tuple(dict.fromkeys(cast("list[str]", given))))

    def matches(self, text: str) -> bool:
        """Whether the text is one of the options."""
        return text in self.options

    def _keywords(self) -> dict[str, Any]:
        return {"enum": list(self.options)}

    @property
    def expectation(self) -> str:
        """What is wrong with a text that does not match."""
        return f"is not one of {', '.join(map(repr, self.options)):.200}"


@dataclass(frozen=True, slots=True)
class Lark(TextTerm):
    """Text that a grammar derives.

    Attributes:
        source: The grammar in llguidance's variant of Lark
            (https://github.com/guidance-ai/llguidance/blob/main/docs/syntax.md), with a rule
            `start`. Special tokens (`<[48]>`, `<name>`) and `%llguidance` options that speak of
            tokens are not text and are refused when the text is checked.
        limits: How much work the grammar may cause where texts are checked, which they are wherever
            a model answers. A local model has limits of its own. Inside a type there are only the
            default ones.

    Raises:
        SchemaError: The source is empty, passes a limit or, where llguidance is installed, does not
            compile.
    """

    source: str
    limits: LLGuidanceLimits = field(default=DEFAULT_LIMITS, kw_only=True, repr=False)

    @classmethod
    def ready(cls, name: Language) -> Lark:
        """A grammar that comes with the package.

        Args:
            name: `"sql"` for a query that reads, in the part of the standard that every engine has,
                or `"python"` for an expression. The comments at the head of its `source` say what
                is in it and what is not.

        Raises:
            SchemaError: There is none of that name.
        """
        if not isinstance(cast("object", name), str) or name not in LANGUAGE_FORMS:
            raise SchemaError(
                f"There is no ready grammar {name!r:.60}.",
                hint=f"There are {', '.join(map(repr, LANGUAGE_FORMS))}.",
            )
        return cls(_ready_source(name))

    def __post_init__(self) -> None:
        """Refuse what does not compile."""
        if not isinstance(cast("object", self.source), str) or not self.source.strip():
            raise SchemaError("A Lark grammar is a text with a rule `start`.")
        _refuse_surrogates(self.source)
        if not isinstance(cast("object", self.limits), LLGuidanceLimits):
            raise SchemaError(
                f"The limits of a Lark grammar are LLGuidanceLimits, not {self.limits!r:.40}.",
                hint="They are in gemma_structured.grammar.llguidance.",
            )
        LarkText.of(self.source, self.limits)

    def matches(self, text: str) -> bool:
        """Whether the grammar derives the text.

        Raises:
            LoadError: llguidance is not installed.
            SchemaError: The grammar is too large to check a text with.
        """
        return LarkText.of(self.source, self.limits).matches(text)

    def _keywords(self) -> dict[str, Any]:
        if self.limits != DEFAULT_LIMITS:
            raise SchemaError(
                "Inside a type, a Lark grammar has the default limits.",
                hint="Give `limits` where the grammar is the whole output type.",
            )
        return {LARK_KEYWORD: self.source}

    @property
    def expectation(self) -> str:
        """What is wrong with a text that does not match."""
        return "does not follow its Lark grammar"


@cache
def _ready_source(name: Language) -> str:
    path = files("gemma_structured.schema") / "grammars" / f"{name}.lark"
    return path.read_text(encoding="utf-8")


def _refuse_surrogates(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise SchemaError("Half a surrogate pair is not Unicode text.") from None
