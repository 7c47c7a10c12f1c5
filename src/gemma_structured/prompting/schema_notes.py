"""What a type in the compact notation cannot say, as a comment: descriptions and constraints."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gemma_structured.schema.code_parsers import LANGUAGE_FORMS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gemma_structured.types import JsonValue

__all__ = ["constraints", "one_line"]

_CONSTRAINTS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "more than {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "less than {}",
    "multipleOf": "a multiple of {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "pattern": "matches /{}/",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "minProperties": "at least {} entries",
    "maxProperties": "at most {} entries",
}
_FORMATS = {"date": "YYYY-MM-DD"}
_BRANCHES = ("anyOf", "oneOf", "allOf")
_MAX_DEPTH = 4
_ONE = re.compile(r"\b1 (character|item|entr(?:y|ie))s")


def constraints(schema: JsonValue, depth: int = 0) -> list[str]:
    """The constraints of a schema and of what it is made of, in words."""
    if not isinstance(schema, dict) or depth > _MAX_DEPTH:
        return []
    notes = list(_own(schema))
    for keyword in _BRANCHES:
        branches = schema.get(keyword)
        if isinstance(branches, list):
            several = keyword != "allOf" and sum(map(_is_value, branches)) > 1
            for branch in branches:
                kind = branch.get("type") if several and isinstance(branch, dict) else None
                lead = f"{kind}: " if isinstance(kind, str) else ""
                notes += [f"{lead}{note}" for note in constraints(branch, depth + 1)]
    if "prefixItems" not in schema:
        notes += [f"each {note}" for note in constraints(schema.get("items"), depth + 1)]
    notes += [f"each {n}" for n in constraints(schema.get("additionalProperties"), depth + 1)]
    return list(dict.fromkeys(notes))


def one_line(text: JsonValue) -> str:
    """A description without line breaks, so that it stays a comment."""
    return " ".join(str(text).split())


def _own(schema: Mapping[str, JsonValue]) -> list[str]:
    form = schema.get("format")
    notes = [one_line(_FORMATS.get(form, form))] if isinstance(form, str) else []
    exact = {
        part
        for part in ("Length", "Items", "Properties")
        if schema.get(f"min{part}") == schema.get(f"max{part}") is not None
    }
    notes += [form for name, form in LANGUAGE_FORMS.items() if schema.get("x-gemma-code") == name]
    for keyword, text in _CONSTRAINTS.items():
        value = schema.get(keyword)
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            continue
        if keyword == "pattern" and form is not None:
            continue  # the pattern of a format says nothing more to a reader
        if keyword.endswith("Items") and "prefixItems" in schema:
            continue  # a tuple shows its length
        if keyword[3:] in exact:
            if keyword.startswith("max"):
                continue
            text = text.replace("at least", "exactly")  # noqa: PLW2901
        notes.append(_ONE.sub(_singular, one_line(text.format(value))))
    return notes


def _singular(found: re.Match[str]) -> str:
    return "1 entry" if found[1].startswith("entr") else f"1 {found[1]}"


def _is_value(branch: JsonValue) -> bool:
    return not (isinstance(branch, dict) and branch.get("type") == "null")
