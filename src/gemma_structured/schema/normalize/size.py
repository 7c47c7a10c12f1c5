"""How many characters the compact JSON of the instances of a rewritten schema has."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from gemma_structured.schema.normalize.facets import exact
from gemma_structured.schema.normalize.regex.measure import lengths
from gemma_structured.schema.normalize.regex.parse import parse
from gemma_structured.schema.normalize.regex.syntax import RegexError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gemma_structured.types import JsonValue

__all__ = ["Size", "size"]

_TYPES: Final = ("null", "boolean", "number", "string", "array", "object")
_ROUNDS: Final = 60


class Size(NamedTuple):
    """Characters of compact JSON.

    Attributes:
        least: Of the shortest instance.
        most: Of the longest instance; `None` if there is none longest. An escape counts as one.
    """

    least: int
    most: int | None


class _Range(NamedTuple):
    least: float
    most: float


_NOTHING: Final = _Range(math.inf, 0)
_ANYTHING: Final = _Range(1, math.inf)


def size(schema: JsonValue) -> Size:
    """The size of the instances of a schema as `normalize` writes it.

    Args:
        schema: The schema, which some value satisfies.
    """
    whole: Any = schema
    definitions: dict[str, Any] = whole.get("$defs", {}) if isinstance(whole, dict) else {}
    # The definitions depend on each other: their ranges grow from nothing until they are stable.
    known = dict.fromkeys(definitions, _NOTHING)
    for turn in range(_ROUNDS + 1):
        measured = {name: _measure(one, known) for name, one in definitions.items()}
        if measured == known:
            break
        grown = {name for name in known if measured[name].most > known[name].most}
        if turn > len(known) + 1:  # what still grows contains itself
            measured.update((name, measured[name]._replace(most=math.inf)) for name in grown)
        known = measured
    found = _measure(schema, known)
    return Size(int(found.least), None if found.most == math.inf else int(found.most))


def _measure(schema: Any, known: dict[str, _Range]) -> _Range:
    if isinstance(schema, bool):
        return _ANYTHING if schema else _NOTHING
    if "$ref" in schema:
        return known[schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        return _either(_measure(option, known) for option in schema["anyOf"])
    if "const" in schema or "enum" in schema:
        values = [schema["const"]] if "const" in schema else schema["enum"]
        return _either(_exactly(len(_compact(value))) for value in values)
    types = schema.get("type", _TYPES)
    return _either(
        _of_type(name, schema, known) for name in ([types] if isinstance(types, str) else types)
    )


def _of_type(name: str, schema: dict[str, Any], known: dict[str, _Range]) -> _Range:
    if name == "null":
        return _exactly(4)
    if name == "boolean":
        return _Range(4, 5)
    if name == "string":
        return _string(schema)
    if name == "array":
        return _array(schema, known)
    if name == "object":
        return _object(schema, known)
    return _number(schema, integer=name == "integer")


def _string(schema: dict[str, Any]) -> _Range:
    least, most = schema.get("minLength", 0), schema.get("maxLength", math.inf)
    patterns = [schema["pattern"]] if "pattern" in schema else []
    for pattern in [*patterns, *(one["pattern"] for one in schema.get("allOf", ()))]:
        try:
            found = lengths(parse(pattern))
        except RegexError:
            continue
        if found is not None:
            least = max(least, found[0])
            most = min(most, math.inf if found[1] is None else found[1])
    return _Range(least + 2, most + 2)


def _number(schema: dict[str, Any], *, integer: bool) -> _Range:
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    least = len(str(math.ceil(low))) if low is not None and low > 0 else 1
    if high is not None and high < 0:
        least = len(str(math.floor(high)))
    fraction = 0 if integer else _fraction_digits(schema.get("multipleOf"))
    if low is None or high is None:
        return _Range(least, math.inf)
    whole = max(len(str(math.floor(low))), len(str(math.ceil(high))))
    return _Range(least, whole + (fraction + 1 if fraction else 0))


def _fraction_digits(step: float | None) -> float:
    if step is None:
        return math.inf
    denominator = exact(step).denominator
    return 0 if denominator == 1 else math.ceil(math.log10(denominator))


def _array(schema: dict[str, Any], known: dict[str, _Range]) -> _Range:
    prefix = [_measure(one, known) for one in schema.get("prefixItems", ())]
    items = _measure(schema.get("items", True), known)
    fewest, longest = schema.get("minItems", 0), schema.get("maxItems", math.inf)
    if items == _NOTHING:
        longest = min(longest, len(prefix))
    first, others = prefix[:fewest], max(0, fewest - len(prefix))
    least = sum(one.least + 1 for one in first) + (others * (items.least + 1) if others else 0)
    counted = prefix if longest == math.inf else prefix[: int(longest)]
    rest = max(0, longest - len(prefix))
    most = sum(one.most + 1 for one in counted) + (rest * (items.most + 1) if rest else 0)
    return _Range(2 + max(0, least - 1), 2 + max(0, most - 1))


def _object(schema: dict[str, Any], known: dict[str, _Range]) -> _Range:
    required = set(schema.get("required", ()))
    least, most, named = 0.0, 0.0, 0
    for name, one in schema.get("properties", {}).items():
        value = _measure(one, known)
        if value == _NOTHING and name not in required:
            continue
        around = len(_compact(name)) + 2
        least += value.least + around if name in required else 0
        most += value.most + around
        named += 1
    more, member = _others(schema, known)
    fewest, longest = schema.get("minProperties", 0), schema.get("maxProperties", math.inf)
    missing = max(0, fewest - len(required))
    least += missing * member.least if missing else 0
    room = max(0, longest - len(required)) if more else 0
    most += room * member.most if room else 0
    return _Range(2 + max(0, least - 1), 2 + max(0, most - 1))


def _others(schema: dict[str, Any], known: dict[str, _Range]) -> tuple[bool, _Range]:
    """Whether there may be properties that are not named, and how large one of them is."""
    sizes: list[_Range] = []
    for pattern, one in schema.get("patternProperties", {}).items():
        value = _measure(one, known)
        if value != _NOTHING:
            name = _string({"pattern": pattern})
            sizes.append(_Range(name.least + value.least + 2, name.most + value.most + 2))
    rest = _measure(schema.get("additionalProperties", True), known)
    if rest != _NOTHING:
        sizes.append(_Range(rest.least + 4, math.inf))
    return bool(sizes), _either(sizes)


def _either(ranges: Iterable[_Range]) -> _Range:
    found = [one for one in ranges if one != _NOTHING]
    if not found:
        return _NOTHING
    return _Range(min(one.least for one in found), max(one.most for one in found))


def _exactly(length: int) -> _Range:
    return _Range(length, length)


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
