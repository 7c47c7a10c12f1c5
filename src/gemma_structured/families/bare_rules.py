"""JSON Schema → Lark rules for Gemma's bare notation: `{k:<|"|>text<|"|>,n:[1,2]}`.

Strings stand between two quote tokens with nothing in them escaped, keys are bare and in the order
of their lower-case forms at every level, and nothing is separated by white space.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, cast

from gemma_structured.exceptions import GrammarError
from gemma_structured.families.bare_values import BARE_KEY, sorted_members
from gemma_structured.families.call_format import members_of
from gemma_structured.families.lark_rules import escaped, json_rule, literal, repeated, without
from gemma_structured.families.text_rules import pattern_part, text_terminal
from gemma_structured.schema.ecma import EcmaRegex

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gemma_structured.types import JsonValue

__all__ = ["BareRules"]

_NUMBERS: Final = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
_ANY: Final = ("null", "boolean", "number", "string", "array", "object")
_LOOSE_ITEMS: Final = 256
_FREE_KEY: Final = rf"(?:{BARE_KEY}){{1,128}}"


class BareRules:
    """Writes the rules of one schema.

    Args:
        schema: As `normalize` gives it: flat, with `$ref` to `$defs` only.
        prefix: Begins the names of the rules.
        quote: The quote token, as Lark.
        quote_text: The quote token's name, which no string may spell.

    Attributes:
        rules: The rules so far.
    """

    def __init__(
        self, schema: Mapping[str, JsonValue], *, prefix: str, quote: str, quote_text: str
    ) -> None:
        definitions = schema.get("$defs")
        self._definitions = definitions if isinstance(definitions, dict) else {}
        self._schema = {key: value for key, value in schema.items() if key != "$defs"}
        self._prefix = prefix
        self._quote = quote
        self._quote_text = quote_text
        self._names: dict[str, str] = {}
        self._count = 0
        self.rules: list[str] = []

    def root(self) -> str:
        """The rule for the whole schema; those it needs are put into `rules`."""
        return self._value(self._schema)

    def _rule(self, body: str) -> str:
        self._count += 1
        name = f"{self._prefix}_{self._count}"
        self.rules.append(f"{name}: {body}")
        return name

    def _terminal(self, body: str) -> str:
        self._count += 1
        name = f"{self._prefix}_{self._count}".upper()
        self.rules.append(f"{name}: {body}")
        return name

    def _value(self, schema: JsonValue) -> str:
        """An expression for the values of a schema."""
        if schema is False:
            raise GrammarError("A part of a tool's parameters can have no value.")
        if not isinstance(schema, dict) or not schema:
            return self._any()
        if isinstance(reference := schema.get("$ref"), str):
            return self._reference(reference.rpartition("/")[2])
        if isinstance(options := schema.get("anyOf"), list):
            return f"({' | '.join(self._value(option) for option in options)})"
        if isinstance(values := schema.get("enum"), list):
            return self._enum(values)
        types = schema.get("type", list(_ANY))
        names = [types] if isinstance(types, str) else cast("list[str]", types)
        return f"({' | '.join(self._typed(name, schema) for name in names)})"

    def _typed(self, name: str, schema: Mapping[str, JsonValue]) -> str:
        match name:
            case "string":
                return self._string(schema)
            case "array":
                return self._array(schema)
            case "object":
                return self._object(schema)
            case "null" | "boolean":
                return self._rule(json_rule({"type": name}))
            case _:
                kept = {key: schema[key] for key in _NUMBERS if key in schema}
                return self._rule(json_rule({"type": name, **kept}))

    def _reference(self, name: str) -> str:
        if name not in self._names:
            self._count += 1
            self._names[name] = rule = f"{self._prefix}_{self._count}"
            self.rules.append(f"{rule}: {self._value(self._definitions.get(name, True))}")
        return self._names[name]

    def _any(self) -> str:
        """Any value: one rule that refers to itself."""
        if "*" not in self._names:
            self._count += 1
            self._names["*"] = rule = f"{self._prefix}_{self._count}"
            options = [self._typed(kind, {"items": True}) for kind in _ANY]
            self.rules.append(f"{rule}: {' | '.join(options)}")
        return self._names["*"]

    def _enum(self, values: list[JsonValue]) -> str:
        others = [self._constant(each) for each in values if not isinstance(each, str)]
        texts = [each for each in values if isinstance(each, str) and self._quote_text not in each]
        if texts:
            others.append(self._string({"enum": cast("JsonValue", texts)}))
        if not others:
            raise GrammarError(f"No text without {self._quote_text} is among an enum's options.")
        return f"({' | '.join(others)})"

    def _constant(self, value: JsonValue) -> str:
        """One value, written out."""
        if isinstance(value, str):
            return self._enum([value])
        if isinstance(value, list):
            return " ".join(['"["', ' "," '.join(map(self._constant, value)), '"]"'])
        if isinstance(value, dict):
            members = [
                f"{self._key(key)} {self._constant(member)}"
                for key, member in sorted_members(value)
            ]
            return " ".join(['"{"', ' "," '.join(members), '"}"'])
        return self._rule(json_rule({"const": value}))

    def _string(self, schema: Mapping[str, JsonValue]) -> str:
        """Text between two quotes; the empty one has no token between them."""
        body, empty = text_terminal(schema, self._quote_text)
        if not body:
            return f"{self._quote} {self._quote}"
        terminal = self._terminal(body)
        return f"{self._quote} {terminal}{'?' if empty else ''} {self._quote}"

    def _array(self, schema: Mapping[str, JsonValue]) -> str:
        prefix = schema.get("prefixItems")
        fixed = [self._value(each) for each in prefix] if isinstance(prefix, list) else []
        least = _count(schema, "minItems", 0)
        most = _count(schema, "maxItems", _LOOSE_ITEMS)
        fixed = fixed[:most]
        items = schema.get("items", True)
        more = most - len(fixed) if items is not False else 0
        item = self._value(items) if more else ""
        # From the last item to the first: what may follow once so many are there.
        rest = repeated(
            f'"," {item}', max(0, least - max(len(fixed), 1)), more - (0 if fixed else 1)
        )
        if not fixed:
            body = f"{item} {rest}" if more else ""
            return f'"[" {body if least else f"({body})?" if body else ""} "]"'
        for number in range(len(fixed) - 1, 0, -1):
            member = f'"," {fixed[number]} {rest}'
            rest = member if number < least else f"({member})?"
        body = f"{fixed[0]} {rest}"
        return f'"[" {body if least else f"({body})?"} "]"'

    def _object(self, schema: Mapping[str, JsonValue]) -> str:
        properties, required = members_of(schema)
        members = [
            (f"{self._key(key)} {self._value(value)}", key in required)
            for key, value in sorted_members(properties)
            if value is not False and (key in required or self._quote_text not in key)
        ]
        free = self._free_members(schema, list(properties))
        most = _count(schema, "maxProperties", _LOOSE_ITEMS)
        room = max(most - len(required), 0)
        later = self._rule(repeated(f'"," {free}', 0, room)) if free and room else ""
        alone = ""
        if free and room:
            least = max(_count(schema, "minProperties", 0) - len(properties), 0)
            some = f"{free} {repeated(f'{chr(34)},{chr(34)} {free}', max(least - 1, 0), room - 1)}"
            alone = some
        return f'"{{" {self._chain(members, later, alone)} "}}"'

    def _chain(self, members: list[tuple[str, bool]], later: str, alone: str) -> str:
        """Members in their order; whichever comes first has no comma before it.

        Args:
            members: Each with whether it is required.
            later: What may follow them.
            alone: What may stand in their place where none is required.
        """
        firsts: list[str] = [alone] if alone else []
        optional = True
        after = later
        for number, (member, is_required) in reversed(list(enumerate(members))):
            first = f"{member} {after}"
            firsts = [first] if is_required else [first, *firsts]
            optional = optional and not is_required
            if number:
                comma = f'"," {member}' if is_required else f'("," {member})?'
                after = self._rule(f"{comma} {after}")
        if not firsts:
            return ""
        return f"({' | '.join(firsts)}){'?' if optional else ''}"

    def _key(self, key: str) -> str:
        if re.fullmatch(f"(?:{BARE_KEY})+", key):
            return literal(f"{key}:")
        if self._quote_text in key:
            raise GrammarError(f"A tool's parameter cannot be named {key!r:.80}.")
        return (
            f'{self._quote} {literal(key)} {self._quote} ":"'
            if key
            else f'{self._quote} {self._quote} ":"'
        )

    def _free_members(self, schema: Mapping[str, JsonValue], named: list[str]) -> str:
        """A member whose key is not listed; empty if there may be none."""
        others = "".join(f" & ~/{escaped(key)}/" for key in named if key)
        options: list[str] = []
        patterns = schema.get("patternProperties")
        keyed = patterns if isinstance(patterns, dict) else {}
        for pattern, value in keyed.items():
            if value is not False:
                empty = "" not in named and EcmaRegex.of(pattern).search("")
                key = self._free_key(f" & {pattern_part(pattern)}{others}", empty=empty)
                options.append(f"{key} {self._value(value)}")
        rest = schema.get("additionalProperties", True)
        if rest is not False:
            others += "".join(f" & ~{pattern_part(pattern)}" for pattern in keyed)
            empty = "" not in named and not any(EcmaRegex.of(p).search("") for p in keyed)
            key = self._free_key(others, empty=empty)
            options.append(f"{key} {self._value(rest)}")
        return f"({' | '.join(options)})" if options else ""

    def _free_key(self, restriction: str, *, empty: bool) -> str:
        """A key that is not listed: bare, or between quotes where it cannot be bare."""
        bare = self._terminal(f"/{_FREE_KEY}/{restriction}")
        quoted = self._terminal(
            f"/(?s:.){{1,128}}/ & ~/{_FREE_KEY}/{restriction}{without(self._quote_text)}"
        )
        between = f"{quoted}?" if empty else quoted
        return f'({bare} | {self._quote} {between} {self._quote}) ":"'


def _count(schema: Mapping[str, JsonValue], keyword: str, default: int) -> int:
    value = schema.get(keyword)
    return int(value) if isinstance(value, (int, float)) else default
