"""The JSON Schema of a `Decimal`."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import core_schema

__all__ = ["decimal_schema"]

_KEYWORDS: Final = {
    "ge": "minimum",
    "gt": "exclusiveMinimum",
    "le": "maximum",
    "lt": "exclusiveMaximum",
    "multiple_of": "multipleOf",
}
_FINEST: Final = 9
_INTEGER_DIGITS: Final = 18
_FRACTION_DIGITS: Final = 18


def decimal_schema(schema: core_schema.DecimalSchema) -> JsonSchemaValue:
    """A number with the type's constraints, or, where a pattern can hold them, a plain string.

    The string is there for what a JSON number loses: trailing zeros and long fractions. A pattern
    cannot hold limits and multiples, so with those there is only the number; `max_digits` without
    `decimal_places` no number can hold, so with that there is only the string.
    """
    number = _number(schema)
    limits = {name for name in _KEYWORDS if schema.get(name) is not None}
    positive = limits == {"ge"} and schema.get("ge") == 0
    if limits and not positive:
        return number
    sign = "" if positive else "-?"
    string = {"type": "string", "pattern": f"^{sign}{_digits(schema)}$"}
    if schema.get("max_digits") is not None and schema.get("decimal_places") is None:
        return string
    return {"anyOf": [number, string]}


def _number(schema: core_schema.DecimalSchema) -> dict[str, Any]:
    constraints: dict[str, Any] = {"type": "number"}
    for name, keyword in _KEYWORDS.items():
        limit = schema.get(name)
        if isinstance(limit, Decimal | int | float):
            constraints[keyword] = _plain(Decimal(str(limit)))
    places, digits = schema.get("decimal_places"), schema.get("max_digits")
    if places is not None and places <= _FINEST:
        constraints.setdefault("multipleOf", _plain(Decimal(1).scaleb(-places)))
    if digits is not None and places is not None:
        largest = Decimal(10) ** (digits - places) - Decimal(1).scaleb(-places)
        if "exclusiveMaximum" not in constraints and "maximum" not in constraints:
            constraints["maximum"] = _plain(largest)
        if "exclusiveMinimum" not in constraints and "minimum" not in constraints:
            constraints["minimum"] = _plain(-largest)
    return constraints


def _digits(schema: core_schema.DecimalSchema) -> str:
    places, digits = schema.get("decimal_places"), schema.get("max_digits")
    if digits is None:
        return _decimal(_INTEGER_DIGITS, _FRACTION_DIGITS if places is None else places)
    if places is not None:
        return _decimal(digits - places, places)
    shares = [_decimal(digits - fraction, fraction) for fraction in range(digits + 1)]
    return f"(?:{'|'.join(shares)})"


def _decimal(whole: int, fraction: int) -> str:
    """A decimal with at most so many digits before and after the point."""
    integer = rf"(?:0|[1-9]\d{{0,{whole - 1}}})" if whole > 0 else "0"
    return integer + (rf"(?:\.\d{{1,{fraction}}})?" if fraction > 0 else "")


def _plain(number: Decimal) -> int | float:
    return int(number) if number == number.to_integral_value() else float(number)
