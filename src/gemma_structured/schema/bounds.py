"""Default bounds on what a schema leaves unbounded, since a model may run away in it.

A model can repeat digits, words or items until its tokens are spent. So numbers, strings, arrays
and maps that have no bound of their own get one, large enough for what is extracted from documents,
and every bound that is added is reported. They narrow what a model may *write*; what it wrote is
validated against the schema without them.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

from gemma_structured.exceptions import InputError
from gemma_structured.schema.bound_rules import added_bounds
from gemma_structured.schema.bound_scopes import Scopes
from gemma_structured.schema.stack import enough_stack
from gemma_structured.types import JsonValue, pointer

if TYPE_CHECKING:
    from gemma_structured.schema.json_schema import JsonSchema, Path, Schema

__all__ = ["DEFAULT_BOUNDS", "Bounds", "bound", "check_bounds"]

_MAX_INTEGER_DIGITS: Final = 18
_MAX_FRACTION_DIGITS: Final = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How large a value may grow where its schema does not say; `None` leaves that unbounded.

    Attributes:
        integer_digits: Digits of a number before the point, 1 to 18: 18 allows `-10**18` to
            `10**18`. Numbers that may have a fraction get at most 15, what a double holds exactly.
            Numbers with bounds are written without an exponent.
        fraction_digits: Digits of a number after the point, 0 to 9.
        string_length: Characters of a string.
        items: Items of an array.
        properties: Members of an object used as a map (`dict[str, T]`).
        key_length: Characters of the keys of such a map.

    Raises:
        InputError: A bound is out of its range.
    """

    integer_digits: int | None = 18
    fraction_digits: int | None = 9
    string_length: int | None = 4096
    items: int | None = 256
    properties: int | None = 256
    key_length: int | None = 128

    def __post_init__(self) -> None:
        """Refuse bounds that allow nothing, or that no grammar can hold."""
        most = {"integer_digits": _MAX_INTEGER_DIGITS, "fraction_digits": _MAX_FRACTION_DIGITS}
        for field in fields(self):
            value: int | None = getattr(self, field.name)
            least = 0 if field.name == "fraction_digits" else 1
            if value is None:
                continue
            if type(value) is not int or value < least or value > most.get(field.name, value):
                limit = f" to {most[field.name]}" if field.name in most else " or more"
                raise InputError(
                    f"{field.name} must be an integer of {least}{limit}, not {value!r:.40}."
                )


DEFAULT_BOUNDS: Final = Bounds()
"""The bounds that are used unless others, or `None`, are given."""


def check_bounds(bounds: object) -> None:
    """Refuse what was given as bounds and is none.

    Raises:
        InputError: It is neither `Bounds` nor `None`.
    """
    if bounds is not None and not isinstance(bounds, Bounds):
        raise InputError(
            f"bounds must be gs.Bounds or None, not {bounds!r:.40}.",
            hint="Write bounds=gs.Bounds(items=10), for example, or bounds=None for none.",
        )


@enough_stack()
def bound(
    schema: JsonSchema, bounds: Bounds | None
) -> tuple[JsonSchema, tuple[tuple[str, str, JsonValue], ...]]:
    """Add bounds to the numbers, strings, arrays and maps that have none of their own.

    Only schemas that name a `type` and can apply to an instance are bounded. Left as they are: an
    `enum` or `const`; strings with a pattern, and those that their format keeps short; what stands
    inside `not`, `if` or `contains`; schemas that share their value with others (`allOf`, `$ref`
    with siblings) where one of those bounds that kind of value itself.

    Args:
        schema: The schema, as a user or a type gave it.
        bounds: The bounds; `None` adds none.

    Returns:
        The bounded schema, and each bound as `(pointer, keyword, value)`. The keys of a map are
        bounded by `patternProperties`, which every grammar backend knows, and reported as the
        `propertyNames` that it stands for.

    Raises:
        InputError: The bounds are neither `Bounds` nor `None`.
    """
    check_bounds(bounds)
    if bounds is None or not isinstance(schema.value, dict):
        return schema, ()
    scopes = Scopes(schema)
    added: dict[Path, dict[str, JsonValue]] = {}
    for path, node in schema.walk():
        if isinstance(node, dict) and (new := added_bounds(node, bounds, scopes, schema.formats)):
            added[path] = new
    if not added:
        return schema, ()

    def apply(path: Path, node: Schema) -> Schema:
        return _with(node, added[path]) if path in added and isinstance(node, dict) else node

    report = tuple(
        (pointer(path), keyword, value)
        for path, keywords in added.items()
        for keyword, value in keywords.items()
    )
    return schema.transform(apply), report


def _with(node: dict[str, JsonValue], keywords: dict[str, JsonValue]) -> Schema:
    names = keywords.get("propertyNames")
    if not isinstance(names, dict):
        return {**node, **keywords}
    values = node.get("additionalProperties", True)
    rest = {key: value for key, value in keywords.items() if key != "propertyNames"}
    pattern = rf"^[\s\S]{{0,{names['maxLength']}}}$"
    return {
        **node,
        "patternProperties": {pattern: values},
        "additionalProperties": False,
        **rest,
    }
