"""Examples are written exactly as the grammar would let a model write them, or refused."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field, ValidationInfo, field_validator

from gemma_structured.exceptions import InputError
from gemma_structured.schema import JsonSchema, OutputType, Regex


class Line(BaseModel):
    """A line of a bill."""

    name: str
    price: decimal.Decimal


class Bill(BaseModel):
    """A bill."""

    lines: list[Line]
    total: float = Field(ge=0)


class Trip(BaseModel):
    """Is checked against a context."""

    city: str

    @field_validator("city")
    @classmethod
    def _known(cls, city: str, info: ValidationInfo) -> str:
        if info.context is not None and city not in info.context:
            raise ValueError("unknown city")
        return city


def test_plain_data_is_taken_for_a_model():
    """Dicts are as good as instances, in whatever order their keys come."""
    value: Any = {"total": 3, "lines": [{"price": "1.5", "name": "a"}]}
    assert OutputType.of(Bill).dump(value) == '{"lines":[{"name":"a","price":"1.5"}],"total":3}'


def test_keys_follow_the_branch_that_fits():
    """In unions, the order is that of the branch that the value is of."""
    schema = JsonSchema(
        {
            "$defs": {"Y": {"properties": {"y": {"type": "string"}, "x": {}}, "required": ["y"]}},
            "anyOf": [
                {"properties": {"x": {"type": "integer"}, "y": {"type": "integer"}}},
                {"$ref": "#/$defs/Y"},
            ],
        }
    )
    output_type = OutputType.of(schema)
    assert output_type.dump({"y": 1, "x": 1}) == '{"x":1,"y":1}'
    assert output_type.dump({"x": 1, "y": "1"}) == '{"y":"1","x":1}'


def test_keys_follow_all_of_and_items():
    """Order is found through allOf, references, tuples and maps."""
    ab = {"properties": {"a": {}, "b": {}}}
    schema = JsonSchema(
        {
            "$defs": {"AB": ab},
            "allOf": [{"properties": {"p": {"$ref": "#/$defs/AB"}}}],
            "properties": {"q": {"prefixItems": [{"$ref": "#/$defs/AB"}], "items": ab}},
            "additionalProperties": ab,
        }
    )
    value: Any = {
        "z": {"b": 1, "a": 2},
        "p": {"b": 1, "a": 2},
        "q": [{"b": 1, "a": 2}, {"b": 1, "a": 2}],
    }
    assert OutputType.of(schema).dump(value) == (
        '{"q":[{"a":2,"b":1},{"a":2,"b":1}],"p":{"a":2,"b":1},"z":{"a":2,"b":1}}'
    )


@pytest.mark.parametrize(
    ("spec", "value"),
    [
        (Bill, {"lines": []}),
        (Bill, {"lines": [], "total": -1}),
        (Bill, {"lines": [], "total": 1, "more": 2}),
        (Bill, {"lines": [{"name": "secret document text", "price": None}], "total": 1}),
        (Bill, 3),
        (int, "secret document text"),
        (int, 1.5),
        (float, float("nan")),
        (float, float("inf")),
        (decimal.Decimal, decimal.Decimal("NaN")),
        (Annotated[decimal.Decimal, Field(max_digits=3)], decimal.Decimal("1.2345")),
        (str, "\ud800"),
        (str, None),
        (bytes, b"\xff"),
        (Any, object()),
        (Any, {1, object}),
        (dt.timedelta, dt.timedelta(days=10_000_000)),
        (Regex("a"), "b"),
        (Regex("a"), 3),
        (JsonSchema({"type": "integer"}), "secret document text"),
        (JsonSchema({}), b"\xff"),
        (Trip, {"city": None}),
    ],
)
def test_refuses_what_is_no_example(spec, value):
    """A value that the type does not allow is refused, and the message does not repeat it."""
    with pytest.raises(InputError) as caught:
        OutputType.of(spec).dump(value)
    assert "secret" not in str(caught.value)
    assert OutputType.of(spec).name in str(caught.value)


def test_a_default_that_is_not_valid_is_left_out():
    """A field that holds a default outside of its type is not written, as a model would not."""

    class Loose(BaseModel):
        name: str
        count: int = None  # type: ignore[assignment]

    @dataclasses.dataclass
    class LoosePoint:
        x: int
        y: int = None  # type: ignore[assignment]

    assert OutputType.of(Loose).dump(Loose(name="a")) == '{"name":"a"}'
    assert OutputType.of(Loose).dump(Loose(name="a", count=2)) == '{"name":"a","count":2}'
    assert OutputType.of(list[LoosePoint]).dump([LoosePoint(1)]) == '[{"x":1}]'


def test_refuses_endless_values():
    """A value that contains itself is refused."""
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(InputError, match="contains itself"):
        OutputType.of(list).dump(loop)


def test_context_reaches_the_validators():
    """Examples are validated with the context that outputs will be validated with."""
    output_type = OutputType.of(Trip)
    assert output_type.dump(Trip(city="Ulm"), context={"Ulm"}) == '{"city":"Ulm"}'
    with pytest.raises(InputError, match="unknown city"):
        output_type.dump(Trip(city="Ulm"), context={"Bonn"})
