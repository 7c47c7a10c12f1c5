"""Calls as tags: `<invoke name="f">` around a `<parameter name="k">` for each argument.

Texts stand in the tags as they are, nothing in them escaped, and all else as JSON. Where a
parameter may be a text or null, `null` is null, and the texts that would be read otherwise are
written as JSON strings.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar, cast

from gemma_structured.exceptions import InputError
from gemma_structured.families.call_format import CallFormat, enforceable_schema, members_of
from gemma_structured.families.invoke_partial import END, InvokeValueParser, ParameterKind
from gemma_structured.families.json_calls import JsonReader, in_order, write_json
from gemma_structured.families.lark_rules import escaped, json_rule, literal, repeated
from gemma_structured.families.text_rules import text_terminal
from gemma_structured.messages import ToolCall

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gemma_structured.families.lark_rules import JsonStyle
    from gemma_structured.grammar.vocabulary import Vocabulary
    from gemma_structured.schema.bounds import Bounds
    from gemma_structured.tools import Tool
    from gemma_structured.types import JsonValue

__all__ = ["InvokeCalls"]

_FREE_KEY = r"[^\x22<>\x00-\x1f]{1,128}"
_MAX_FREE = 64


class InvokeCalls(CallFormat):
    """What MiniMax M2 writes.

    Attributes:
        close: The control token after the calls.
    """

    close: ClassVar[str]
    before: ClassVar[str] = '">'
    begins: ClassVar[str] = r"\n"
    style: ClassVar[JsonStyle] = (", ", ": ")

    def tool_rules(
        self, rule: str, tool: Tool[..., Any], vocabulary: Vocabulary, bounds: Bounds | None
    ) -> list[str]:
        """The tool's name, then a tag for each argument, in the order declared."""
        del vocabulary
        schema = enforceable_schema(tool, bounds)
        definitions = {"$defs": schema["$defs"]} if "$defs" in schema else {}
        options: list[str] = []
        rules: list[str] = []
        for number, option in enumerate(_objects(schema)):
            name = f"{rule}_{number}"
            options.append(name)
            rules += _parameters(name, option, definitions, self.style)
        head = literal(f'{tool.name}">')
        return [f'{rule}: {head} ({" | ".join(options)}) "\\n</invoke>"', *rules]

    def argument_parser(self, tool: Tool[..., Any]) -> InvokeValueParser:
        """What follows the tags, up to the end of the call."""
        return InvokeValueParser(_kinds(tool))

    def parse_calls(self, text: str, tools: Sequence[Tool[..., Any]]) -> tuple[list[ToolCall], str]:
        """Read calls up to the closing token; the tools' schemas tell texts from JSON."""
        reader = JsonReader(text)
        calls: list[ToolCall] = []
        while reader.take('\n<invoke name="'):
            name = reader.until('">')
            kinds = _kinds(next((tool for tool in tools if tool.name == name), None))
            arguments: dict[str, JsonValue] = {}
            while reader.take('\n<parameter name="'):
                key = reader.until('">')
                if key in arguments:
                    raise ValueError(f"a parameter comes twice before character {reader.at}")
                arguments[key] = _read(reader, kinds.get(key, "json"))
            reader.expect("\n</invoke>")
            calls.append(ToolCall(name, arguments))
        reader.expect(f"\n{self.close}")
        return calls, reader.rest

    def write(self, calls: Sequence[ToolCall], tools: Sequence[Tool[..., Any]]) -> str:
        """The calls between the two control tokens."""
        written = [self.opener]
        for call in calls:
            tool = next((tool for tool in tools if tool.name == call.name), None)
            kinds = _kinds(tool)
            written.append(f'<invoke name="{call.name}">')
            for key, value in in_order(call, tools).items():
                if any(sign in key for sign in '"<>\n'):
                    raise InputError(f"A parameter cannot be named {key!r:.80} in a tag.")
                body = _write(value, kinds.get(key, "json"), self.style)
                written.append(f'<parameter name="{key}">{body}{END}')
            written.append("</invoke>")
        return "\n".join([*written, self.close])


def _objects(schema: Mapping[str, JsonValue]) -> list[Mapping[str, JsonValue]]:
    """The objects that a tool's parameters may be."""
    options = schema.get("anyOf")
    if isinstance(options, list):
        return [
            found
            for option in options
            if isinstance(option, dict)
            for found in _objects({**option, "$defs": schema.get("$defs", {})})
        ]
    return [_resolved(schema, schema)]


def _resolved(
    schema: Mapping[str, JsonValue], root: Mapping[str, JsonValue]
) -> Mapping[str, JsonValue]:
    definitions = root.get("$defs")
    while isinstance(reference := schema.get("$ref"), str) and isinstance(definitions, dict):
        target = definitions.get(reference.rpartition("/")[2])
        if not isinstance(target, dict):
            return {}
        schema = target
    return schema


def _parameters(
    name: str,
    schema: Mapping[str, JsonValue],
    definitions: Mapping[str, JsonValue],
    style: JsonStyle,
) -> list[str]:
    """Rules for the tags of one object."""
    properties, required = members_of(schema)
    rules: list[str] = []
    tags: list[str] = []
    for number, (key, value) in enumerate(properties.items()):
        if value is False:
            continue
        body, more = _value(f"{name}_{number}", value, definitions, style)
        rules += more
        tag = f"{literal(_tag(key))} {body}"
        tags.append(tag if key in required else f"({tag})?")
    rest = schema.get("additionalProperties", True)
    if rest is not False:
        body, more = _value(f"{name}_rest", rest, definitions, style)
        others = "".join(f" & ~{json.dumps(key, ensure_ascii=False)}" for key in properties)
        rules += [*more, f"{name.upper()}_KEY: /{_FREE_KEY}/{others}"]
        opening, closing = (literal(part) for part in _tag("\0").split("\0"))
        tags.append(repeated(f"{opening} {name.upper()}_KEY {closing} {body}", 0, _MAX_FREE))
    return [f"{name}: {' '.join(tags) or literal('')}", *rules]


def _tag(key: str) -> str:
    return f'\n<parameter name="{key}">'


def _value(
    name: str, schema: JsonValue, definitions: Mapping[str, JsonValue], style: JsonStyle
) -> tuple[str, list[str]]:
    """An expression for a parameter's value with its closing tag, and the rules that it needs."""
    whole = {**(schema if isinstance(schema, dict) else {}), **definitions}
    kind = _kind(_resolved(whole, whole))
    as_json = f"{name}_json: {json_rule(whole, style)} {literal(END)}"
    if kind == "json":
        return f"{name}_json", [as_json]
    forms: list[str] = [f"{name}_json"] if kind == "text or null" else []
    rules: list[str] = [as_json] if kind == "text or null" else []
    for number, text in enumerate(_texts(_resolved(whole, whole))):
        rule, empty = _raw_text(f"{name}_{number}", text, quoted=kind == "text or null")
        forms += [f"{name}_{number}"] if rule else []
        rules += rule
        forms += [literal(END)] if empty else []
    return f"({' | '.join(forms)})", rules


def _raw_text(
    name: str, schema: Mapping[str, JsonValue], *, quoted: bool
) -> tuple[list[str], bool]:
    """Rules for a text as it is, up to its closing tag, and whether the empty text is one.

    Args:
        name: The first rule's name.
        schema: Of strings.
        quoted: Whether texts that begin with a quotation mark are written as JSON instead.
    """
    body, empty = text_terminal(schema, END)
    if not body:
        return [], empty
    if {"enum", "pattern", "allOf"} & schema.keys():
        barred = ' & ~/(?s:".*)/' if quoted else ""
        text = f"{name}_text".upper()
        return [f"{name}: {name.upper()}", f"{name.upper()}: {text} {literal(END)}",
                f"{text}: ({body}){barred}"], empty  # fmt: skip
    # Lazy: it ends with the first closing tag, which therefore is not in it. As many characters as
    # there must be at least are such that the tag does not begin among them.
    least = max(_length(schema, "minLength") or 0, 1)
    most = _length(schema, "maxLength")
    first = '(?:[^<"]|<[^\\/]|<\\/[^p])' if quoted else "(?:[^<]|<[^\\/]|<\\/[^p])"
    head = first + ("(?:[^<]|<[^\\/]|<\\/[^p])" + f"{{{least - 1}}}" if least > 1 else "")
    more = "" if most is None else max(most - least, 0)
    return [f"{name}[lazy]: /{head}(?s:.){{0,{more}}}{escaped(END)}/"], empty


def _length(schema: Mapping[str, JsonValue], keyword: str) -> int | None:
    value = schema.get(keyword)
    return int(value) if isinstance(value, (int, float)) else None


def _texts(schema: Mapping[str, JsonValue]) -> list[Mapping[str, JsonValue]]:
    """The strings among a schema's alternatives."""
    options = schema.get("anyOf")
    if isinstance(options, list):
        return [found for each in options if isinstance(each, dict) for found in _texts(each)]
    values = schema.get("enum")
    if isinstance(values, list):
        return [{"enum": [each for each in values if isinstance(each, str)]}]
    types = schema.get("type")
    return [schema] if types == "string" or (isinstance(types, list) and "string" in types) else []


def _kind(schema: Mapping[str, JsonValue]) -> ParameterKind:
    """How a parameter is written."""
    types = _types(schema)
    if types == {"string"}:
        return "text"
    return "text or null" if types == {"string", "null"} else "json"


def _types(schema: Mapping[str, JsonValue]) -> set[str]:
    options = schema.get("anyOf")
    if isinstance(options, list):
        return set[str]().union(
            *(_types(each) if isinstance(each, dict) else {"any"} for each in options)
        )
    values = schema.get("enum")
    if isinstance(values, list):
        return {"string" if isinstance(v, str) else "null" if v is None else "any" for v in values}
    types = schema.get("type", "any")
    return {types} if isinstance(types, str) else set(cast("list[str]", types))


def _kinds(tool: Tool[..., Any] | None) -> dict[str, ParameterKind]:
    """How each parameter of a tool is written."""
    if tool is None:
        return {}
    schema = enforceable_schema(tool, None)
    kinds: dict[str, ParameterKind] = {}
    for option in _objects(schema):
        for key, value in members_of(option)[0].items():
            if isinstance(value, dict):
                kinds[key] = _kind(_resolved(value, schema))
    return kinds


def _read(reader: JsonReader, kind: ParameterKind) -> JsonValue:
    if kind == "text" or (kind == "text or null" and not reader.starts(('"', f"null{END}"))):
        return reader.until(END)
    value = reader.value()
    reader.expect(END)
    return value


def _write(value: JsonValue, kind: ParameterKind, style: JsonStyle) -> str:
    plain = kind == "text" or (kind == "text or null" and value != "null")
    if isinstance(value, str) and plain and not (kind != "text" and value.startswith('"')):
        if END in value:
            raise InputError(f"A text that holds {END} cannot be written before one.")
        return value
    try:
        return write_json(value, style)
    except (TypeError, ValueError):
        raise InputError("An argument is not JSON.") from None
