"""Puts the keys of a value into the order in which its schema declares them.

A grammar follows one order of the properties, so an example must be written in that order too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemma_structured.exceptions import SchemaError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jsonschema.protocols import Validator

    from gemma_structured.schema.json_schema import JsonSchema
    from gemma_structured.types import JsonValue

__all__ = ["in_declared_order"]


def in_declared_order(value: JsonValue, schema: JsonSchema, validator: Validator) -> JsonValue:
    """The same value with the keys of its objects in declared order, undeclared ones last.

    Args:
        value: A value that the schema allows.
        schema: The schema.
        validator: Its validator, which picks the branch of a union.
    """
    return _Orderer(schema, validator).order(value, [schema.value])


class _Orderer:
    def __init__(self, schema: JsonSchema, validator: Validator) -> None:
        self._schema = schema
        self._validator = validator

    def order(self, value: JsonValue, nodes: list[JsonValue]) -> JsonValue:
        if not isinstance(value, dict | list) or not value:
            return value
        applied = [each for node in nodes for each in self._applied(node, value, set())]
        if isinstance(value, list):
            return [
                self.order(item, [s for node in applied for s in _items(node, index)])
                for index, item in enumerate(value)
            ]
        declared: dict[str, list[JsonValue]] = {}
        for node in applied:
            properties = node.get("properties")
            for name, child in properties.items() if isinstance(properties, dict) else ():
                declared.setdefault(name, []).append(child)
        names = [name for name in declared if name in value]
        names += [name for name in value if name not in declared]
        rest = [node["additionalProperties"] for node in applied if "additionalProperties" in node]
        return {name: self.order(value[name], declared.get(name, rest)) for name in names}

    def _applied(
        self, node: JsonValue, value: JsonValue, seen: set[int]
    ) -> Iterator[dict[str, JsonValue]]:
        """The schemas that describe the value itself: this one and those that it is made of."""
        if not isinstance(node, dict) or id(node) in seen:
            return
        seen.add(id(node))
        yield node
        ref = node.get("$ref")
        if isinstance(ref, str):
            try:
                yield from self._applied(self._schema.resolve(ref), value, seen)
            except SchemaError:
                return
        for branch in _list(node.get("allOf")):
            yield from self._applied(branch, value, seen)
        for name in ("anyOf", "oneOf"):
            for branch in _list(node.get(name)):
                if isinstance(branch, dict) and self._allows(branch, value):
                    yield from self._applied(branch, value, seen)
                    break

    def _allows(self, branch: dict[str, JsonValue], value: JsonValue) -> bool:
        return self._validator.evolve(schema=branch).is_valid(value)


def _items(node: dict[str, JsonValue], index: int) -> list[JsonValue]:
    items = node.get("items")
    first = node.get("prefixItems", items if isinstance(items, list) else None)
    if isinstance(first, list) and index < len(first):
        return [first[index]]
    rest = node.get("additionalItems") if isinstance(items, list) else items
    return [rest] if rest is not None else []


def _list(value: JsonValue) -> list[JsonValue]:
    return value if isinstance(value, list) else []
