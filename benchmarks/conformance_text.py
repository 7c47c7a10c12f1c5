"""Instances as text, and whether a grammar takes one in some order of its keys."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from jsonschema import Draft202012Validator

from gemma_structured.schema.ecma import EcmaRegex

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conformance_engines import Matcher

_MAX_STEPS = 20_000


def canonical(value: Any) -> str:
    """Compact JSON: integers without a fraction, every character that JSON allows written as it is."""
    return json.dumps(_integers(value), ensure_ascii=False, separators=(",", ":")).replace(
        "\x7f", "\\u007f"
    )


def _integers(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e16:
        return int(value)
    if isinstance(value, list):
        return [_integers(item) for item in value]
    if isinstance(value, dict):
        return {key: _integers(item) for key, item in value.items()}
    return value


def reordered(value: Any, schema: Any) -> Any:
    """A value with its keys in the order of a schema of plain keywords, `anyOf` and `$defs`."""
    return _reorder(
        _integers(value), schema, schema.get("$defs", {}) if isinstance(schema, dict) else {}
    )


def _reorder(value: Any, schema: Any, definitions: dict[str, Any]) -> Any:
    while isinstance(schema, dict) and "$ref" in schema:
        schema = definitions.get(schema["$ref"].rpartition("/")[2], True)
    if isinstance(schema, bool) or not isinstance(value, dict | list):
        return value
    for option in schema.get("anyOf", ()):
        whole = {**option, "$defs": definitions} if isinstance(option, dict) else option
        if Draft202012Validator(whole).is_valid(value):
            return _reorder(value, option, definitions)
    if isinstance(value, list):
        prefix, items = schema.get("prefixItems", []), schema.get("items", True)
        return [
            _reorder(item, prefix[index] if index < len(prefix) else items, definitions)
            for index, item in enumerate(value)
        ]
    places = {name: place for place, name in enumerate(schema.get("properties", ()))}
    return {
        key: _reorder(value[key], _member(schema, key), definitions)
        for key in sorted(value, key=lambda key: places.get(key, len(places)))
    }


def _member(schema: dict[str, Any], key: str) -> Any:
    if key in schema.get("properties", {}):
        return schema["properties"][key]
    patterns = schema.get("patternProperties", {})
    matching = (patterns[pattern] for pattern in patterns if EcmaRegex.of(pattern).search(key))
    return next(matching, schema.get("additionalProperties", True))


class KeyOrders:
    """Writes a value piece by piece, taking keys in whatever order a matcher allows.

    Args:
        matcher: At the start of its grammar; it is left wherever the search ends.
        schema: Where the orders are taken from that are tried first.
    """

    def __init__(self, matcher: Matcher, schema: Any) -> None:
        self.matcher = matcher
        self.left = _MAX_STEPS
        self._schema = schema
        self._declared = list(_declared(schema))

    def accepts(self, value: Any) -> bool:
        """Whether some order of the keys of each object is accepted."""
        try:
            value = reordered(value, self._schema)
        except Exception:  # noqa: BLE001 - the schema is the engine's, or as it was given: any of them
            value = _integers(value)
        taken = self.matcher.take(canonical(value))
        if taken is not None:
            if self.matcher.is_accepting:
                return True
            self.matcher.back(taken)
        try:
            return self._value(value, lambda: self.matcher.is_accepting)
        except RecursionError:
            return False

    def _value(self, value: Any, then: Callable[[], bool]) -> bool:
        if isinstance(value, dict):
            members = self._sorted(value)
            return self._text("{", lambda: self._members(members, "", then))
        if isinstance(value, list):
            return self._text("[", lambda: self._items(value, 0, then))
        return self._text(canonical(value), then)

    def _sorted(self, value: dict[str, Any]) -> list[tuple[str, Any]]:
        """The members in the order of the `properties` that names most of them."""
        names = max(self._declared, key=lambda known: len(known.keys() & value.keys()), default={})
        return sorted(value.items(), key=lambda member: names.get(member[0], len(names)))

    def _items(self, items: list[Any], index: int, then: Callable[[], bool]) -> bool:
        if index == len(items):
            return self._text("]", then)

        def item() -> bool:
            return self._value(items[index], lambda: self._items(items, index + 1, then))

        return self._text(",", item) if index else item()

    def _members(
        self, members: list[tuple[str, Any]], comma: str, then: Callable[[], bool]
    ) -> bool:
        if not members:
            return self._text("}", then)
        for index, (key, value) in enumerate(members):
            rest = members[:index] + members[index + 1 :]

            def member(value: Any = value, rest: list[tuple[str, Any]] = rest) -> bool:
                return self._value(value, lambda: self._members(rest, ",", then))

            if self._text(f"{comma}{canonical(key)}:", member):
                return True
        return False

    def _text(self, text: str, then: Callable[[], bool]) -> bool:
        self.left -= 1
        taken = self.matcher.take(text) if self.left > 0 else None
        if taken is None:
            return False
        if then():
            return True
        self.matcher.back(taken)
        return False


def _declared(schema: Any) -> Iterator[dict[str, int]]:
    """Each `properties` in a schema, as the place of each name."""
    pending = [schema]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            properties = value.get("properties")
            if isinstance(properties, dict):
                yield {name: place for place, name in enumerate(properties)}
            pending.extend(value.values())
        elif isinstance(value, list):
            pending.extend(value)
