"""`CallFormat`: how a family writes calls: as a grammar, and back to calls."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from gemma_structured.exceptions import OutputValidationError
from gemma_structured.families.lark_rules import marker, repeated
from gemma_structured.families.turn import CallRules, ParsedTurn
from gemma_structured.parsing.partial import ValueParser
from gemma_structured.schema.bounds import bound
from gemma_structured.schema.normalize import normalize
from gemma_structured.schema.residual import ResidualChecks
from gemma_structured.types import Issue, JsonValue

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gemma_structured.families.base import ChatTokenizer
    from gemma_structured.grammar.vocabulary import Vocabulary
    from gemma_structured.messages import ToolCall
    from gemma_structured.schema.bounds import Bounds
    from gemma_structured.schema.normalize import Normalized
    from gemma_structured.tools import Tool, ToolOffer

__all__ = ["ArgumentParser", "CallFormat", "argument_checks", "call_error", "enforceable_schema"]

_TOKEN = re.compile(r"<\[(\D.*?)\]>")


class ArgumentParser(ValueParser, Protocol):
    """Follows the arguments of a call, which other text follows."""

    def feed_value(self, delta: str) -> int:
        """Read the next piece; say how many of its characters belong to the arguments."""
        ...


class CallFormat(ABC):
    """How a family writes calls.

    The form around the arguments is a `.lark` file beside the family's module, in which `<[NAME]>`
    is the control token of that name. It has the rules `first` and `next` for the first call and
    each later one, `close` for what ends them, and calls `tool` where the tool and its arguments
    stand. Those are written here, from the tools' schemas.

    Attributes:
        file: The `.lark` file.
        opener: The control token, or text, that begins the calls.
        tokens: The control tokens that a vocabulary has if its model was trained on this form.
        before: What stands between a tool's name and its arguments.
        begins: How the arguments begin, as a regular expression.
    """

    file: ClassVar[str]
    opener: ClassVar[str]
    tokens: ClassVar[tuple[str, ...]] = ()
    before: ClassVar[str] = ""
    begins: ClassVar[str] = r"\{"

    def is_native_to(self, vocabulary: Vocabulary | ChatTokenizer) -> bool:
        """Whether a model with these tokens was trained on this form."""
        return all(vocabulary.token_id(token) is not None for token in self.tokens)

    def rules(self, vocabulary: Vocabulary, offer: ToolOffer, bounds: Bounds | None) -> CallRules:
        """The calls that an offer allows.

        Args:
            vocabulary: Whose control tokens are meant.
            offer: The tools, and how many calls there may be.
            bounds: Bounds on arguments without their own; `None` for none.

        Raises:
            SchemaError: Nothing satisfies a tool's parameters.
        """
        least, most = offer.parallel
        tools = offer.callable_tools
        names = [f"tool_{number}" for number in range(len(tools))]
        written = [
            _with_tokens(_read(self.file), vocabulary),
            f"calls_rest: first {repeated('next', least - 1, most - 1)} {self.ending(offer)}",
            f"tool: {' | '.join(names)}",
            *(
                rule
                for name, tool in zip(names, tools, strict=True)
                for rule in self.tool_rules(name, tool, vocabulary, bounds)
            ),
        ]
        return CallRules(opener=self.opener, rules="\n".join(written))

    def ending(self, offer: ToolOffer) -> str:
        """The rule for what ends the calls."""
        del offer
        return "close"

    @abstractmethod
    def tool_rules(
        self, rule: str, tool: Tool[..., Any], vocabulary: Vocabulary, bounds: Bounds | None
    ) -> list[str]:
        """Rules for one tool's name and arguments, the first of them called `rule`."""

    @abstractmethod
    def argument_parser(self, tool: Tool[..., Any]) -> ArgumentParser:
        """What follows the arguments of a call of a tool while they are being written."""

    def parse(self, text: str, tools: Sequence[Tool[..., Any]]) -> ParsedTurn:
        """Read a turn, with its control tokens by name.

        Args:
            text: The turn, after its thought.
            tools: The tools that were offered.

        Raises:
            OutputValidationError: It holds something that begins as a call and is none.
        """
        before, opening, rest = text.partition(self.opener)
        if not opening:
            return ParsedTurn(text=text)
        try:
            calls, after = self.parse_calls(rest, tools)
        except (ValueError, RecursionError) as error:
            raise call_error(text, str(error)) from None
        return ParsedTurn(text=before + after, calls=tuple(calls))

    @abstractmethod
    def parse_calls(self, text: str, tools: Sequence[Tool[..., Any]]) -> tuple[list[ToolCall], str]:
        """Read the calls that follow the opening; what follows them is given back.

        Raises:
            ValueError: They are not well formed.
        """

    @abstractmethod
    def write(self, calls: Sequence[ToolCall], tools: Sequence[Tool[..., Any]]) -> str:
        """The calls as the model writes them, control tokens by name: the inverse of `parse`.

        Raises:
            InputError: An argument holds what the form cannot say.
        """


def call_error(text: str, message: str) -> OutputValidationError:
    """A turn whose calls are not well formed."""
    issue = Issue(message=f"a malformed tool call: {message}", source="syntax")
    return OutputValidationError(text=text, issues=[issue])


def enforceable_schema(tool: Tool[..., Any], bounds: Bounds | None) -> dict[str, JsonValue]:
    """A tool's parameters as a grammar can enforce them: flat, `$ref` only for recursion.

    Raises:
        SchemaError: Nothing satisfies them.
    """
    schema = _normalized(tool, bounds).schema.value
    # Objects that allow anything may come out as `true`, or with other types beside.
    return schema if isinstance(schema, dict) and schema else {"type": "object"}


def argument_checks(tool: Tool[..., Any], bounds: Bounds | None) -> ResidualChecks | None:
    """What a grammar cannot hold of a tool's parameters; `None` if it holds all.

    Raises:
        SchemaError: Nothing satisfies them.
    """
    return ResidualChecks.of(tool.parameters, _normalized(tool, bounds).residual)


def _normalized(tool: Tool[..., Any], bounds: Bounds | None) -> Normalized:
    bounded, _ = bound(tool.parameters, bounds)
    return normalize(bounded)


def members_of(
    schema: Mapping[str, JsonValue],
) -> tuple[dict[str, JsonValue], frozenset[str]]:
    """The named members of an object's schema, and which of them must be there."""
    properties = schema.get("properties")
    required = schema.get("required")
    return (
        dict(properties) if isinstance(properties, dict) else {},
        frozenset(map(str, required)) if isinstance(required, list) else frozenset(),
    )


@cache
def _read(file: str) -> str:
    return (files("gemma_structured.families") / file).read_text(encoding="utf-8")


def _with_tokens(source: str, vocabulary: Vocabulary) -> str:
    return _TOKEN.sub(lambda found: marker(found[1], vocabulary), source)
