"""The grammars of the conformance suite, with texts that belong to them and texts that do not."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gemma_structured.grammar.spec import Grammar
from gemma_structured.schema.json_schema import JsonSchema

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemma_structured.types import JsonValue

__all__ = ["CASES", "GrammarCase"]


@dataclass(frozen=True, kw_only=True)
class GrammarCase:
    """A grammar and what is known of it.

    Attributes:
        name: What a failing test is called.
        grammar: The grammar.
        valid: Texts that belong to it.
        invalid: Texts that do not.
        is_valid: Tells for any text whether it belongs, where there is an independent way to know.
    """

    name: str
    grammar: Grammar
    valid: tuple[str, ...] = ()
    invalid: tuple[str, ...] = ()
    is_valid: Callable[[str], bool] | None = None


def schema_case(
    name: str, schema: dict[str, JsonValue], valid: tuple[str, ...], invalid: tuple[str, ...]
) -> GrammarCase:
    """A case of a JSON Schema; whatever is written is checked with `jsonschema`."""
    from gemma_structured.schema.validator import compile_validator  # noqa: PLC0415

    compiled = JsonSchema(schema)
    validator = compile_validator(compiled)

    def is_valid(text: str) -> bool:
        return validator.is_valid(json.loads(text))

    return GrammarCase(
        name=name,
        grammar=Grammar.json_schema(compiled),
        valid=valid,
        invalid=invalid,
        is_valid=is_valid,
    )


def _closed(properties: dict[str, JsonValue], *required: str) -> dict[str, JsonValue]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


_TICKET = _closed(
    {
        "title": {"type": "string", "maxLength": 8},
        "priority": {"enum": ["low", "high"]},
        "open": {"type": "boolean"},
        "tags": {"type": "array", "items": {"type": "string", "maxLength": 3}, "maxItems": 2},
        "parent": {"anyOf": [{"type": "null"}, {"type": "integer"}]},
    },
    "title",
    "priority",
    "open",
)

CASES: tuple[GrammarCase, ...] = (
    schema_case(
        "an object",
        _TICKET,
        valid=(
            '{"title":"a","priority":"low","open":true}',
            '{"title":"é🎉","priority":"high","open":false,"tags":["x","y"],"parent":null}',
            '{"title":"\\"\\\\\\n","priority":"low","open":true,"parent":-12}',
        ),
        invalid=(
            "",
            "{}",
            '{"title":"a","priority":"low","open":true',
            '{"title":"a","priority":"low"}',
            '{"title":"123456789","priority":"low","open":true}',
            '{"title":"a","priority":"mid","open":true}',
            '{"title": "a","priority":"low","open":true}',
            '{"title":"a","priority":"low","open":true,"more":1}',
            '{"title":"a","priority":"low","open":true,"tags":["a","b","c"]}',
            '{"title":"a","priority":"low","open":true}\n',
        ),
    ),
    schema_case(
        "an array",
        {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 3},
        valid=("[1,2]", "[0,-1,22]"),
        invalid=("[1]", "[1,2,3,4]", "[1,2", "[01,2]", "[1, 2]"),
    ),
    schema_case(
        "a number",
        {"type": "number"},
        valid=("0", "-1.5", "12.25"),
        invalid=("", "-", "01", "1.", ".5", "+1", "NaN", "1,5"),
    ),
    schema_case(
        "an integer in a range",
        {"type": "integer", "minimum": 0, "maximum": 999},
        valid=("0", "12", "999"),
        invalid=("-1", "1000", "1.5", "007"),
    ),
    schema_case(
        "a reference",
        {"$ref": "#/$defs/pair", "$defs": {"pair": _closed({"a": {"type": "null"}}, "a")}},
        valid=('{"a":null}',),
        invalid=('{"a":1}', "{}"),
    ),
    schema_case(
        "a recursive tree",
        {
            "$ref": "#/$defs/node",
            "$defs": {
                "node": _closed(
                    {"value": {"type": "boolean"}, "next": {"$ref": "#/$defs/node"}}, "value"
                )
            },
        },
        valid=('{"value":true}', '{"value":true,"next":{"value":false,"next":{"value":true}}}'),
        invalid=('{"value":true,"next":{}}', '{"next":{"value":true}}'),
    ),
    schema_case(
        "a date",
        {"type": "string", "format": "date"},
        valid=('"2024-02-29"', '"1999-12-31"'),
        invalid=('"2024-13-01"', '"2024-02-30"', '"today"', '"2024-1-1"'),
    ),
    GrammarCase(
        name="a regular expression",
        grammar=Grammar.regex(r"[A-Z]{2}\d{3,}(?:-[a-f]+)?"),
        valid=("AB123", "XY00009-cafe"),
        invalid=("", "AB12", "xAB123", "AB123-", "AB123x", "AB\u0661\u0662\u0663"),
    ),
    GrammarCase(
        name="a regular expression that may match nothing",
        grammar=Grammar.regex("(?:ab)*"),
        valid=("", "ab", "abab"),
        invalid=("a", "aba", "ba"),
    ),
    GrammarCase(
        name="a choice",
        grammar=Grammar.choice(["red", "green", "gré", "re", 'a"b\\\n', "<eos>"]),
        valid=("red", "re", "green", "gré", 'a"b\\\n', "<eos>"),
        invalid=("", "r", "redd", "gre", "Red"),
    ),
    GrammarCase(
        name="a choice that may be empty",
        grammar=Grammar.choice(["", "x"]),
        valid=("", "x"),
        invalid=("xx", " "),
    ),
    GrammarCase(
        name="a Lark grammar",
        grammar=Grammar.lark('start: expr\nexpr: NUM | "(" expr "+" expr ")"\nNUM: /[0-9]{1,3}/'),
        valid=("1", "(1+2)", "((1+2)+345)"),
        invalid=("", "(1+2", "1+2", "1234", "(1 + 2)"),
    ),
)
"""One grammar of each kind and more; a backend runs those that it supports."""
