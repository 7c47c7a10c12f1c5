"""Turns jsonschema's errors into issues that a model can act on.

The messages name what was expected; what the model wrote is only in `found`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, cast

from gemma_structured.schema.code import CODE_KEYWORD
from gemma_structured.schema.evaluated import undeclared_keys
from gemma_structured.schema.terms import LARK_KEYWORD
from gemma_structured.schema.validator import UNDECIDED
from gemma_structured.types import Issue, JsonValue

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jsonschema import ValidationError

__all__ = ["schema_issues", "shown"]

_LONGEST: Final = 200
_LIMITS: Final = {
    "exclusiveMaximum": ("is too large", "a number below {}"),
    "exclusiveMinimum": ("is too small", "a number above {}"),
    "maxItems": ("has too many items", "at most {} items"),
    "maxLength": ("is too long", "at most {} characters"),
    "maxProperties": ("has too many keys", "at most {} keys"),
    "maximum": ("is too large", "at most {}"),
    "minItems": ("has too few items", "at least {} items"),
    "minLength": ("is too short", "at least {} characters"),
    "minProperties": ("has too few keys", "at least {} keys"),
    "minimum": ("is too small", "at least {}"),
    "multipleOf": ("is not such a multiple", "a multiple of {}"),
    "divisibleBy": ("is not such a multiple", "a multiple of {}"),
    "minContains": ("has too few items of the kind that it must contain", "at least {} of them"),
    "maxContains": ("has too many items of the kind that it may contain", "at most {} of them"),
}
_FIXED: Final = {
    "const": "is not the only value that is allowed",
    "contains": "has no item of the kind that it must contain",
    "enum": "is not one of the values that are allowed",
    "format": "is not of the format",
    "not": "is of a kind that is not allowed",
    "pattern": "does not match the pattern",
    "propertyNames": "has a key that is not allowed",
    "uniqueItems": "has items that are equal",
    "unevaluatedItems": "has more items than are declared",
    "additionalItems": "has more items than are declared",
    "items": "has more items than are declared",
    "dependentRequired": "lacks keys that must come with the ones that it has",
    "dependencies": "lacks keys that must come with the ones that it has",
    LARK_KEYWORD: "does not follow the grammar",
}
_WRONG_KIND: Final = frozenset({"type", "const", "enum"})


def schema_issues(errors: Iterable[ValidationError]) -> list[Issue]:
    """One issue a fault, in the order found; in unions, those of the branch that was meant."""
    found: dict[tuple[object, ...], Issue] = {}
    for error in errors:
        for issue in _issues(error):
            found.setdefault((issue.path, issue.keyword, issue.message), issue)
    return list(found.values())


def shown(value: object) -> str:
    """A value as compact JSON, cut at 200 characters."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=repr)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _issues(error: ValidationError) -> Iterator[Issue]:
    path = tuple(error.absolute_path)
    validator = cast("object", error.validator)  # None under a schema that is `false`
    keyword = validator if isinstance(validator, str) else None
    if keyword in {"anyOf", "oneOf"}:
        yield from _union(error, path, keyword)
    elif keyword == "required":
        yield from _missing(error, path)
    elif keyword in {"additionalProperties", "unevaluatedProperties"}:
        yield _undeclared(error, path, keyword)
    else:
        message, expected = _words(error, keyword)
        yield Issue(
            path=path,
            message=message,
            found=shown(error.instance),
            expected=expected,
            keyword=keyword,
        )


def _words(error: ValidationError, keyword: str | None) -> tuple[str, str | None]:
    limit: Any = error.validator_value
    if error.message == UNDECIDED:
        return f"cannot be checked in bounded time ({keyword})", None
    if keyword is None:
        return "is not allowed here", "nothing"
    if keyword == CODE_KEYWORD:
        return error.message, shown(limit)
    if keyword == "type":
        kinds = limit if isinstance(limit, list) else [limit]
        names = " or ".join(kind if isinstance(kind, str) else "another" for kind in kinds)
        return f"is {_kind(error.instance)}", names
    if keyword in _LIMITS:
        message, expected = _LIMITS[keyword]
        return message, expected.format(shown(limit))
    if keyword in {"contains", "not"}:
        return _FIXED[keyword], shown(limit)
    if keyword in {"enum", "const", "format", "pattern", LARK_KEYWORD}:
        return _FIXED[keyword], limit[:_LONGEST] if isinstance(limit, str) else shown(limit)
    return _FIXED.get(keyword, f"breaks {keyword}"), shown(limit)


def _missing(error: ValidationError, path: tuple[str | int, ...]) -> Iterator[Issue]:
    required, instance = error.validator_value, error.instance
    if not isinstance(required, list) or not isinstance(instance, dict):
        yield Issue(path=path, message="lacks a key that is required", keyword="required")
        return
    for name in required:
        if isinstance(name, str) and name not in instance:
            yield Issue(path=(*path, name), message="is required and missing", keyword="required")


def _undeclared(error: ValidationError, path: tuple[str | int, ...], keyword: str) -> Issue:
    schema, instance = error.schema, error.instance
    extra: list[str] = []
    if isinstance(schema, dict) and isinstance(instance, dict):
        extra = undeclared_keys(instance, schema)
        declared = list(schema.get("properties", {}))
    else:
        declared = []
    return Issue(
        path=path,
        message="has keys that are not declared",
        found=shown(extra),
        expected=f"only the keys {shown(declared)}" if declared else None,
        keyword=keyword,
    )


def _union(error: ValidationError, path: tuple[str | int, ...], keyword: str) -> Iterator[Issue]:
    branches: dict[object, list[ValidationError]] = {}
    for below in error.context or ():
        branches.setdefault(below.relative_schema_path[0], []).append(below)
    meant = _meant(list(branches.values()), len(path))
    if meant is not None:
        for below in meant:
            yield from _issues(below)
        return
    if branches:
        message = "is none of the alternatives"
    else:
        message = "is more than one of the alternatives, and must be exactly one"
    yield Issue(
        path=path,
        message=message,
        found=shown(error.instance),
        expected=_alternatives(error.validator_value),
        keyword=keyword,
    )


def _meant(branches: list[list[ValidationError]], depth: int) -> list[ValidationError] | None:
    """The one branch that the model seems to have meant: of the right kind, with fewest faults."""
    possible = [
        errors for errors in branches if not any(_is_wrong_kind(each, depth) for each in errors)
    ]
    if len(possible) == 1:
        return possible[0]
    fewest = min((len(errors) for errors in possible), default=0)
    nearest = [errors for errors in possible if len(errors) == fewest]
    return nearest[0] if len(nearest) == 1 else None


def _is_wrong_kind(error: ValidationError, depth: int) -> bool:
    """Whether it is the value itself, or the constant that names a branch, that does not fit."""
    below = len(error.absolute_path) - depth
    if below == 0:
        return error.validator in _WRONG_KIND
    return below == 1 and error.validator == "const"


def _alternatives(branches: Any) -> str | None:
    if not isinstance(branches, list):
        return None
    names = [_branch_name(branch) for branch in branches]
    return " or ".join(names)[:_LONGEST]


def _branch_name(branch: JsonValue) -> str:
    if isinstance(branch, dict):
        for keyword in ("title", "$ref", "type", "const"):
            if isinstance(branch.get(keyword), str):
                return str(branch[keyword]).rpartition("/")[2]
    return shown(branch)


def _kind(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, str):
        return "a string"
    if isinstance(value, int | float):
        return "a number"
    return "an array" if isinstance(value, list) else "an object"
