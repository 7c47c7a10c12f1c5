"""Checks a schema itself: its draft's metaschema, its regular expressions, its references."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final

from gemma_structured.exceptions import SchemaError
from gemma_structured.schema.cycles import check_cycles
from gemma_structured.schema.dialect import children
from gemma_structured.schema.ecma import EcmaRegex
from gemma_structured.schema.validator import validator_class
from gemma_structured.types import pointer

if TYPE_CHECKING:
    from jsonschema import ValidationError

    from gemma_structured.schema.json_schema import JsonSchema, Path, Schema
    from gemma_structured.types import JsonValue

__all__ = ["check_schema"]

_TYPES: Final = ("array", "boolean", "integer", "null", "number", "object", "string")


def check_schema(schema: JsonSchema) -> None:
    """Refuse a schema that means nothing.

    Raises:
        SchemaError: With the JSON Pointer of the first fault.
    """
    _check_keywords(schema)
    for path, node in schema.walk():
        if not isinstance(node, dict):
            continue
        _check_patterns(node, path)
        for keyword in ("$ref", "$dynamicRef", "$recursiveRef"):
            ref = node.get(keyword)
            if isinstance(ref, str):
                schema.references.resolve(ref, path, keyword)
    check_cycles(schema)


def _check_keywords(schema: JsonSchema) -> None:
    """Hold it to its metaschema: as a whole or, where it is too deep for that, part by part."""
    classes = validator_class(schema.dialect)
    metaschema = classes(classes.META_SCHEMA)
    try:
        for error in metaschema.iter_errors(schema.value):
            raise _refusal(error)
    except RecursionError:
        for path, node in schema.walk():
            for error in metaschema.iter_errors(_alone(node)):
                raise _refusal(error, path) from None


def _alone(node: Schema) -> Schema:
    """A schema with empty ones in place of those in it."""
    if isinstance(node, bool):
        return node
    alone: dict[str, Any] = dict(node)
    for (keyword, *rest), child in children(node):
        if not isinstance(child, dict):
            continue
        assert isinstance(keyword, str)
        if not rest:
            alone[keyword] = {}
            continue
        if alone[keyword] is node[keyword]:
            alone[keyword] = alone[keyword].copy()
        alone[keyword][rest[0]] = {}
    return alone


def _check_patterns(node: dict[str, JsonValue], path: Path) -> None:
    patterns = [((*path, "pattern"), node.get("pattern"))]
    named = node.get("patternProperties")
    if isinstance(named, dict):
        patterns += [((*path, "patternProperties", name), name) for name in named]
    for where, pattern in patterns:
        if not isinstance(pattern, str):
            continue
        try:
            EcmaRegex.of(pattern)
        except SchemaError as error:
            raise SchemaError(
                error.message,
                path=pointer(where),
                keyword=str(where[len(path)]),
                hint=error.hint,
            ) from None


def _refusal(error: ValidationError, base: Path = ()) -> SchemaError:
    while error.context:
        error = max(error.context, key=lambda each: len(each.absolute_path))
    path = (*base, *error.absolute_path)
    keyword = next((str(part) for part in reversed(path) if isinstance(part, str)), None)
    hint = None
    if keyword == "type" and isinstance(error.instance, str):
        close = get_close_matches(error.instance, _TYPES, n=1)
        hint = f"Did you mean {close[0]!r}?" if close else f"Types are {', '.join(_TYPES)}."
    return SchemaError(
        f"The metaschema refuses this: {error.message:.200}.",
        path=pointer(path),
        keyword=keyword,
        hint=hint,
    )
