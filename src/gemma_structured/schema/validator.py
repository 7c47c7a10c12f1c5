"""Validates against a `JsonSchema`: jsonschema, with the keywords corrected that it gets wrong."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING

from jsonschema import ValidationError
from jsonschema.validators import extend

from gemma_structured.schema.ecma import EcmaRegex
from gemma_structured.schema.formats import format_checker
from gemma_structured.schema.lark_text import LarkText
from gemma_structured.schema.terms import LARK_KEYWORD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jsonschema.protocols import Validator

    from gemma_structured.schema.dialect import Dialect
    from gemma_structured.schema.json_schema import JsonSchema
    from gemma_structured.types import JsonValue

__all__ = ["compile_validator", "instance_key", "validator_class"]


def compile_validator(schema: JsonSchema) -> Validator:
    """A validator for a schema, with formats checked; compile it once and keep it."""
    return validator_class(schema.dialect)(
        schema.value, format_checker=format_checker(schema.dialect)
    )


@lru_cache(maxsize=16)
def validator_class(dialect: Dialect) -> type[Validator]:
    """The class of jsonschema for a draft with ECMA-262 patterns and a linear `uniqueItems`."""
    return extend(
        dialect.validator_class,
        {
            "pattern": _pattern,
            "patternProperties": _pattern_properties,
            "uniqueItems": _unique_items,
            LARK_KEYWORD: _lark,
        },
    )


def instance_key(value: JsonValue) -> str:
    """Text that two JSON values share exactly if JSON Schema takes them for equal.

    `1` and `1.0` are, `1` and `true` are not, and the order of keys means nothing.
    """
    return json.dumps(_integers(value), sort_keys=True, ensure_ascii=True)


def _integers(value: JsonValue) -> JsonValue:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_integers(item) for item in value]
    if isinstance(value, dict):
        return {key: _integers(item) for key, item in value.items()}
    return value


def _pattern(
    validator: Validator, pattern: str, instance: JsonValue, _schema: JsonValue
) -> Iterator[ValidationError]:
    if validator.is_type(instance, "string") and not EcmaRegex.of(pattern).search(instance):  # type: ignore[arg-type]
        yield ValidationError(f"does not match {pattern!r:.200}")


def _pattern_properties(
    validator: Validator,
    patterns: dict[str, JsonValue],
    instance: JsonValue,
    _schema: JsonValue,
) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        return
    for pattern, subschema in patterns.items():
        regex = EcmaRegex.of(pattern)
        for key, item in instance.items():
            if regex.search(key):
                yield from validator.descend(item, subschema, path=key, schema_path=pattern)  # type: ignore[attr-defined]


def _unique_items(
    _validator: Validator, unique: object, instance: JsonValue, _schema: JsonValue
) -> Iterator[ValidationError]:
    if unique is not True or not isinstance(instance, list):
        return
    first: dict[str, int] = {}
    for index, item in enumerate(instance):
        seen = first.setdefault(instance_key(item), index)
        if seen != index:
            yield ValidationError(f"items {seen} and {index} are equal")
            return


def _lark(
    _validator: Validator, source: object, instance: JsonValue, _schema: JsonValue
) -> Iterator[ValidationError]:
    if (
        isinstance(source, str)
        and isinstance(instance, str)
        and not LarkText.of(source).matches(instance)
    ):
        yield ValidationError("does not follow its Lark grammar")
