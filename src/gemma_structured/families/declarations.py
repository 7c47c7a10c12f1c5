"""Tools as chat templates declare them: in JSON Schema of the plainest kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gemma_structured.exceptions import SchemaError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gemma_structured.families.slots import Slots
    from gemma_structured.schema.json_schema import JsonSchema
    from gemma_structured.tools import Tool
    from gemma_structured.types import JsonValue

__all__ = ["declare"]

_MAX_DEPTH = 12
_TEXTS = frozenset({"description", "pattern", "$comment", "format"})
_DROPPED = frozenset({"$defs", "definitions", "$schema", "$id", "title"})


def declare(tool: Tool[..., Any], slots: Slots) -> dict[str, JsonValue]:
    """A tool as templates take it.

    Templates read little of JSON Schema, so that `$ref` is inlined (a recursive one ends as a plain
    object) and what may be null is `nullable`. Texts are placeholders, the description the first.
    """
    description = slots.put(tool.description, needed=False)
    parameters = _Declarer(tool.parameters, slots).schema(tool.parameters.value, 0)
    if isinstance(parameters, dict):
        parameters = {"type": "object", "properties": {}, **parameters}
    function: dict[str, JsonValue] = {
        "name": tool.name,
        "description": description,
        "parameters": parameters,
    }
    return {"type": "function", "function": function}


class _Declarer:
    def __init__(self, whole: JsonSchema, slots: Slots) -> None:
        self._whole = whole
        self._slots = slots

    def schema(self, node: JsonValue, depth: int) -> JsonValue:
        if not isinstance(node, dict):
            return {}
        if depth > _MAX_DEPTH:
            return {"type": "object"}
        plain = self._nullable(self._inlined(node))
        written: dict[str, JsonValue] = {}
        for key, value in plain.items():
            if key not in _DROPPED:
                written[key] = self._keyword(key, value, depth)
        return written

    def _keyword(self, key: str, value: JsonValue, depth: int) -> JsonValue:
        if key in {"properties", "patternProperties"} and isinstance(value, dict):
            return {
                self._slots.put_name(name): self.schema(each, depth + 1)
                for name, each in value.items()
            }
        if key in {"items", "additionalProperties", "contains", "not"} and isinstance(value, dict):
            return self.schema(value, depth + 1)
        if key in {"anyOf", "oneOf", "allOf", "prefixItems"} and isinstance(value, list):
            return [self.schema(each, depth + 1) for each in value]
        if key == "required" and isinstance(value, list):
            return [self._slots.put_name(str(name)) for name in value]
        if key in _TEXTS and isinstance(value, str):
            return self._slots.put(value, needed=False)
        if key in {"type", "nullable"} or isinstance(value, (int, float)):
            return value
        return self._slots.put_value(value)

    def _inlined(self, node: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
        """A schema with the one that it refers to; what stands beside the reference wins."""
        seen: set[str] = set()
        found = dict(node)
        while isinstance(reference := found.pop("$ref", None), str) and reference not in seen:
            seen.add(reference)
            try:
                target = self._whole.resolve(reference)
            except SchemaError:
                break
            if not isinstance(target, dict):
                break
            found = {**target, **found}
        return found

    def _nullable(self, node: dict[str, JsonValue]) -> dict[str, JsonValue]:
        """`Optional[T]` as a `T` that is `nullable`; a union with the type of its first option."""
        options = node.get("anyOf", node.get("oneOf"))
        if isinstance(options, list):
            others = [each for each in options if each != {"type": "null"}]
            rest = {key: value for key, value in node.items() if key not in {"anyOf", "oneOf"}}
            if len(others) < len(options):
                rest["nullable"] = True
            if len(others) == 1 and isinstance(others[0], dict):
                return self._nullable({**self._inlined(others[0]), **rest})
            types = [each["type"] for each in others if isinstance(each, dict) and "type" in each]
            return {**({"type": types[0]} if types else {}), **rest, "anyOf": others}
        kinds = node.get("type")
        if isinstance(kinds, list):
            kept = [kind for kind in kinds if kind != "null"]
            plain = {**node, "type": kept[0] if kept else "null"}
            return {**plain, "nullable": True} if len(kept) < len(kinds) else plain
        return node
