"""The drafts of JSON Schema: which keywords hold schemas, and which validator class is theirs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from jsonschema import (
    Draft3Validator,
    Draft4Validator,
    Draft6Validator,
    Draft7Validator,
    Draft201909Validator,
    Draft202012Validator,
)
from referencing.jsonschema import (
    DRAFT3,
    DRAFT4,
    DRAFT6,
    DRAFT7,
    DRAFT201909,
    DRAFT202012,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jsonschema.protocols import Validator
    from referencing import Specification

    from gemma_structured.types import JsonValue

__all__ = ["DEFAULT_DIALECT", "Dialect", "children", "find_dialect"]

_ONE: Final = frozenset(
    {
        "additionalItems",
        "additionalProperties",
        "contains",
        "contentSchema",
        "else",
        "if",
        "items",
        "not",
        "propertyNames",
        "then",
        "unevaluatedItems",
        "unevaluatedProperties",
    }
)
_LIST: Final = frozenset({"allOf", "anyOf", "oneOf", "prefixItems", "items"})
_MAP: Final = frozenset(
    {
        "$defs",
        "definitions",
        "dependencies",
        "dependentSchemas",
        "patternProperties",
        "properties",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dialect:
    """One draft of JSON Schema.

    Attributes:
        name: `2020-12`, `draft-07` and so on.
        uri: The `$schema` that names it.
        validator_class: jsonschema's validator for it.
        specification: What `referencing` knows about its identifiers.
        ref_hides_siblings: Whether keywords beside `$ref` are ignored (draft 7 and before).
    """

    name: str
    uri: str
    validator_class: type[Validator]
    specification: Specification[Any]
    ref_hides_siblings: bool


def _dialect(
    name: str, validator: type[Validator], specification: Specification[Any], *, old: bool
) -> Dialect:
    uri = str(validator.META_SCHEMA.get("$id") or validator.META_SCHEMA["id"])
    return Dialect(
        name=name,
        uri=uri,
        validator_class=validator,
        specification=specification,
        ref_hides_siblings=old,
    )


_DIALECTS: Final = (
    _dialect("draft-03", Draft3Validator, DRAFT3, old=True),
    _dialect("draft-04", Draft4Validator, DRAFT4, old=True),
    _dialect("draft-06", Draft6Validator, DRAFT6, old=True),
    _dialect("draft-07", Draft7Validator, DRAFT7, old=True),
    _dialect("2019-09", Draft201909Validator, DRAFT201909, old=False),
    _dialect("2020-12", Draft202012Validator, DRAFT202012, old=False),
)
DEFAULT_DIALECT: Final = _DIALECTS[-1]
"""Draft 2020-12: what a schema without `$schema` is read as."""


def _bare(uri: str) -> str:
    return uri.removeprefix("https://").removeprefix("http://").rstrip("#").rstrip("/")


_BY_URI: Final = {_bare(dialect.uri): dialect for dialect in _DIALECTS} | {
    "json-schema.org/schema": DEFAULT_DIALECT
}


def find_dialect(uri: str) -> Dialect | None:
    """The draft that a `$schema` names, whatever its scheme and its trailing `#`."""
    return _BY_URI.get(_bare(uri))


def children(
    schema: dict[str, JsonValue],
) -> Iterator[tuple[tuple[str | int, ...], JsonValue]]:
    """The schemas directly inside a schema, each with the path to it, in the order written.

    Keywords of every draft count, so that definitions kept under a newer or older name are found.
    """
    for keyword, value in schema.items():
        if keyword in _MAP and isinstance(value, dict):
            for name, child in value.items():
                if isinstance(child, dict | bool):
                    yield (keyword, name), child
        elif keyword in _LIST and isinstance(value, list):
            for index, child in enumerate(value):
                if isinstance(child, dict | bool):
                    yield (keyword, index), child
        elif keyword in _ONE and isinstance(value, dict | bool):
            yield (keyword,), value
