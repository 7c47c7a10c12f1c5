"""What the type checkers infer from an output type. mypy and pyright read this file; so does pytest."""

from __future__ import annotations

import datetime as dt
import enum
from dataclasses import dataclass
from decimal import Decimal
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    Optional,
    TypeVar,
    Union,
    assert_type,
)

import pytest
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from gemma_structured.exceptions import InputError
from gemma_structured.parsing.validate import validate
from gemma_structured.schema import Choice, JsonSchema, Lark, OutputType, Regex, Term
from gemma_structured.types import JsonValue

T = TypeVar("T")


class Line(BaseModel):
    """A model."""

    name: str


class Note(BaseModel):
    """Another model."""

    text: str


class Box(BaseModel, Generic[T]):
    """A generic model."""

    item: T


@dataclass
class Point:
    """A dataclass."""

    x: int


class Movie(TypedDict):
    """A TypedDict."""

    title: str


class Pair(NamedTuple):
    """A NamedTuple."""

    left: int
    right: str


class Color(enum.Enum):
    """An Enum."""

    RED = "red"


def test_classes() -> None:
    """A class is inferred as itself."""
    assert_type(OutputType.of(Line), OutputType[Line])
    assert_type(OutputType.of(Box[int]), OutputType[Box[int]])
    assert_type(OutputType.of(Point), OutputType[Point])
    assert_type(OutputType.of(Movie), OutputType[Movie])
    assert_type(OutputType.of(Pair), OutputType[Pair])
    assert_type(OutputType.of(Color), OutputType[Color])
    assert_type(OutputType.of(int), OutputType[int])
    assert_type(OutputType.of(Decimal), OutputType[Decimal])
    assert_type(OutputType.of(dt.date), OutputType[dt.date])


def test_unions() -> None:
    """A union keeps all its members."""
    assert_type(OutputType.of(Line | Note), OutputType[Line | Note])
    assert_type(OutputType.of(Union[Line, Note]), OutputType[Line | Note])  # noqa: UP007
    assert_type(OutputType.of(Line | None), OutputType[Line | None])
    assert_type(OutputType.of(Optional[Line]), OutputType[Line | None])  # noqa: UP045
    assert_type(OutputType.of(list[Line] | None), OutputType[list[Line] | None])


def test_containers() -> None:
    """Containers keep what they hold."""
    assert_type(OutputType.of(list[Line]), OutputType[list[Line]])
    assert_type(OutputType.of(list[Line | Note]), OutputType[list[Line | Note]])
    assert_type(OutputType.of(dict[str, Line]), OutputType[dict[str, Line]])
    assert_type(OutputType.of(dict[Color, int]), OutputType[dict[Color, int]])
    assert_type(OutputType.of(tuple[int, str]), OutputType[tuple[int, str]])
    assert_type(OutputType.of(tuple[int, ...]), OutputType[tuple[int, ...]])
    assert_type(OutputType.of(set[int]), OutputType[set[int]])
    assert_type(OutputType.of(frozenset[str]), OutputType[frozenset[str]])


def test_special_forms() -> None:
    """Literal, Annotated, None and Any are inferred as they are."""
    assert_type(OutputType.of(Literal["a", "b"]), OutputType[Literal["a", "b"]])
    assert_type(OutputType.of(Annotated[int, Field(ge=0)]), OutputType[int])
    assert_type(OutputType.of(Annotated[str, Regex("a+")]), OutputType[str])
    assert_type(OutputType.of(Annotated[Line | Note, Field()]), OutputType[Line | Note])
    assert_type(OutputType.of(None), OutputType[None])
    assert_type(OutputType.of(Any), OutputType[Any])


def test_terms() -> None:
    """Terms of text yield str, a JSON Schema yields a JSON value."""
    assert_type(OutputType.of(Regex("a+")), OutputType[str])
    assert_type(OutputType.of(Choice(["a", "b"])), OutputType[str])
    assert_type(OutputType.of(Lark('start: "a"')), OutputType[str])
    assert_type(OutputType.of(JsonSchema({"type": "integer"})), OutputType[JsonValue])
    term: Term[str] = Regex("a+")
    assert_type(OutputType.of(term), OutputType[str])


def test_output_type_passes_through() -> None:
    """An output type may stand where a type may."""
    assert_type(OutputType.of(OutputType.of(Line)), OutputType[Line])


def test_validate_and_dump() -> None:
    """Validation yields the type, and an example must be of it."""
    output_type = OutputType.of(Line | Note)
    assert_type(validate(output_type, '{"name":"a"}'), Line | Note)
    assert_type(output_type.dump(Note(text="b")), str)
    with pytest.raises(InputError):
        output_type.dump(3)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
