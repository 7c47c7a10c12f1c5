"""A function's signature and docstring as a schema."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field
from typing_extensions import Doc

from gemma_structured.exceptions import SchemaError
from gemma_structured.parsing.validate import validate
from gemma_structured.schema.docstrings import read_docstring
from gemma_structured.schema.function import FunctionSchema


class Place(BaseModel):
    """Where."""

    city: str
    floor: int = 0


class Context:
    """What the model does not see."""


class Special(Context):
    """A context of one's own."""


def properties(schema: FunctionSchema) -> dict:
    return schema.arguments.term.value["properties"]


GOOGLE = """Book a room.

It is held for an hour.

Args:
    place: Where
        it is.
    day: When.

Returns:
    A number.
"""
NUMPY = """Book a room.

It is held for an hour.

Parameters
----------
place : Place
    Where
    it is.
day : date
    When.

Returns
-------
int
    A number.
"""
SPHINX = """Book a room.

It is held for an hour.

:param place: Where
    it is.
:param day: When.
:returns: A number.
"""


@pytest.mark.parametrize("docstring", [GOOGLE, NUMPY, SPHINX])
def test_docstring_styles_say_the_same(docstring):
    """Google, NumPy and Sphinx docstrings give one description and one text a parameter."""
    docs = read_docstring(docstring)
    assert docs.description == "Book a room.\n\nIt is held for an hour."
    assert docs.parameters == {"place": "Where it is.", "day": "When."}


@pytest.mark.parametrize("docstring", [None, "", "  \n "])
def test_no_docstring_says_nothing(docstring):
    """Without a docstring there is no description."""
    assert read_docstring(docstring).description == ""


def test_signature_becomes_a_closed_object():
    """Each parameter is a member, in order; those with a default may be left out and show it."""

    def book(place: Place, day: date, *, seats: Annotated[int, Field(ge=1, le=9)] = 2) -> int:
        return seats

    book.__doc__ = GOOGLE
    schema = FunctionSchema.of(book)
    term = schema.arguments.term.value
    assert (schema.name, list(term["properties"])) == ("book", ["place", "day", "seats"])
    assert term["required"] == ["place", "day"]
    assert term["additionalProperties"] is False
    assert term["properties"]["seats"] == {
        "default": 2, "maximum": 9, "minimum": 1, "title": "Seats", "type": "integer"
    }  # fmt: skip
    assert term["properties"]["day"]["description"] == "When."


def test_arguments_are_typed_and_defaults_left_to_the_function():
    """Validation gives Python values; an argument that is left out is the function's affair."""

    def book(place: Place, day: date, seats: int = 2) -> tuple[Place, date, int]:
        return place, day, seats

    schema = FunctionSchema.of(book)
    typed = validate(schema.arguments, '{"place":{"city":"Rom"},"day":"2024-02-29"}')
    positions, keywords = schema.bind(typed)
    assert book(*positions, **keywords) == (Place(city="Rom"), date(2024, 2, 29), 2)


def test_descriptions_prefer_what_is_nearest_to_the_parameter():
    """A Field's description wins over a bare string or Doc, and that over the docstring."""

    def f(
        a: Annotated[int, Field(description="field")],
        b: Annotated[int, "bare"],
        c: Annotated[int, Doc("doc")],
        d: int,
    ) -> None:
        """F.

        Args:
            a: no
            b: no
            c: no
            d: docstring
        """

    described = [member["description"] for member in properties(FunctionSchema.of(f)).values()]
    assert described == ["field", "bare", "doc", "docstring"]


def test_the_context_parameter_is_hidden_and_filled():
    """A parameter of the context's type, or of a subclass, is not in the schema; `bind` fills it."""

    def f(x: int, context: Special) -> tuple[int, object]:
        return x, context

    schema = FunctionSchema.of(f, context_type=Context)
    assert list(properties(schema)) == ["x"]
    assert schema.bind({"x": 1}, "me") == ([], {"x": 1, "context": "me"})


def test_two_contexts_are_refused():
    """Only one parameter may be the context."""

    def f(a: Context, b: Context) -> None: ...

    with pytest.raises(SchemaError, match="Only one") as caught:
        FunctionSchema.of(f, context_type=Context)
    assert caught.value.path == "b"


def test_names_that_pydantic_models_reserve_are_fine():
    """Parameters may be called `copy`, `json`, `schema`, `_private` or `self`-like words."""

    def f(copy: int, json: str, schema: bool, _private: int, model_config: int) -> None: ...

    assert list(properties(FunctionSchema.of(f))) == [
        "copy", "json", "schema", "_private", "model_config"
    ]  # fmt: skip


def test_positional_only_parameters_are_given_by_position():
    """What takes no keyword is bound by position, as far as it is given."""

    def f(a: int, b: int = 5, /, c: int = 7) -> tuple[int, int, int]:
        return a, b, c

    schema = FunctionSchema.of(f)
    positions, keywords = schema.bind({"a": 1, "c": 2})
    assert f(*positions, **keywords) == (1, 5, 2)
    assert schema.bind({"a": 1, "b": 3}) == ([1, 3], {})


def test_methods_partials_and_callable_objects():
    """Bound methods, partials and objects with `__call__` are functions too."""

    @dataclass
    class Shop:
        name: str

        def price(self, item: Literal["tea", "cake"]) -> int:
            """Tell the price."""
            return len(item)

        async def __call__(self, x: int) -> int:
            """Call it."""
            return x

    shop = Shop("a")
    assert list(properties(FunctionSchema.of(shop.price))) == ["item"]
    called = FunctionSchema.of(shop)
    assert (called.name, called.is_async, list(properties(called))) == ("Shop", True, ["x"])

    def f(a: int, b: int) -> int:
        """Add."""
        return a + b

    partial = FunctionSchema.of(functools.partial(f, b=2))
    assert (partial.name, partial.description) == ("f", "Add.")
    assert list(properties(partial)) == ["a"]


def test_a_default_without_json_form_is_not_shown():
    """A default that JSON cannot say leaves the parameter optional and is not told."""
    marker = object()

    def f(x: int | None = marker) -> None: ...  # type: ignore[assignment]

    term = FunctionSchema.of(f).arguments.term.value
    assert "default" not in term["properties"]["x"]
    assert "required" not in term


def unannotated(x) -> None: ...


def variadic(*args: int) -> None: ...


def keywords(**kwargs: int) -> None: ...


def unusable(x: type(print)) -> None: ...


def unresolved(x: Missing) -> None: ...  # noqa: F821


@pytest.mark.parametrize(
    ("function", "path"),
    [
        (unannotated, "x"),
        (variadic, "args"),
        (keywords, "kwargs"),
        (unusable, "x"),
        (unresolved, "unresolved"),
    ],
)
def test_what_cannot_be_a_tool_is_refused_with_its_place(function, path):
    """A parameter without a usable type is a SchemaError that names it."""
    with pytest.raises(SchemaError) as caught:
        FunctionSchema.of(function)
    assert caught.value.path.startswith(path)
