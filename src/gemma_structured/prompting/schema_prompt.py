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

from gemma_structured.prompting.schema_notes import constraints, one_line
from gemma_structured.schema.code import Code
from gemma_structured.schema.code_parsers import LANGUAGE_FORMS
from gemma_structured.schema.json_schema import JsonSchema
from gemma_structured.schema.terms import Choice, Lark, Regex

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gemma_structured.schema.output_type import OutputType
    from gemma_structured.types import JsonValue

__all__ = ["describe_output", "describe_schema"]

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
        case Code(language=language):
            return f"Answer only with {LANGUAGE_FORMS[language]}, and nothing around it."
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
        self._names: dict[str, str] = {}
        self._named: dict[str, str] = {}
        self._open = {"#"}

    def write(self) -> str:
        text = self._type(self._root, 0)
        notes = self._notes(self._root)
        if notes:
            text = f"// {'; '.join(notes)}\n{text}"
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
        for keyword in ("anyOf", "oneOf", "allOf"):
            if isinstance(branches := schema.get(keyword), list):
                return self._branches(schema, keyword, branches, depth)
        kinds = schema.get("type")
        if isinstance(kinds, list):
            return " | ".join(self._type({**schema, "type": kind}, depth) for kind in kinds)
        return self._kind(kinds, schema, depth)

    def _branches(
        self,
        schema: Mapping[str, JsonValue],
        keyword: str,
        branches: Sequence[JsonValue],
        depth: int,
    ) -> str:
        """Alternatives, or what must hold together, beside what the schema says itself."""
        apart = {keyword, "description", "title", "default"}
        rest = {k: v for k, v in schema.items() if k not in apart}
        if len(branches) == 1 and "type" not in rest:
            return self._type(branches[0], depth)
        joint, write = (" & ", self._closed) if keyword == "allOf" else (" | ", self._type)
        written = joint.join(dict.fromkeys(write(branch, depth) for branch in branches))
        if "type" not in rest:
            return written
        if keyword != "allOf" and len(branches) > 1:
            written = f"({written})"
        return f"{self._closed(rest, depth)} & {written}"

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
        return f"{self._closed(schema.get('items', True), depth)}[]"

    def _closed(self, schema: JsonValue, depth: int) -> str:
        """A type that something follows: in brackets if it is made of several."""
        text = self._type(schema, depth)
        return f"({text})" if self._is_several(schema) else text

    def _is_several(self, schema: JsonValue) -> bool:
        if not isinstance(schema, dict):
            return False
        reference = schema.get("$ref")
        if isinstance(reference, str):
            is_written_out = self._uses[reference] == 1 and reference not in self._open
            return is_written_out and self._is_several(self._target(reference))
        for keyword in ("const", "enum", "anyOf", "oneOf", "allOf", "type"):
            if keyword in schema:
                parts = schema[keyword]
                if not isinstance(parts, list):
                    return False
                joined = keyword in {"anyOf", "oneOf", "allOf"}
                if joined and len(parts) == 1 and "type" not in schema:
                    return self._is_several(parts[0])
                return len(parts) > 1 or joined
        return False

    def _reference(self, reference: str, depth: int) -> str:
        if self._uses[reference] == 1 and reference not in self._open:
            return self._resolved(reference, depth)
        name = self._name(reference)
        if name not in self._named:
            self._named[name] = ""
            written = f"type {name} = {self._resolved(reference, 0)}"
            notes = self._notes(self._target(reference))
            self._named[name] = f"// {'; '.join(notes)}\n{written}" if notes else written
        return name

    def _name(self, reference: str) -> str:
        """The last part of a reference; another's of the same name gets a number."""
        if reference not in self._names:
            last = reference.rsplit("/", 1)[-1] if reference != "#" else "Root"
            name, number = last, 1
            while name in self._names.values():
                number += 1
                name = f"{last}{number}"
            self._names[reference] = name
        return self._names[reference]

    def _target(self, reference: str) -> JsonValue:
        """What a reference points to; anything, where it leads nowhere."""
        target: JsonValue = self._root
        for part in reference.removeprefix("#").split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            if not isinstance(target, dict) or key not in target:
                return True
            target = target[key]
        return target

    def _resolved(self, reference: str, depth: int) -> str:
        self._open.add(reference)
        try:
            return self._type(self._target(reference), depth)
        finally:
            self._open.discard(reference)

    def _comment(self, schema: JsonValue) -> str:
        notes = self._notes(schema)
        return f" // {'; '.join(notes)}" if notes else ""

    def _notes(self, schema: JsonValue) -> list[str]:
        """Its description and constraints, and those of a definition written in its place."""
        if not isinstance(schema, dict):
            return []
        description = schema.get("description")
        notes = [one_line(description)] if description else []
        notes += constraints(schema)
        reference = schema.get("$ref")
        if (
            isinstance(reference, str)
            and self._uses[reference] == 1
            and reference not in self._open
        ):
            target = self._target(reference)
            if isinstance(target, dict):
                told = target.get("description")
                notes += [] if notes or not told else [one_line(told)]
                notes += constraints(target)
        return notes


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
