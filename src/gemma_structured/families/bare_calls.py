"""Calls in Gemma's bare notation: `call:NAME{k:v,…}` between two control tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from gemma_structured.exceptions import InputError
from gemma_structured.families.bare_partial import BareValueParser
from gemma_structured.families.bare_rules import BareRules
from gemma_structured.families.bare_values import BareReader, write_bare
from gemma_structured.families.call_format import CallFormat, enforceable_schema
from gemma_structured.families.lark_rules import literal, marker
from gemma_structured.messages import ToolCall

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gemma_structured.grammar.vocabulary import Vocabulary
    from gemma_structured.schema.bounds import Bounds
    from gemma_structured.tools import Tool

__all__ = ["BareCalls"]

_HEAD = "call:"


class BareCalls(CallFormat):
    """What Gemma 4 and FunctionGemma share.

    Attributes:
        end: The control token after a call.
        quote: The control token on both sides of a string.
    """

    end: ClassVar[str]
    quote: ClassVar[str]

    def tool_rules(
        self, rule: str, tool: Tool[..., Any], vocabulary: Vocabulary, bounds: Bounds | None
    ) -> list[str]:
        """The tool's name, then its arguments as an object in the bare notation."""
        arguments = BareRules(
            enforceable_schema(tool, bounds),
            prefix=rule,
            quote=marker(self.quote, vocabulary),
            quote_text=self.quote,
        )
        root = arguments.root()
        return [f"{rule}: {literal(tool.name)} {root}", *arguments.rules]

    def argument_parser(self, tool: Tool[..., Any]) -> BareValueParser:
        """What follows the bare notation."""
        del tool
        return BareValueParser(self.quote)

    def parse_calls(self, text: str, tools: Sequence[Tool[..., Any]]) -> tuple[list[ToolCall], str]:
        """Read calls until something else than a call follows."""
        del tools  # the notation tells its types itself
        reader = BareReader(text, self.quote)
        calls: list[ToolCall] = []
        while not calls or reader.take(self.opener):
            reader.expect(_HEAD)
            start = text.find("{", reader.at)
            if start < 0:
                raise ValueError("a call has no arguments")
            name, reader.at = text[reader.at : start], start
            arguments = reader.value()
            assert isinstance(arguments, dict)
            reader.expect(self.end)
            calls.append(ToolCall(name, arguments))
        return calls, text[reader.at :]

    def write(self, calls: Sequence[ToolCall], tools: Sequence[Tool[..., Any]]) -> str:
        """The calls one after the other."""
        del tools
        if any("{" in call.name for call in calls):
            raise InputError("A tool's name holds a brace.")
        return "".join(
            f"{self.opener}{_HEAD}{call.name}{write_bare(dict(call.written), self.quote)}{self.end}"
            for call in calls
        )
