"""Numbers at the edges: bounds and steps that a double or 64 bits hold, and those that they do not."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemma_structured.schema.json_schema import JsonSchema
from gemma_structured.schema.normalize import normalize
from gemma_structured.schema.normalize.facets import Numbers, exact
from gemma_structured.schema.normalize.numbers import number_keywords


@pytest.mark.parametrize("step", [0.01, 0.07, 0.1, 0.25, 0.3, 0.0075, 1.1, 2.5, 3, 12, 0.29, 0.57])
def test_decimal_steps_are_exact(mask, step):
    """Multiples are those of the decimal number that was written, not of its double."""
    enforced = mask({"type": "number", "multipleOf": step, "minimum": -50, "maximum": 50})
    for factor in (0, 1, 2, 3, 7, -3):
        value = exact(step) * factor
        if abs(value) <= 50:
            assert enforced.accepts_text(_decimal(value))
            assert not enforced.accepts_text(_decimal(value + exact(step) / 10))


def _decimal(value: Fraction) -> str:
    text = f"{float(value):.12f}".rstrip("0").rstrip(".")
    return "0" if text in {"-0", ""} else text


def test_a_step_that_no_double_stands_for_is_residual(law):
    """Where the engine would misread a step, multiples have at least no more digits than it."""
    normalized = law({"type": "number", "multipleOf": 0.53}, 0.53, 1.06, 0.5, exact=False)
    assert normalized.residual == (("", "multipleOf"),)
    assert {"type": "number", "multipleOf": 0.01} in normalized.schema.value["anyOf"]


@pytest.mark.parametrize(
    "bound", [0, 1, -1, 0.1, 1.5, -2.5, 123456.789, 2**53 - 2, -(2**53) + 2, 10**15]
)
@pytest.mark.parametrize("keyword", ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"])
def test_bounds_are_exact(law, keyword, bound):
    """At a bound and next to it the mask says what validation says."""
    near = [bound, bound - 1, bound + 1, bound - 0.5, bound + 0.5]
    law({"type": "number", keyword: bound}, *(v for v in near if float(v) == v))
    law({"type": "integer", keyword: bound}, *(v for v in near if v == int(v)))


@pytest.mark.parametrize(
    ("schema", "inside", "outside"),
    [
        ({"maximum": 2**63 - 1}, ["9223372036854775807"], ["9223372036854775808"]),
        ({"minimum": 2**53 + 1}, ["9007199254740993", "9007199254740994"], ["9007199254740990"]),
        ({"maximum": 10**30}, ["1", "9" * 25], []),
        ({"minimum": -(2**64)}, ["-18446744073709551615"], []),
    ],
)
def test_large_bounds_never_narrow(mask, schema, inside, outside):
    """A bound that the engine cannot hold is widened, never narrowed."""
    enforced = mask({"type": "integer", **schema})
    assert all(enforced.accepts_text(text) for text in inside)
    assert not any(enforced.accepts_text(text) for text in outside)


@pytest.mark.parametrize(
    ("schema", "keyword"),
    [
        ({"minimum": 2**53 + 1}, "minimum"),
        ({"maximum": 1e300}, "maximum"),
        ({"multipleOf": 10**12}, "multipleOf"),
        ({"multipleOf": 1e-20}, "multipleOf"),
        ({"exclusiveMinimum": 1e-300}, "exclusiveMinimum"),
        ({"const": 2**53 + 1}, "const"),
        ({"const": 2**70}, "const"),
    ],
)
def test_what_is_widened_is_residual(law, schema, keyword):
    """What the engine cannot hold exactly is left to validation."""
    normalized = law({"type": "number", **schema}, 2**53 + 1, 2**70, exact=False)
    assert keyword in {name for _, name in normalized.residual}


@pytest.mark.parametrize(
    ("low", "high", "keyword"),
    [(0, 0.5, "exclusiveMinimum"), (1, 1.5, "exclusiveMinimum"), (-0.5, 0, "exclusiveMaximum")],
)
def test_an_open_end_that_the_engine_does_not_leave_out_is_residual(law, low, high, keyword):
    """Between an integer and a fraction after it, llguidance writes the integer as well."""
    schema = {"type": "number", "exclusiveMinimum": low, "exclusiveMaximum": high}
    normalized = law(schema, low, high, (low + high) / 2, exact=False)
    assert normalized.residual == (("", keyword),)


def test_open_ends_are_exact(law):
    """Everywhere else an open end is left out."""
    for low, high in [(0, 1), (0.5, 1), (-1, 0), (-1.5, -0.5), (1, 2.5), (0.25, 0.5)]:
        schema = {"type": "number", "exclusiveMinimum": low, "exclusiveMaximum": high}
        law(schema, low, high, (low + high) / 2)


def test_one_is_one_point_zero(law):
    """`1.0` as a bound, a constant or a listed value is `1`."""
    law({"enum": [1.0, 2.5]}, 1, 2.5, 1.5)
    law({"type": "integer", "const": 1.0}, 1, 2)


@given(
    low=st.decimals(-1000, 1000, places=3).map(float),
    width=st.decimals(0, 50, places=3).map(float),
    step=st.sampled_from([None, 1, 2, 0.5, 0.25, 0.1, 3]),
    integer=st.booleans(),
)
def test_keywords_say_what_the_range_says(low, width, step, integer):
    """Small ranges lose nothing in being written down."""
    numbers = Numbers(low=exact(low), high=exact(low) + exact(width))
    if step is not None:
        numbers = numbers.meet(Numbers(step=exact(step)))
    if integer:
        numbers = numbers.integers()
    keywords, lost = number_keywords(numbers, integer=integer)
    assert lost == () or exact(float(low + width)) != exact(low) + exact(width)
    if not lost:
        assert exact(keywords["minimum"]) == numbers.low
        assert exact(keywords["maximum"]) == numbers.high


@given(
    numerator=st.integers(-50, 50),
    denominator=st.sampled_from([1, 2, 4, 10]),
    step=st.integers(1, 9),
)
def test_emptiness_of_ranges(numerator, denominator, step):
    """A range is empty if no multiple of the step lies in it."""
    low = Fraction(numerator, denominator)
    high = low + Fraction(3, denominator)
    numbers = Numbers(low=low, high=high, step=Fraction(step))
    multiples = [n * step for n in range(-60, 61)]
    assert numbers.is_empty == (not any(low <= n <= high for n in multiples))


def test_contradicting_steps_and_bounds_are_found():
    """No multiple of 7 lies between 1 and 6."""
    schema = {"anyOf": [{"type": "integer", "minimum": 1, "maximum": 6, "multipleOf": 7}, True]}
    assert normalize(JsonSchema(schema)).schema.value in (True, {})
