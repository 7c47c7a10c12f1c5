"""Calls whose arguments are JSON, in whatever form a family puts around them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar, cast

from gemma_structured.exceptions import InputError
from gemma_structured.families.call_format import CallFormat, enforceable_schema
from gemma_structured.families.lark_rules import JsonStyle, json_rule
from gemma_structured.parsing.partial import JsonValueParser
from gemma_structured.schema.json_schema import JsonSchema
from gemma_structured.schema.property_order import in_declared_order

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gemma_structured.grammar.vocabulary import Vocabulary
    from gemma_structured.messages import ToolCall
    from gemma_structured.schema.bounds import Bounds
    from gemma_structured.tools import Tool
    from gemma_structured.types import JsonValue

__all__ = ["JsonCalls", "JsonReader", "in_order", "write_arguments", "write_json"]


class JsonCalls(CallFormat):
    """What the families share whose arguments are one JSON object.

    Attributes:
        style: What stands between the members of the JSON.
    """

    style: ClassVar[JsonStyle] = (", ", ": ")
    after: ClassVar[str]

    def tool_rules(
        self, rule: str, tool: Tool[..., Any], vocabulary: Vocabulary, bounds: Bounds | None
    ) -> list[str]:
        """The tool's name, then its arguments as JSON."""
        del vocabulary
        schema = enforceable_schema(tool, bounds)
        head = json.dumps(f"{tool.name}{self.before}", ensure_ascii=False)
        tail = json.dumps(self.after) if self.after else ""
        return [
            f"{rule}: {head} {rule}_arguments {tail}",
            f"{rule}_arguments: {json_rule(schema, self.style)}",
        ]

    def argument_parser(self, tool: Tool[..., Any]) -> JsonValueParser:
        """What follows JSON."""
        del tool
        return JsonValueParser()

    def write_arguments(self, call: ToolCall, tools: Sequence[Tool[..., Any]]) -> str:
        """A call's arguments, its members in the order that the tool declares."""
        return write_arguments(call, tools, self.style)


class JsonReader:
    """Reads JSON, and the fixed text around it, from a text.

    Attributes:
        at: How far the text has been read.
    """

    def __init__(self, text: str, at: int = 0) -> None:
        self._text = text
        self.at = at

    def take(self, expected: str) -> bool:
        """Go past a text, if it comes next."""
        if self._text.startswith(expected, self.at):
            self.at += len(expected)
            return True
        return False

    def starts(self, expected: tuple[str, ...]) -> bool:
        """Whether one of some texts comes next."""
        return self._text.startswith(expected, self.at)

    def expect(self, expected: str) -> None:
        """Go past a text.

        Raises:
            ValueError: Something else comes next.
        """
        if not self.take(expected):
            raise ValueError(f"expected {expected!r} at character {self.at}")

    def until(self, end: str) -> str:
        """The text before another, which is gone past.

        Raises:
            ValueError: The other does not come.
        """
        found = self._text.find(end, self.at)
        if found < 0:
            raise ValueError(f"expected {end!r} after character {self.at}")
        text, self.at = self._text[self.at : found], found + len(end)
        return text

    def value(self) -> JsonValue:
        """A JSON value, which says itself where it ends.

        Raises:
            ValueError: There is none, or an object has a key twice.
        """
        value: JsonValue
        value, self.at = _DECODER.raw_decode(self._text, self.at)
        return value

    def arguments(self) -> dict[str, JsonValue]:
        """A JSON object.

        Raises:
            ValueError: Something else comes next.
        """
        value = self.value()
        if not isinstance(value, dict):
            msg = f"the arguments before character {self.at} are no object"
            raise ValueError(msg)  # noqa: TRY004 - of the text, not of the program
        return value

    @property
    def rest(self) -> str:
        """What has not been read."""
        return self._text[self.at :]


def write_arguments(
    call: ToolCall, tools: Sequence[Tool[..., Any]], style: JsonStyle = (", ", ": ")
) -> str:
    """A call's arguments as JSON, in the order that its tool declares.

    Raises:
        InputError: They are not JSON.
    """
    try:
        written = in_order(call, tools)
        return write_json(written, style)
    except (TypeError, ValueError):
        raise InputError(f"The arguments of a call of {call.name} are not JSON.") from None


def write_json(value: JsonValue, style: JsonStyle) -> str:
    """A value as the grammar has JSON: DEL is escaped, as control characters are.

    Raises:
        ValueError: A number is not finite.
    """
    text = json.dumps(value, ensure_ascii=False, separators=style, allow_nan=False)
    return text.replace("\x7f", "\\u007f")


def in_order(call: ToolCall, tools: Sequence[Tool[..., Any]]) -> dict[str, JsonValue]:
    """A call's arguments in the order that its tool declares, at every level."""
    written: Any = dict(call.written)
    tool = next((each for each in tools if each.name == call.name), None)
    if tool is not None and isinstance(tool.arguments.term, JsonSchema):
        written = in_declared_order(written, tool.parameters, tool.arguments.validator)
    return cast("dict[str, JsonValue]", written)


def _members(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a key comes twice")
    return members


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError("a number is too large")
    return value


_DECODER = json.JSONDecoder(
    object_pairs_hook=_members, parse_constant=_refuse, parse_float=_finite, strict=True
)
