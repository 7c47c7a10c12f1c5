"""Which keys or items of a value its schema speaks of, for the keywords about the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from referencing.jsonschema import lookup_recursive_ref

from gemma_structured.schema.ecma import EcmaRegex

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gemma_structured.types import JsonValue

__all__ = ["evaluated_items", "evaluated_keys", "undeclared_keys"]

_ALL_KEYS: Final = ("additionalProperties", "unevaluatedProperties")


def undeclared_keys(instance: dict[str, JsonValue], schema: dict[str, JsonValue]) -> list[str]:
    """The keys that neither `properties` nor `patternProperties` of a schema name.

    Raises:
        MatchBudgetError: A pattern cannot be matched in bounded time.
    """
    properties, patterns = schema.get("properties"), schema.get("patternProperties")
    named: set[str] = set(properties) if isinstance(properties, dict) else set()
    regexes = [EcmaRegex.of(pattern) for pattern in patterns] if isinstance(patterns, dict) else []
    return [
        key
        for key in instance
        if key not in named and not any(regex.search(key) for regex in regexes)
    ]


def evaluated_keys(validator: Any, instance: dict[str, JsonValue], schema: JsonValue) -> set[str]:
    """The keys that a schema, or one that it applies and that holds, speaks of.

    Args:
        validator: A validator whose resolver stands at the schema.
        instance: The object.
        schema: The schema with `unevaluatedProperties`.

    Raises:
        MatchBudgetError: A pattern cannot be matched in bounded time.
    """
    if not isinstance(schema, dict):
        return set()
    known = set(instance) - set(undeclared_keys(instance, schema))
    for branch, below in _holding(validator, instance, schema):
        everything = isinstance(branch, dict) and any(key in branch for key in _ALL_KEYS)
        known |= set(instance) if everything else evaluated_keys(below, instance, branch)
    return set(instance) if "additionalProperties" in schema else known


def evaluated_items(validator: Any, instance: list[JsonValue], schema: JsonValue) -> set[int]:
    """The places of the items that a schema, or one that it applies and that holds, speaks of.

    Args:
        validator: A validator whose resolver stands at the schema.
        instance: The array.
        schema: The schema with `unevaluatedItems`.

    Raises:
        MatchBudgetError: A pattern cannot be matched in bounded time.
    """
    if not isinstance(schema, dict):
        return set()
    known = _own_items(validator, instance, schema)
    every = set(range(len(instance)))
    for branch, below in _holding(validator, instance, schema):
        everything = isinstance(branch, dict) and "unevaluatedItems" in branch
        known |= every if everything else evaluated_items(below, instance, branch)
    return known


def _own_items(validator: Any, instance: list[JsonValue], schema: dict[str, JsonValue]) -> set[int]:
    """The places of the items that a schema's own keywords speak of, by its draft."""
    every = range(len(instance))
    items = schema.get("items")
    if "prefixItems" not in validator.VALIDATORS:  # 2019-09: a list is of the first items
        whole = "items" in schema and (not isinstance(items, list) or "additionalItems" in schema)
        return set(every if whole else every[: len(items)] if isinstance(items, list) else ())
    if "items" in schema:
        return set(every)
    first = schema.get("prefixItems")
    known = set(every[: len(first)] if isinstance(first, list) else ())
    if "contains" in schema:
        below = validator.evolve(schema=schema["contains"])
        known |= {place for place in every if below.is_valid(instance[place])}
    return known


def _holding(
    validator: Any, instance: dict[str, JsonValue] | list[JsonValue], schema: dict[str, JsonValue]
) -> Iterator[tuple[JsonValue, Any]]:
    """The schemas that a schema applies to the same value and that hold, with their validators."""
    for branch, resolver in _applied(validator, instance, schema):
        below = validator.evolve(schema=branch, _resolver=resolver)
        if below.is_valid(instance):
            yield branch, below


def _applied(
    validator: Any, instance: dict[str, JsonValue] | list[JsonValue], schema: dict[str, JsonValue]
) -> Iterator[tuple[JsonValue, Any]]:
    """The schemas that a schema applies to the same value, each with its resolver."""
    resolver = validator._resolver  # noqa: SLF001 - jsonschema has no public way
    for keyword in ("$ref", "$dynamicRef"):
        ref = schema.get(keyword)
        if isinstance(ref, str):
            found = resolver.lookup(ref)
            yield found.contents, found.resolver
    if "$recursiveRef" in schema:
        outermost = lookup_recursive_ref(resolver)
        yield cast("JsonValue", outermost.contents), outermost.resolver
    for keyword in ("allOf", "anyOf", "oneOf"):
        branches = schema.get(keyword)
        yield from ((b, resolver) for b in (branches if isinstance(branches, list) else ()))
    dependent = schema.get("dependentSchemas")
    if isinstance(dependent, dict) and isinstance(instance, dict):
        yield from ((each, resolver) for key, each in dependent.items() if key in instance)
    if "if" in schema:
        holds = validator.evolve(schema=schema["if"]).is_valid(instance)
        names = ("if", "then") if holds else ("else",)
        yield from ((schema[name], resolver) for name in names if name in schema)
