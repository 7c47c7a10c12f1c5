"""Reads JSON as RFC 8259 has it, and nothing besides: what Python's reader lets through is refused.

`NaN`, `Infinity`, numbers too large for a double, keys written twice, half surrogate pairs and
endless nesting are all issues with a path.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from gemma_structured.types import Issue, JsonValue

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["EXACT_DIGITS", "MAX_CHARACTERS", "MAX_DEPTH", "StrictJson", "read_json"]

MAX_DEPTH: Final = 100
"""Levels of nesting that are read."""
MAX_CHARACTERS: Final = 10_000_000
"""Characters of JSON that are read."""
EXACT_DIGITS: Final = 15
"""Characters of a number that a double keeps for certain."""
_MAX_DIGITS: Final = 1000
_SHOWN: Final = 40
_BRACKETS: Final = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\Z)|[\[\]{}]', re.DOTALL)
_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")


@dataclass(frozen=True, slots=True, kw_only=True)
class StrictJson:
    """What was read.

    Attributes:
        value: The value; `None` if there are issues.
        issues: Everything that is wrong with the text as JSON.
        long_fractions: Whether a number has more digits than a double can keep.
    """

    value: JsonValue = None
    issues: tuple[Issue, ...] = ()
    long_fractions: bool = False


def read_json(text: str) -> StrictJson:
    """Read one JSON value.

    Args:
        text: The whole text; white space around the value is allowed.
    """
    refusal = _refuse_at_once(text)
    if refusal is not None:
        return StrictJson(issues=(refusal,))
    reader = _Reader()
    try:
        value: Any = json.loads(
            text,
            object_pairs_hook=reader.pairs,
            parse_constant=reader.constant,
            parse_float=reader.fraction,
            parse_int=reader.integer,
        )
    except json.JSONDecodeError as error:
        return StrictJson(issues=(_syntax_issue(text, error),))
    if reader.faults or _SURROGATE.search(text):
        issues = tuple(_faults(value, ()))
        if issues:
            return StrictJson(issues=issues)
    return StrictJson(value=value, long_fractions=reader.long_fractions)


def _refuse_at_once(text: str) -> Issue | None:
    if not text.strip(" \t\r\n"):
        return Issue(message="is empty", expected="a JSON value", source="syntax")
    if len(text) > MAX_CHARACTERS:
        return Issue(
            message=f"is longer than {MAX_CHARACTERS:,} characters",
            keyword="length",
            source="syntax",
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return Issue(
            message=f"holds half a surrogate pair at character {error.start}", source="syntax"
        )
    if text.count("[") + text.count("{") > MAX_DEPTH and _depth(text) > MAX_DEPTH:
        return Issue(
            message=f"is nested more than {MAX_DEPTH} levels deep", keyword="depth", source="syntax"
        )
    return None


def _depth(text: str) -> int:
    depth = deepest = 0
    for match in _BRACKETS.finditer(text):
        token = match[0]
        if token in {"[", "{"}:
            depth += 1
            deepest = max(deepest, depth)
        elif token in {"]", "}"}:
            depth -= 1
    return deepest


@dataclass(frozen=True, slots=True)
class _Fault:
    """Stands in the value where something was written that JSON does not have."""

    message: str
    written: str


class _Repeated(dict[str, Any]):
    """An object with keys that were written more than once."""

    repeated: tuple[str, ...] = ()


class _Reader:
    """The hooks of one reading; what they refuse is marked in the value, so that it has a path."""

    def __init__(self) -> None:
        self.faults = False
        self.long_fractions = False

    def pairs(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) == len(pairs):
            return made
        seen, repeated = set[str](), dict[str, None]()
        for key, _ in pairs:
            if key in seen:
                repeated[key] = None
            seen.add(key)
        self.faults = True
        marked = _Repeated(made)
        marked.repeated = tuple(repeated)
        return marked

    def constant(self, name: str) -> _Fault:
        return self._fault("is not a JSON number", name)

    def fraction(self, written: str) -> float | _Fault:
        number = float(written)
        if math.isinf(number):
            return self._fault("is too large for a number", written)
        if len(written) > EXACT_DIGITS:
            self.long_fractions = True
        return number

    def integer(self, written: str) -> int | _Fault:
        if len(written) > _MAX_DIGITS:
            return self._fault(f"has more than {_MAX_DIGITS} digits", written)
        return int(written)

    def _fault(self, message: str, written: str) -> _Fault:
        self.faults = True
        return _Fault(message, written)


def _faults(value: Any, path: tuple[str | int, ...]) -> Iterator[Issue]:
    if isinstance(value, _Fault):
        yield Issue(
            path=path,
            message=value.message,
            found=value.written[:_SHOWN],
            expected="a finite number",
            source="syntax",
        )
    elif isinstance(value, str):
        if not _is_unicode(value):
            yield Issue(path=path, message="holds half a surrogate pair", source="syntax")
    elif isinstance(value, dict):
        if isinstance(value, _Repeated):
            shown = json.dumps(value.repeated, ensure_ascii=False)[:200]
            yield Issue(
                path=path, message="has keys that are written twice", found=shown, source="syntax"
            )
        if not all(map(_is_unicode, value)):
            yield Issue(path=path, message="has a key with half a surrogate pair", source="syntax")
            return
        for key, item in value.items():
            yield from _faults(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _faults(item, (*path, index))


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _syntax_issue(text: str, error: json.JSONDecodeError) -> Issue:
    start = max(0, error.pos - _SHOWN // 2)
    reason = error.msg[:1].lower() + error.msg[1:]
    return Issue(
        message=f"is not JSON at character {error.pos}: {reason}",
        found=text[start : start + _SHOWN],
        expected="a JSON value",
        source="syntax",
    )
