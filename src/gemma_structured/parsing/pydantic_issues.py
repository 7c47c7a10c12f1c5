"""Turns Pydantic's errors into issues whose paths lead through the JSON value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from gemma_structured.parsing.schema_issues import shown
from gemma_structured.types import Issue

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from pydantic import ValidationError

    from gemma_structured.types import JsonValue

__all__ = ["pydantic_issues"]

Path = tuple[str | int, ...]

_MISSING: Final = object()
_LONGEST: Final = 200
_SHORTEST_QUOTED: Final = 4
"""Shorter texts are too likely to be words of the message itself."""
_OF_VALIDATORS: Final = frozenset({"value_error", "assertion_error"})


def pydantic_issues(
    error: ValidationError, value: JsonValue, known: Collection[Issue] = ()
) -> list[Issue]:
    """One issue an error, in Pydantic's order, without what the schema's issues say already.

    Args:
        error: What Pydantic raised.
        value: The JSON value that it read.
        known: The schema's issues. Where they speak of a place, Pydantic's words for it are left
            out, and so are its errors of the union members that were not meant.
    """
    places = {issue.path for issue in known}
    closed = {issue.path for issue in known if issue.keyword == "additionalProperties"}
    found: list[Issue] = []
    for details in error.errors(include_url=False, include_input=False):
        place = _follow(details["loc"], value, missing=details["type"] == "missing")
        if details["type"] == "extra_forbidden" and place.path[:-1] in closed:
            continue
        if not _is_known(place, places, by_validator=details["type"] in _OF_VALIDATORS):
            found.append(_issue(details, place))
    return found


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an error is.

    Attributes:
        path: Its path through the value.
        found: What is there.
        forks: The paths at which Pydantic's location names a union member or a validator.
    """

    path: Path
    found: object
    forks: tuple[Path, ...]


def _follow(location: tuple[str | int, ...], value: Any, *, missing: bool) -> _Place:
    """The part of Pydantic's location that is in the value: it names members of unions too."""
    path: Path = ()
    forks: list[Path] = []
    parts: list[Any] = list(location)
    for index, part in enumerate(parts):
        in_object = isinstance(value, dict) and part in value
        in_array = isinstance(value, list) and isinstance(part, int) and part < len(value)
        if in_object or in_array:
            path, value = (*path, part), value[part]
        elif missing and index == len(location) - 1:
            path, value = (*path, part), _MISSING
        else:
            forks.append(path)
    return _Place(path, value, tuple(forks))


def _is_known(place: _Place, places: set[Path], *, by_validator: bool) -> bool:
    above = {place.path[:length] for length in range(len(place.path) + 1)} - {()}
    if places & above or (place.path in places and not by_validator):
        return True
    return any(each[: len(fork)] == fork for fork in place.forks for each in places)


def _unquoted(message: str, found: object) -> str:
    """A validator's own words, without the texts of the value that it may quote."""
    for text in sorted(set(_texts(found)), key=len, reverse=True):
        message = message.replace(text, "…")
    return message


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        if len(value) >= _SHORTEST_QUOTED:
            yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)


def _issue(details: Any, place: _Place) -> Issue:
    expected = details.get("ctx", {}).get("expected")
    return Issue(
        path=place.path,
        message=_unquoted(details["msg"], place.found),
        found=None if place.found is _MISSING else shown(place.found),
        expected=None if expected is None else str(expected)[:_LONGEST],
        keyword=details["type"],
        source="pydantic",
    )
