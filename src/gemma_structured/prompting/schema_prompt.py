"""Output types in a compact notation that models read well: TypeScript with comments.

A JSON Schema of an invoice takes some three times the tokens of this:

```
{
  number: string, // as printed
  total: number, // in EUR; at least 0
  lines: {
    text: string,
    amount?: number,
  }[], // at most 50
}
```
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from gemma_structured.schema.json_schema import JsonSchema
from gemma_structured.schema.terms import Choice, Lark, Regex

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gemma_structured.schema.output_type import OutputType
    from gemma_structured.types import JsonValue

__all__ = ["describe_output", "describe_schema"]

_CONSTRAINTS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "more than {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "less than {}",
    "multipleOf": "a multiple of {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "pattern": "matches /{}/",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "minProperties": "at least {} entries",
    "maxProperties": "at most {} entries",
    "format": "{}",
}
_MAX_DEPTH = 32


def describe_output(output_type: OutputType[Any]) -> str:
    """What a model is told about the form of its answer."""
    term = output_type.term
    match term:
        case JsonSchema():
            return f"Answer with JSON only, in this form:\n{describe_schema(term)}"
        case Choice(options=options):
            return "Answer with one of these only:\n" + "\n".join(options)
        case Regex(pattern=pattern):
            return f"Answer only with a text that matches the regular expression {pattern}"
        case Lark(source=source):
            return f"Answer only with a text that this grammar (Lark) derives:\n{source}"
        case _:
            return ""


def describe_schema(schema: JsonSchema) -> str:
    """A JSON Schema in the compact notation.

    Definitions that are used more than once, or inside themselves, are named first.
    """
    return _Writer(schema.value).write()


class _Writer:
    def __init__(self, schema: JsonValue) -> None:
        self._root = schema
        self._uses = Counter(_references(schema))
        self._named: dict[str, str] = {}
        self._open: set[str] = set()

    def write(self) -> str:
        text = self._type(self._root, 0)
        if isinstance(self._root, dict) and (description := self._root.get("description")):
            text = f"// {_one_line(description)}\n{text}"
        return "\n".join([*self._named.values(), text])

    def _type(self, schema: JsonValue, depth: int) -> str:
        if not isinstance(schema, dict) or not schema:
            return "never" if schema is False else "any"
        if depth > _MAX_DEPTH:
            return "any"
        if isinstance(reference := schema.get("$ref"), str):
            return self._reference(reference, depth)
        if "const" in schema:
            return _json(schema["const"])
        if isinstance(options := schema.get("enum"), list):
            return " | ".join(map(_json, options))
        for keyword, joint in (("anyOf", " | "), ("oneOf", " | "), ("allOf", " & ")):
            if isinstance(branches := schema.get(keyword), list):
                rest = {
                    k: v
                    for k, v in schema.items()
                    if k not in {keyword, "description", "title", "default"}
                }
                written = list(dict.fromkeys(self._type(branch, depth + 1) for branch in branches))
                own = [self._type(rest, depth + 1)] if "type" in rest else []
                return " & ".join([*own, joint.join(written)]) if own else joint.join(written)
        kinds = schema.get("type")
        if isinstance(kinds, list):
            return " | ".join(self._type({**schema, "type": kind}, depth) for kind in kinds)
        return self._kind(kinds, schema, depth)

    def _kind(self, kind: JsonValue, schema: Mapping[str, JsonValue], depth: int) -> str:
        if kind == "object" or (kind is None and "properties" in schema):
            return self._object(schema, depth)
        if kind == "array" or (kind is None and "items" in schema):
            return self._array(schema, depth)
        return kind if isinstance(kind, str) else "any"

    def _object(self, schema: Mapping[str, JsonValue], depth: int) -> str:
        properties = schema.get("properties")
        required = schema.get("required")
        required = required if isinstance(required, list) else []
        indent = "  " * (depth + 1)
        lines = []
        if isinstance(properties, dict):
            for name, inner in properties.items():
                optional = "" if name in required else "?"
                key = name if name.isidentifier() else _json(name)
                written = self._type(inner, depth + 1)
                lines.append(f"{indent}{key}{optional}: {written},{self._comment(inner)}")
        extra = schema.get("additionalProperties", not properties)
        if extra is not False and (isinstance(extra, dict) or not lines):
            lines.append(f"{indent}[key: string]: {self._type(extra, depth + 1)},")
        return "{\n" + "\n".join(lines) + f"\n{'  ' * depth}}}" if lines else "{}"

    def _array(self, schema: Mapping[str, JsonValue], depth: int) -> str:
        fixed = schema.get("prefixItems")
        if isinstance(fixed, list):
            return "[" + ", ".join(self._type(item, depth + 1) for item in fixed) + "]"
        item = self._type(schema.get("items", True), depth)
        return f"({item})[]" if " | " in item and not item.startswith("{") else f"{item}[]"

    def _reference(self, reference: str, depth: int) -> str:
        name = reference.rsplit("/", 1)[-1] if reference != "#" else "Root"
        if self._uses[reference] == 1 and reference not in self._open:
            return self._resolved(reference, depth)
        if name not in self._named:
            self._named[name] = ""
            self._named[name] = f"type {name} = {self._resolved(reference, 0)}"
        return name

    def _resolved(self, reference: str, depth: int) -> str:
        target: JsonValue = self._root
        for part in reference.removeprefix("#").split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            if not isinstance(target, dict) or key not in target:
                return "any"
            target = target[key]
        self._open.add(reference)
        try:
            return self._type(target, depth)
        finally:
            self._open.discard(reference)

    def _comment(self, schema: JsonValue) -> str:
        if not isinstance(schema, dict):
            return ""
        notes = [_one_line(str(schema["description"]))] if schema.get("description") else []
        notes += [
            text.format(schema[keyword])
            for keyword, text in _CONSTRAINTS.items()
            if isinstance(schema.get(keyword), (str, int, float))
        ]
        return f" // {'; '.join(notes)}" if notes else ""


def _references(schema: JsonValue) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(reference := schema.get("$ref"), str):
            yield reference
        for inner in schema.values():
            yield from _references(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from _references(inner)


def _json(value: JsonValue) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _one_line(text: JsonValue) -> str:
    return " ".join(str(text).split())
