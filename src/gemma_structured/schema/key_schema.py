"""What the keys of a JSON object look like for a Python mapping with other keys than strings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gemma_structured.exceptions import SchemaError
from gemma_structured.schema import type_patterns

if TYPE_CHECKING:
    from pydantic.json_schema import JsonSchemaValue

__all__ = ["key_schema"]

_ANNOTATIONS: Final = frozenset({"title", "description", "default", "examples", "deprecated"})
_FORMATS: Final[dict[str, JsonSchemaValue]] = {
    "date": {"pattern": f"^{type_patterns.DATE}$"},
    "uuid": {"pattern": f"^{type_patterns.UUID}$"},
}
_INTEGER: Final = r"^(?:0|-?[1-9]\d{0,17})$"
_NATURAL: Final = r"^(?:0|[1-9]\d{0,17})$"
_NUMBER: Final = r"^-?(?:0|[1-9]\d{0,17})(?:\.\d{1,9})?$"


def key_schema(keys: JsonSchemaValue, *, numbers: bool = False) -> JsonSchemaValue:
    """The `propertyNames` for keys that would be written as `keys` if they were values.

    Args:
        keys: The schema of the keys as values.
        numbers: Whether they are an `Enum` derived from a number, whose values Pydantic reads from
            strings too.

    Returns:
        An empty schema for keys that may be any string.

    Raises:
        SchemaError: JSON has no such keys.
    """
    plain = {keyword: value for keyword, value in keys.items() if keyword not in _ANNOTATIONS}
    options = plain.get("enum", [plain["const"]] if "const" in plain else None)
    if options is not None:
        return {"enum": _names(options, numbers=numbers)}
    if "anyOf" in plain:
        branches = [key_schema(branch) for branch in plain["anyOf"]]
        return {"anyOf": branches} if all(branches) else {}
    kind = plain.pop("type", None)
    if kind == "string" or kind is None:
        return dict(_FORMATS.get(str(plain.get("format")), plain))
    if kind == "boolean":
        return {"enum": ["true", "false"]}
    if kind == "integer":
        return {"pattern": _NATURAL if _not_negative(plain) else _INTEGER}
    if kind == "number":
        return {"pattern": _NUMBER}
    raise SchemaError(
        f"A JSON object has no keys of type {kind}.",
        hint="Use a list of pairs, or keys that are strings, numbers, dates or enums.",
    )


def _names(options: list[Any], *, numbers: bool) -> list[str]:
    kinds = (str, int, float) if numbers else (str,)
    names = [
        str(option)
        for option in options
        if isinstance(option, kinds) and not isinstance(option, bool)
    ]
    if not names:
        raise SchemaError(
            "None of the keys is a string, as the keys of a JSON object are.",
            hint="Give the Enum or Literal string values, or derive the Enum from int.",
        )
    return names


def _not_negative(keywords: dict[str, Any]) -> bool:
    return bool(keywords.get("minimum", -1) >= 0 or keywords.get("exclusiveMinimum", -2) >= -1)
