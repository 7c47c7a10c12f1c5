"""Turns Pydantic's errors into issues whose paths lead through the JSON value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gemma_structured.parsing.schema_issues import shown
from gemma_structured.types import Issue, JsonValue

if TYPE_CHECKING:
    from pydantic import ValidationError

__all__ = ["pydantic_issues"]

_MISSING = object()


def pydantic_issues(error: ValidationError, value: JsonValue) -> list[Issue]:
    """One issue an error, in Pydantic's order.

    Args:
        error: What Pydantic raised.
        value: The JSON value that it read.
    """
    return [
        _issue(details, value) for details in error.errors(include_url=False, include_input=False)
    ]


def _issue(details: Any, value: JsonValue) -> Issue:
    path, found = _follow(details["loc"], value, missing=details["type"] == "missing")
    expected = details.get("ctx", {}).get("expected")
    return Issue(
        path=path,
        message=details["msg"],
        found=None if found is _MISSING else shown(found),
        expected=str(expected)[:200] if expected is not None else None,
        keyword=details["type"],
        source="pydantic",
    )


def _follow(
    location: tuple[str | int, ...], value: Any, *, missing: bool
) -> tuple[tuple[str | int, ...], object]:
    """The part of Pydantic's location that is in the value: it names validators and tags too."""
    path: tuple[str | int, ...] = ()
    parts: list[Any] = list(location)
    for index, part in enumerate(parts):
        in_object = isinstance(value, dict) and part in value
        in_array = isinstance(value, list) and isinstance(part, int) and part < len(value)
        if in_object or in_array:
            path, value = (*path, part), value[part]
        elif missing and index == len(location) - 1:
            return (*path, part), _MISSING
    return path, value
