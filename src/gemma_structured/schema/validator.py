"""Validates against a `JsonSchema`: jsonschema, with the keywords corrected that it gets wrong.

Patterns are ECMA-262 and matched in bounded time, multiples are exact, equality is that of JSON
(`1` is `1.0` and not `true`), and every format is checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, cast

from jsonschema import ValidationError
from jsonschema.validators import extend
from jsonschema_specifications import REGISTRY  # type: ignore[import-untyped]

from gemma_structured.schema.code import CODE_KEYWORD
from gemma_structured.schema.code_parsers import code_fault, known_language
from gemma_structured.schema.dialect import find_dialect
from gemma_structured.schema.ecma import EcmaRegex, MatchBudgetError
from gemma_structured.schema.equality import EnumCache, instance_key
from gemma_structured.schema.evaluated import evaluated_items, evaluated_keys, undeclared_keys
from gemma_structured.schema.formats import format_checker
from gemma_structured.schema.lark_text import LarkText
from gemma_structured.schema.terms import LARK_KEYWORD
from gemma_structured.types import JsonValue

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

    from gemma_structured.schema.dialect import Dialect
    from gemma_structured.schema.json_schema import JsonSchema

__all__ = ["UNDECIDED", "compile_validator", "validator_class"]

UNDECIDED: Final = "cannot be told in bounded time"
"""The message of an error for a pattern that takes too long to match."""

Errors = Iterator[ValidationError]
Schema = dict[str, JsonValue]


def compile_validator(schema: JsonSchema) -> Validator:
    """A validator for a schema, its formats checked if it asserts them; compile it once."""
    checker = format_checker(schema.dialect) if schema.formats == "assertion" else None
    # With a registry of one's own, jsonschema fetches nothing.
    known = REGISTRY if schema.registry is None else REGISTRY.combine(schema.registry)
    return validator_class(schema.dialect)(schema.value, registry=known, format_checker=checker)


@lru_cache(maxsize=16)
def validator_class(dialect: Dialect) -> type[Validator]:
    """The class of jsonschema for a draft, with the corrections of this module."""
    corrected: dict[str, Callable[..., Errors]] = {
        "additionalProperties": _additional_properties,
        "const": _const,
        "enum": _enum,
        "format": _format,
        "multipleOf": _multiple_of,
        "divisibleBy": _multiple_of,
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "unevaluatedItems": _unevaluated_items,
        "unevaluatedProperties": _unevaluated_properties,
        "uniqueItems": _unique_items,
    }
    known = dialect.validator_class.VALIDATORS
    used = {keyword: check for keyword, check in corrected.items() if keyword in known}
    made: Any = extend(dialect.validator_class, used | _OURS)  # type: ignore[no-untyped-call]
    made.evolve = _evolve
    return cast("type[Validator]", made)


def _evolve(validator: Any, **changes: Any) -> Any:
    """The validator of another schema; jsonschema's own class forgets these corrections.

    It does so wherever a `$schema` stands, which a `$ref` to the root comes by.
    """
    schema = changes.setdefault("schema", validator.schema)
    named = schema.get("$schema") if isinstance(schema, dict) else None
    dialect = find_dialect(named) if isinstance(named, str) else None
    kind: Any = type(validator) if dialect is None else validator_class(dialect)
    for field in kind.__attrs_attrs__:
        if field.init:
            changes.setdefault(field.alias, getattr(validator, field.name))
    return kind(**changes)


def _pattern(_: Validator, pattern: str, instance: JsonValue, _schema: Schema) -> Errors:
    if not isinstance(instance, str):
        return
    try:
        if not EcmaRegex.of(pattern).search(instance):
            yield ValidationError(f"does not match {pattern!r:.200}")
    except MatchBudgetError:
        yield ValidationError(UNDECIDED)


def _pattern_properties(
    validator: Any, patterns: dict[str, JsonValue], instance: JsonValue, _schema: Schema
) -> Errors:
    if not isinstance(instance, dict):
        return
    for pattern, subschema in patterns.items():
        regex = EcmaRegex.of(pattern)
        try:
            matched = [key for key in instance if regex.search(key)]
        except MatchBudgetError:
            yield ValidationError(UNDECIDED)
            continue
        for key in matched:
            yield from validator.descend(instance[key], subschema, path=key, schema_path=pattern)


def _additional_properties(
    validator: Any, additional: JsonValue, instance: JsonValue, schema: Schema
) -> Errors:
    if not isinstance(instance, dict):
        return
    try:
        extra = undeclared_keys(instance, schema)
    except MatchBudgetError:
        yield ValidationError(UNDECIDED)
        return
    if isinstance(additional, dict):
        for key in extra:
            yield from validator.descend(instance[key], additional, path=key)
    elif additional is False and extra:
        yield ValidationError("has keys that are not declared")


def _unevaluated_properties(
    validator: Any, unevaluated: JsonValue, instance: JsonValue, schema: Schema
) -> Errors:
    if not isinstance(instance, dict):
        return
    try:
        known = evaluated_keys(validator, instance, schema)
    except MatchBudgetError:
        yield ValidationError(UNDECIDED)
        return
    for key, value in instance.items():
        if key in known:
            continue
        if unevaluated is False:
            yield ValidationError("has keys that are not declared")
            return
        yield from validator.descend(value, unevaluated, path=key, schema_path=key)


def _unevaluated_items(
    validator: Any, unevaluated: JsonValue, instance: JsonValue, schema: Schema
) -> Errors:
    if not isinstance(instance, list):
        return
    try:
        known = evaluated_items(validator, instance, schema)
    except MatchBudgetError:
        yield ValidationError(UNDECIDED)
        return
    for place, item in enumerate(instance):
        if place in known:
            continue
        if unevaluated is False:
            yield ValidationError("has items that are not declared")
            return
        yield from validator.descend(item, unevaluated, path=place, schema_path=place)


def _format(validator: Any, name: str, instance: JsonValue, _schema: Schema) -> Errors:
    try:
        if validator.format_checker is None or validator.format_checker.conforms(instance, name):
            return
    except MatchBudgetError:
        yield ValidationError(UNDECIDED)
        return
    yield ValidationError(f"is not a {name!r:.100}")


def _multiple_of(_: Validator, step: float, instance: JsonValue, _schema: Schema) -> Errors:
    if isinstance(instance, bool) or not isinstance(instance, int | float):
        return
    if (Fraction(repr(instance)) / Fraction(repr(step))).denominator != 1:
        yield ValidationError(f"is not a multiple of {step}")


def _enum(_: Validator, options: JsonValue, instance: JsonValue, _schema: Schema) -> Errors:
    if not isinstance(options, list) or instance_key(instance) not in _OPTIONS.keys_of(options):
        yield ValidationError("is not one of the allowed values")


def _const(_: Validator, const: JsonValue, instance: JsonValue, _schema: Schema) -> Errors:
    if instance_key(const) != instance_key(instance):
        yield ValidationError("is not the only allowed value")


def _unique_items(_: Validator, unique: object, instance: JsonValue, _schema: Schema) -> Errors:
    if unique is not True or not isinstance(instance, list):
        return
    first: dict[str, int] = {}
    for index, item in enumerate(instance):
        seen = first.setdefault(instance_key(item), index)
        if seen != index:
            yield ValidationError(f"items {seen} and {index} are equal")
            return


def _lark(_: Validator, source: object, instance: JsonValue, _schema: Schema) -> Errors:
    if not isinstance(source, str) or not isinstance(instance, str):
        return
    if not LarkText.of(source).matches(instance):
        yield ValidationError("does not follow its Lark grammar")


def _code(_: Validator, language: JsonValue, instance: JsonValue, _schema: Schema) -> Errors:
    if not isinstance(instance, str):
        return
    if (fault := code_fault(known_language(language), instance)) is not None:
        yield ValidationError(fault)


_OURS: Final[dict[str, Callable[..., Errors]]] = {LARK_KEYWORD: _lark, CODE_KEYWORD: _code}
_OPTIONS: Final = EnumCache()
