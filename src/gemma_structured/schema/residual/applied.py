"""The subschemas that a schema applies, each as a validator whose references lead where they ought.

jsonschema does the same while it validates, and has no public way to ask for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from gemma_structured.schema.dialect import children, find_dialect
from gemma_structured.schema.ecma import EcmaRegex, MatchBudgetError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jsonschema.protocols import Validator

    from gemma_structured.schema.dialect import Dialect
    from gemma_structured.types import JsonValue

__all__ = ["applied", "branches", "changes_draft", "conjuncts", "member_schemas"]

_SAY_NOTHING: Final = frozenset({"$defs", "definitions", "contentSchema"})


def applied(validator: Validator, dialect: Dialect) -> Iterator[tuple[str, Validator]]:
    """The subschemas that a schema applies, and the keyword by which it does; `$ref` among them."""
    schema = _object(validator)
    ref = schema.get("$ref")
    if isinstance(ref, str):
        resolved = cast("Any", validator)._resolver.lookup(ref)  # noqa: SLF001
        yield (
            "$ref",
            cast("Any", validator).evolve(schema=resolved.contents, _resolver=resolved.resolver),
        )
        if dialect.ref_hides_siblings:
            return
    for path, child in children(schema):
        keyword = str(path[0])
        if keyword not in _SAY_NOTHING:
            yield keyword, _at(validator, child, dialect)


def conjuncts(validator: Validator, dialect: Dialect) -> list[Validator]:
    """A schema and those that must hold for the same value with it, through `$ref` and `allOf`.

    A part in another draft is left out, and so are keywords that a `$ref` hides.
    """
    found: list[Validator] = []
    pending = [validator]
    while pending:
        each = pending.pop()
        schema = _object(each)
        if changes_draft(each, dialect):
            continue
        if not ("$ref" in schema and dialect.ref_hides_siblings):
            found.append(each)
        pending += [child for key, child in applied(each, dialect) if key in {"$ref", "allOf"}]
    return found


def branches(conjunct: Validator, dialect: Dialect) -> Iterator[list[Validator]]:
    """The alternatives of a schema, one of which must hold: those of `anyOf`, and of `oneOf`."""
    schema = _object(conjunct)
    for keyword in ("anyOf", "oneOf"):
        options = schema.get(keyword)
        if isinstance(options, list) and options:
            yield [_at(conjunct, option, dialect) for option in options]


def member_schemas(conjunct: Validator, step: str | int, dialect: Dialect) -> list[Validator]:
    """The schemas that a schema itself applies to one member of an object or array."""
    schema = _object(conjunct)
    named = _items(schema, step) if isinstance(step, int) else _properties(schema, step)
    return [_at(conjunct, each, dialect) for each in named if each is not True]


def _properties(schema: dict[str, JsonValue], name: str) -> list[JsonValue]:
    found: list[JsonValue] = []
    properties, patterns = schema.get("properties"), schema.get("patternProperties")
    if isinstance(properties, dict) and name in properties:
        found.append(properties[name])
    for pattern, child in patterns.items() if isinstance(patterns, dict) else ():
        try:
            if EcmaRegex.of(pattern).search(name):
                found.append(child)
        except MatchBudgetError:
            return found  # what else applies depends on it
    if not found and "additionalProperties" in schema:
        found.append(schema["additionalProperties"])
    return found


def _items(schema: dict[str, JsonValue], index: int) -> list[JsonValue]:
    items, first = schema.get("items"), schema.get("prefixItems")
    if isinstance(items, list):  # up to 2019-09
        first, items = items, schema.get("additionalItems")
    if isinstance(first, list) and index < len(first):
        return [first[index]]
    return [] if items is None else [items]


def _at(validator: Validator, child: JsonValue, dialect: Dialect) -> Validator:
    parent = cast("Any", validator)
    if isinstance(child, bool):
        return cast("Validator", parent.evolve(schema=child))
    resource = dialect.specification.create_resource(cast("Any", child))
    resolver = parent._resolver.in_subresource(resource)  # noqa: SLF001
    return cast("Validator", parent.evolve(schema=child, _resolver=resolver))


def _object(validator: Validator) -> dict[str, JsonValue]:
    schema = cast("JsonValue", validator.schema)
    return schema if isinstance(schema, dict) else {}


def changes_draft(validator: Validator, dialect: Dialect) -> bool:
    """Whether a part is of another draft: it is left to the check of the whole."""
    named = _object(validator).get("$schema")
    return named is not None and find_dialect(str(named)) is not dialect
