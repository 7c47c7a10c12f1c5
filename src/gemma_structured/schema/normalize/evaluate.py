"""Whether a value satisfies a node: for the values that a schema lists itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gemma_structured.schema.normalize.facets import exact
from gemma_structured.schema.normalize.kinds import atoms, type_of, value_key
from gemma_structured.schema.normalize.regex.names import matches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from jsonschema import FormatChecker

    from gemma_structured.schema.normalize.node import Node, Schema
    from gemma_structured.types import JsonValue

__all__ = ["Evaluator"]

_MAX_DEPTH: Final = 60


class Evaluator:
    """Evaluates values; the answer is `None` where it cannot be told.

    Args:
        definition: The schema behind the name in a `$ref`.
        formats: What formats are asserted and how.
    """

    def __init__(self, definition: Callable[[str], Schema], formats: FormatChecker | None) -> None:
        self.definition = definition
        self.formats = formats
        self._open: set[tuple[int, int]] = set()
        self.enums: dict[int, tuple[Node, frozenset[str]]] = {}

    def admits(self, schema: Schema, value: JsonValue) -> bool | None:
        """Whether a value satisfies a schema."""
        if isinstance(schema, bool):
            return schema
        step = (id(schema), id(value))
        if step in self._open or len(self._open) > _MAX_DEPTH:
            return None
        self._open.add(step)
        try:
            return _all(self._verdicts(schema, value))
        finally:
            self._open.discard(step)

    def _verdicts(self, node: Node, value: JsonValue) -> Iterator[bool | None]:
        for keyword, check in _ANY_TYPE.items():
            if keyword in node:
                yield check(self, node, value)
        if isinstance(value, dict):
            checks = _OBJECT
        elif isinstance(value, list):
            checks = _ARRAY
        elif isinstance(value, str):
            checks = _STRING
        elif isinstance(value, int | float) and not isinstance(value, bool):
            checks = _NUMBER
        else:
            return
        for keyword, check in checks.items():
            if keyword in node:
                yield check(self, node, value)


def _listed(evaluator: Evaluator, node: Node, value: JsonValue) -> bool:
    known = evaluator.enums.get(id(node))
    if known is None:
        known = evaluator.enums[id(node)] = (node, frozenset(map(value_key, node["enum"])))
    return value_key(value) in known[1]


def _conditional(evaluator: Evaluator, node: Node, value: JsonValue) -> bool | None:
    condition = evaluator.admits(node["if"], value)
    if condition is None:
        return None
    return evaluator.admits(node.get("then" if condition else "else", True), value)


def _one_of(evaluator: Evaluator, node: Node, value: JsonValue) -> bool | None:
    verdicts = [evaluator.admits(option, value) for option in node["oneOf"]]
    if verdicts.count(True) > 1:
        return False
    return None if None in verdicts else verdicts.count(True) == 1


def _format(evaluator: Evaluator, node: Node, value: JsonValue) -> bool | None:
    return evaluator.formats is None or evaluator.formats.conforms(value, node["format"])


def _reference(evaluator: Evaluator, node: Node, value: JsonValue) -> bool | None:
    return evaluator.admits(evaluator.definition(node["$ref"]), value)


def _properties(evaluator: Evaluator, node: Node, value: dict[str, JsonValue]) -> bool | None:
    named = node.get("properties", {})
    patterns = node.get("patternProperties", {})
    verdicts: list[bool | None] = []
    for name, item in value.items():
        schemas = [named[name]] if name in named else []
        schemas += [schema for pattern, schema in patterns.items() if matches(pattern, name)]
        rest = [] if schemas else [node.get("additionalProperties", True)]
        verdicts += [evaluator.admits(schema, item) for schema in schemas or rest]
    return _all(verdicts)


def _items(evaluator: Evaluator, node: Node, value: list[JsonValue]) -> bool | None:
    prefix = node.get("prefixItems", ())
    rest = node.get("items", True)
    return _all(
        evaluator.admits(prefix[i] if i < len(prefix) else rest, item)
        for i, item in enumerate(value)
    )


def _contains(evaluator: Evaluator, node: Node, value: list[JsonValue]) -> bool | None:
    verdicts = [evaluator.admits(node["contains"], item) for item in value]
    sure, possible = verdicts.count(True), verdicts.count(True) + verdicts.count(None)
    least, most = node.get("minContains", 1), node.get("maxContains", len(value))
    if possible < least or sure > most:
        return False
    return True if sure >= least and possible <= most else None


def _dependent_schemas(
    evaluator: Evaluator, node: Node, value: dict[str, JsonValue]
) -> bool | None:
    needed = [s for name, s in node["dependentSchemas"].items() if name in value]
    return _all(evaluator.admits(schema, value) for schema in needed)


def _names(evaluator: Evaluator, node: Node, value: dict[str, JsonValue]) -> bool | None:
    return _all(evaluator.admits(node["propertyNames"], name) for name in value)


def _all(verdicts: Iterable[bool | None]) -> bool | None:
    unknown = False
    for verdict in verdicts:
        if verdict is False:
            return False
        unknown = unknown or verdict is None
    return None if unknown else True


def _any(verdicts: Iterable[bool | None]) -> bool | None:
    verdict = _all(None if one is None else not one for one in verdicts)
    return None if verdict is None else not verdict


def _not(verdict: bool | None) -> bool | None:  # noqa: FBT001 - a truth value is its operand
    return None if verdict is None else not verdict


def _unknown(_e: Evaluator, _n: Node, _v: Any) -> bool | None:
    return None


def _dependent_required(_: Evaluator, n: Node, v: dict[str, JsonValue]) -> bool:
    return all(set(need) <= v.keys() for name, need in n["dependentRequired"].items() if name in v)


_ANY_TYPE: Final[dict[str, Callable[[Evaluator, Node, Any], bool | None]]] = {
    "type": lambda _, n, v: type_of(v) in atoms(n["type"]),
    "enum": _listed,
    "allOf": lambda e, n, v: _all(e.admits(one, v) for one in n["allOf"]),
    "anyOf": lambda e, n, v: _any(e.admits(one, v) for one in n["anyOf"]),
    "oneOf": _one_of,
    "not": lambda e, n, v: _not(e.admits(n["not"], v)),
    "if": _conditional,
    "$ref": _reference,
}
_NUMBER: Final[dict[str, Callable[[Evaluator, Node, Any], bool | None]]] = {
    "minimum": lambda _, n, v: exact(v) >= exact(n["minimum"]),
    "maximum": lambda _, n, v: exact(v) <= exact(n["maximum"]),
    "exclusiveMinimum": lambda _, n, v: exact(v) > exact(n["exclusiveMinimum"]),
    "exclusiveMaximum": lambda _, n, v: exact(v) < exact(n["exclusiveMaximum"]),
    "multipleOf": lambda _, n, v: exact(v) % exact(n["multipleOf"]) == 0,
}
_STRING: Final[dict[str, Callable[[Evaluator, Node, Any], bool | None]]] = {
    "minLength": lambda _, n, v: len(v) >= n["minLength"],
    "maxLength": lambda _, n, v: len(v) <= n["maxLength"],
    "pattern": lambda _, n, v: matches(n["pattern"], v),
    "format": _format,
    "x-gemma-lark": _unknown,
    "x-gemma-code": _unknown,
}
_ARRAY: Final[dict[str, Callable[[Evaluator, Node, Any], bool | None]]] = {
    "minItems": lambda _, n, v: len(v) >= n["minItems"],
    "maxItems": lambda _, n, v: len(v) <= n["maxItems"],
    "uniqueItems": lambda _, n, v: not n["uniqueItems"] or len({*map(value_key, v)}) == len(v),
    "prefixItems": _items,
    "items": _items,
    "contains": _contains,
    "unevaluatedItems": _unknown,
}
_OBJECT: Final[dict[str, Callable[[Evaluator, Node, Any], bool | None]]] = {
    "required": lambda _, n, v: set(n["required"]) <= v.keys(),
    "minProperties": lambda _, n, v: len(v) >= n["minProperties"],
    "maxProperties": lambda _, n, v: len(v) <= n["maxProperties"],
    "properties": _properties,
    "patternProperties": _properties,
    "additionalProperties": _properties,
    "propertyNames": _names,
    "dependentRequired": _dependent_required,
    "dependentSchemas": _dependent_schemas,
    "unevaluatedProperties": _unknown,
}
