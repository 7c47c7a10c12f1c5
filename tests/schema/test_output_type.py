"""Output types: what every kind of type is asked for as, and what cannot be one."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import decimal
import enum
import ipaddress
import pathlib
import re
import threading
import typing
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    Never,
    NotRequired,
    Required,
    TypeVar,
)

import outlines.types as ot
import pytest
import typing_extensions
from pydantic import (
    UUID4,
    AliasChoices,
    AliasPath,
    AnyUrl,
    AwareDatetime,
    Base64Bytes,
    BaseModel,
    ConfigDict,
    Field,
    HttpUrl,
    IPvAnyAddress,
    Json,
    JsonValue,
    NaiveDatetime,
    RootModel,
    SecretStr,
    StringConstraints,
    computed_field,
    field_serializer,
    field_validator,
)

from gemma_structured.exceptions import SchemaError
from gemma_structured.parsing.validate import validate
from gemma_structured.schema import Choice, JsonSchema, Lark, OutputType, Regex

D = decimal.Decimal
T = TypeVar("T")


class Mixed(enum.Enum):
    """An Enum of several kinds."""

    ONE = 1
    X = "x"


class Text(str, enum.Enum):  # noqa: UP042 - the older way is to work too
    """An Enum of strings."""

    A = "a"
    B = "b"


class Whole(enum.IntEnum):
    """An Enum of integers."""

    ONE = 1


class Node(BaseModel):
    """A node of a tree."""

    value: int
    children: list[Node] = []


class Aliased(BaseModel):
    """Reads other names than it writes."""

    model_config = ConfigDict(populate_by_name=True)
    one: int = Field(validation_alias="read", serialization_alias="written")
    two: int = Field(alias="both")
    three: int = Field(validation_alias=AliasChoices("first", "second"))

    @computed_field
    @property
    def four(self) -> int:
        """Not asked for."""
        return 4


class ByName(BaseModel):
    """Reads the names of its fields although they have aliases."""

    model_config = ConfigDict(validate_by_alias=False, validate_by_name=True)
    one: int = Field(alias="uno")
    deep: int = Field(validation_alias=AliasPath("a", "b"))


class Cat(BaseModel):
    """A cat."""

    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    """A dog."""

    kind: Literal["dog"]
    weight: float


class Owner(BaseModel):
    """Has a discriminated union."""

    pet: Annotated[Cat | Dog, Field(discriminator="kind")]


class Box(BaseModel, Generic[T]):
    """A generic model."""

    item: T


class Open(BaseModel):
    """Takes further keys."""

    model_config = ConfigDict(extra="allow")
    a: int


class Secretive(BaseModel):
    """Hides what it holds, and writes otherwise than it reads."""

    password: SecretStr
    day: dt.date

    @field_serializer("day")
    def _german(self, day: dt.date) -> str:
        return day.strftime("%d.%m.%Y")


class Shouting(BaseModel):
    """Changes what it reads."""

    word: Annotated[str, StringConstraints(to_upper=True, strip_whitespace=True)]

    @field_validator("word")
    @classmethod
    def _not_empty(cls, word: str) -> str:
        if not word:
            raise ValueError("must not be empty")
        return word


class OldMovie(typing.TypedDict, total=False):
    """A TypedDict of the standard library."""

    title: Required[str]
    sequels: list[OldMovie]


class NewMovie(typing_extensions.TypedDict):
    """A TypedDict of typing_extensions."""

    title: str
    year: NotRequired[int]


class OpenMovie(typing_extensions.TypedDict):
    """A TypedDict that takes further keys."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]
    title: str


class Pair(NamedTuple):
    """A NamedTuple."""

    left: int
    right: str = "r"


@dataclasses.dataclass
class Point:
    """A dataclass."""

    x: int
    tags: list[str] = dataclasses.field(default_factory=list)
    cached: int = dataclasses.field(init=False, default=3)


class Settings(RootModel[dict[str, int]]):
    """A model with a root."""


UTC = dt.UTC
NAIVE = dt.datetime(2024, 2, 29, tzinfo=UTC).replace(tzinfo=None)

VALUES: list[tuple[Any, Any, str]] = [
    (
        Node,
        Node(value=1, children=[Node(value=2)]),
        '{"value":1,"children":[{"value":2,"children":[]}]}',
    ),
    (Aliased, Aliased(one=1, two=2, three=3), '{"read":1,"both":2,"first":3}'),
    (ByName, ByName(one=1, deep=2), '{"one":1,"deep":2}'),
    (Owner, Owner(pet=Dog(kind="dog", weight=1.5)), '{"pet":{"kind":"dog","weight":1.5}}'),
    (Box[int], Box[int](item=1), '{"item":1}'),
    (Box[list[Cat]], Box[list[Cat]](item=[]), '{"item":[]}'),
    (Open, Open(a=1, more=[None]), '{"a":1,"more":[null]}'),
    (
        Secretive,
        Secretive(password=SecretStr("s3"), day=dt.date(2024, 5, 31)),
        '{"password":"s3","day":"2024-05-31"}',
    ),
    (Shouting, Shouting(word="hi"), '{"word":"HI"}'),
    (
        OldMovie,
        {"sequels": [{"title": "b"}], "title": "a"},
        '{"title":"a","sequels":[{"title":"b"}]}',
    ),
    (list[OldMovie], [{"title": "a"}], '[{"title":"a"}]'),
    (dict[str, OldMovie | None], {"k": None}, '{"k":null}'),
    (NewMovie, {"year": 1999, "title": "a"}, '{"title":"a","year":1999}'),
    (OpenMovie, {"title": "a", "more": 1}, '{"title":"a","more":1}'),
    (Pair, Pair(1), '[1,"r"]'),
    (Point, Point(1, ["a"]), '{"x":1,"tags":["a"]}'),
    (Settings, Settings({"a": 1}), '{"a":1}'),
    (Mixed, Mixed.ONE, "1"),
    (Mixed, Mixed.X, '"x"'),
    (Text, Text.A, '"a"'),
    (Whole, Whole.ONE, "1"),
    (Literal[1, "a", True, Text.B] | None, Text.B, '"b"'),
    (Cat | Dog | None, None, "null"),
    (Cat | Dog, Cat(kind="cat", lives=9), '{"kind":"cat","lives":9}'),
    (list[Node], [], "[]"),
    (set[int], {1}, "[1]"),
    (frozenset[str], frozenset({"a"}), '["a"]'),
    (tuple[int, str], (1, "a"), '[1,"a"]'),
    (tuple[int, ...], (1, 2), "[1,2]"),
    (tuple[()], (), "[]"),
    (collections.deque[int], collections.deque([1]), "[1]"),
    (Sequence[int], [1], "[1]"),
    (Mapping[str, int], {"b": 1, "a": 2}, '{"b":1,"a":2}'),
    (dict[str, Node], {"k": Node(value=1)}, '{"k":{"value":1,"children":[]}}'),
    (dict[int, str], {-3: "x"}, '{"-3":"x"}'),
    (dict[bool, int], {True: 1}, '{"true":1}'),
    (dict[D, int], {D("1.5"): 1}, '{"1.5":1}'),
    (dict[Mixed, int], {Mixed.X: 1}, '{"x":1}'),
    (dict[Text, int], {Text.A: 1}, '{"a":1}'),
    (dict[Whole, int], {Whole.ONE: 1}, '{"1":1}'),
    (dict[Literal["a", "b"], int], {"b": 1}, '{"b":1}'),
    (dict[dt.date, int], {dt.date(2024, 2, 29): 1}, '{"2024-02-29":1}'),
    (dict[uuid.UUID, int], {uuid.UUID(int=3): 1}, '{"00000000-0000-0000-0000-000000000003":1}'),
    (dict[Annotated[str, Field(pattern="^a", max_length=3)], int], {"ab": 1}, '{"ab":1}'),
    (dict[Annotated[str, Regex("[a-c]+")], int], {"ab": 1}, '{"ab":1}'),
    (int, 3, "3"),
    (int, 10**30, "1" + "0" * 30),
    (float, 1.5, "1.5"),
    (bool, True, "true"),
    (str, 'é"\n\U0001f600', '"é\\"\\n\U0001f600"'),
    (None, None, "null"),
    (Any, {"a": [1, None]}, '{"a":[1,null]}'),
    (object, 3, "3"),
    (JsonValue, [1], "[1]"),
    (dt.date, dt.date(2024, 2, 29), '"2024-02-29"'),
    (
        dt.datetime,
        NAIVE.replace(hour=1, minute=2, second=3, microsecond=4),
        '"2024-02-29T01:02:03.000004"',
    ),
    (dt.datetime, dt.datetime(2024, 2, 29, tzinfo=UTC), '"2024-02-29T00:00:00Z"'),
    (
        AwareDatetime,
        dt.datetime(2024, 2, 29, tzinfo=dt.timezone(-dt.timedelta(hours=3))),
        '"2024-02-29T00:00:00-03:00"',
    ),
    (NaiveDatetime, NAIVE, '"2024-02-29T00:00:00"'),
    (dt.time, dt.time(1, 2), '"01:02:00"'),
    (dt.time, dt.time(1, 2, tzinfo=UTC), '"01:02:00Z"'),
    (dt.timedelta, dt.timedelta(days=400, hours=1, seconds=30), '"P1Y35DT1H30S"'),
    (dt.timedelta, -dt.timedelta(microseconds=1), '"-PT0.000001S"'),
    (D, D("1294.50"), "1294.5"),
    (D, D("1E+5"), "100000"),
    (D, D("123456789012345678.123456789"), '"123456789012345678.123456789"'),
    (Annotated[D, Field(ge=0, max_digits=6, decimal_places=2)], D("12.34"), "12.34"),
    (Annotated[D, Field(gt=0, le=100)], D("12.34"), "12.34"),
    (Annotated[D, Field(max_digits=3)], D("1.25"), '"1.25"'),
    (uuid.UUID, uuid.UUID(int=5), '"00000000-0000-0000-0000-000000000005"'),
    (
        UUID4,
        uuid.UUID("0a8b772b-91c1-4587-943b-dfbb5b7f791a"),
        '"0a8b772b-91c1-4587-943b-dfbb5b7f791a"',
    ),
    (bytes, b"abc", '"abc"'),
    (Base64Bytes, b"abc", '"YWJj"'),
    (pathlib.Path, pathlib.Path("/a/b"), '"/a/b"'),
    (SecretStr, SecretStr("x"), '"x"'),
    (ipaddress.IPv4Address, ipaddress.IPv4Address("1.2.3.4"), '"1.2.3.4"'),
    (ipaddress.IPv6Address, ipaddress.IPv6Address("::1"), '"::1"'),
    (ipaddress.IPv4Network, ipaddress.IPv4Network("10.0.0.0/8"), '"10.0.0.0/8"'),
    (IPvAnyAddress, ipaddress.IPv6Address("::1"), '"::1"'),
    (AnyUrl, AnyUrl("urn:a:b"), '"urn:a:b"'),
    (HttpUrl, HttpUrl("https://u:p@9gag.com:8080/x?y#z"), '"https://u:p@9gag.com:8080/x?y#z"'),
    (HttpUrl, HttpUrl("http://127.0.0.1"), '"http://127.0.0.1/"'),
    (HttpUrl, HttpUrl("http://[::1]/"), '"http://[::1]/"'),
    (re.Pattern, re.compile("a+"), '"a+"'),
    (complex, 1 + 2j, '"1+2j"'),
    (Json[list[int]], [1], '"[1]"'),
    (typing_extensions.TypeAliasType("Ints", list[int]), [1], "[1]"),
    (Annotated[int, Field(ge=1, le=3, multiple_of=2)], 2, "2"),
    (Annotated[str, Field(min_length=1, max_length=3, pattern="^a")], "ab", '"ab"'),
    (Annotated[list[int], Field(min_length=1, max_length=3)], [1], "[1]"),
    (Annotated[str, Regex("[A-Z]{2}")], "AB", '"AB"'),
    (Annotated[str, Choice(["x", "y"])], "x", '"x"'),
    (Annotated[str, Lark('start: "a"+')], "aa", '"aa"'),
    (
        JsonSchema({"properties": {"b": {}, "a": {}}}),
        {"z": 0, "a": 1, "b": 2},
        '{"b":2,"a":1,"z":0}',
    ),
    (Regex("a|b"), "a", "a"),
    (Choice(["x"]), "x", "x"),
    (Lark('start: "a"+'), "aa", "aa"),
    (ot.Regex("[a-c]+"), "abc", "abc"),
    (ot.either("a", ot.one_or_more(ot.digit)), "12", "12"),
    (ot.email, "a@b.cd", "a@b.cd"),
    (ot.Choice(["a", "b"]), "a", "a"),
    (ot.Choice([1, 2]), 2, "2"),
    (ot.JsonSchema({"type": "integer"}), 3, "3"),
    (ot.CFG('start: "a"'), "a", "a"),
    (Annotated[str, ot.Regex("[a-c]+")], "abc", '"abc"'),
]


@pytest.mark.parametrize(
    ("spec", "value", "text"), VALUES, ids=[f"{i}-{case[0]!r:.40}" for i, case in enumerate(VALUES)]
)
def test_every_kind_of_type(spec, value, text):
    """A value is written as a model would write it, and what was written is read as the value."""
    output_type = OutputType.of(spec)
    assert output_type.dump(value) == text
    assert validate(output_type, text) == value
    assert output_type.name
    assert "\n" not in output_type.name


@pytest.mark.parametrize(
    ("spec", "schema"),
    [
        (int, {"type": "integer"}),
        (None, {"type": "null"}),
        (Any, {}),
        (set[int], {"type": "array", "items": {"type": "integer"}}),
        (Literal["a", "b"], {"enum": ["a", "b"], "type": "string"}),
        (dict[str, int], {"type": "object", "additionalProperties": {"type": "integer"}}),
        (
            dict[Text, int],
            {
                "type": "object",
                "additionalProperties": {"type": "integer"},
                "propertyNames": {"enum": ["a", "b"]},
            },
        ),
        (
            dict[int, bool],
            {
                "type": "object",
                "patternProperties": {r"^(?:0|-?[1-9]\d{0,17})$": {"type": "boolean"}},
                "additionalProperties": False,
            },
        ),
        (Annotated[D, Field(ge=0.5)], {"type": "number", "minimum": 0.5}),
        (IPvAnyAddress, {"type": "string", "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]}),
    ],
)
def test_schema_of_small_types(spec, schema):
    """Small types have the schema that one would write by hand."""
    assert OutputType.of(spec).term == JsonSchema(schema)


@pytest.mark.parametrize("spec", [Cat, Point, OldMovie, NewMovie])
def test_objects_are_closed(spec):
    """Objects of Python types take no other keys than their own."""
    schema = OutputType.of(spec).term
    node = schema.resolve(schema.value["$ref"]) if "$ref" in schema.value else schema.value
    assert node["additionalProperties"] is False


@pytest.mark.parametrize("spec", [Open, OpenMovie])
def test_extra_allow_opens_them(spec):
    """`extra="allow"` keeps them open."""
    assert OutputType.of(spec).term.value["additionalProperties"] is True


def test_a_raw_schema_stays_open():
    """What a JSON Schema does not say is not added to it."""
    raw = {"type": "object", "properties": {"a": {}}}
    assert OutputType.of(JsonSchema(raw)).term.value == raw


def test_what_is_asked_for_and_what_is_not():
    """Fields with defaults are optional; computed and `init=False` fields are left out."""
    node = OutputType.of(Node).term.resolve("#/$defs/Node")
    assert node["required"] == ["value"]
    assert list(OutputType.of(Aliased).term.value["properties"]) == ["read", "both", "first"]
    assert list(OutputType.of(Point).term.value["properties"]) == ["x", "tags"]


def test_order_is_that_of_the_declaration():
    """Properties come as declared, inherited ones first."""

    class Child(Cat):
        aaa: int

    assert list(OutputType.of(Child).term.value["properties"]) == ["kind", "lives", "aaa"]


def test_descriptions_are_kept():
    """Docstrings and descriptions are there for the prompt, through a reference too."""
    assert OutputType.of(Node).description == "A node of a tree."
    assert OutputType.of(Cat).description == "A cat."
    assert OutputType.of(int).description is None
    assert OutputType.of(Regex("a")).description is None
    assert OutputType.of(JsonSchema({"description": "d"})).description == "d"


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        (Node, "Node"),
        (Cat | None, "Cat | None"),
        (list[dict[str, Cat | Dog]], "list[dict[str, Cat | Dog]]"),
        (Literal["a", 1], "Literal['a', 1]"),
        (Annotated[int, Field(ge=0)], "int"),
        (tuple[int, ...], "tuple[int, ...]"),
        (Box[int], "Box[int]"),
        (None, "None"),
        (Any, "Any"),
        (JsonSchema({"title": "Bill"}), "Bill"),
        (JsonSchema({}), "JSON value"),
        (Regex("a"), "Regex"),
        (Choice(list("abcdefg")), "Choice('a', 'b', 'c', 'd', 'e' and 2 more)"),
        (Literal[tuple(f"option {i}" for i in range(99))], None),
    ],
)
def test_names_are_short(spec, name):
    """The name is what a person would write, cut where it is long."""
    found = OutputType.of(spec).name
    assert len(found) <= 80
    assert name is None or found == name


class Unreadable:
    """Nothing that JSON could express."""


class WithCallback(BaseModel):
    """Holds a function deep inside."""

    name: str
    steps: list[dict[str, Callable[[int], int] | None]]


@dataclasses.dataclass
class WithUnreadable:
    """Holds an unreadable object."""

    pair: tuple[int, list[Unreadable]]


class DeepAlias(BaseModel):
    """Can only be read from within another object."""

    deep: int = Field(validation_alias=AliasPath("a", "b"))


REFUSED: list[tuple[Any, str]] = [
    (Callable[[int], int], "Callable[[int], int]"),
    (Unreadable, "Unreadable"),
    (Unreadable(), ""),
    (list[Unreadable], "list[Unreadable][]"),
    (dict[str, list[Unreadable | None]], "dict[str, list[Unreadable | None]]{}[](Unreadable)"),
    (int | Unreadable, "int | Unreadable(Unreadable)"),
    (WithCallback, "WithCallback.steps[]{}(Callable[[int], int])"),
    (WithUnreadable, "WithUnreadable.pair[1][]"),
    (list[DeepAlias], "list[DeepAlias][]"),
    (int | Callable[[], int], "int | Callable[[], int](Callable[[], int])"),
    (Never, "Never"),
    (type[int], "type[int]"),
    (bytearray, "bytearray"),
    (dict[tuple[int, int], int], "dict[tuple[int, int], int]"),
    (dict[Literal[1, 2], int], "dict[Literal[1, 2], int]"),
    (dict[None, int], "dict[None, int]"),
    (Annotated[str, Field(pattern="(")], "str"),
    (Annotated[str, Field(pattern="(?=a)b")], "str"),
    (list[Annotated[int, Regex("a")]], "list[int][]"),
    ("Node", ""),
    (3, "3"),
    ({"type": "string"}, ""),
    ([1], "[1]"),
    (len, ""),
    (lambda: 0, ""),
    (ot.Regex("("), ""),
    (list["Missing"], "list[Missing][]"),  # noqa: F821
]


@pytest.mark.parametrize(("spec", "path"), REFUSED, ids=[str(i) for i in range(len(REFUSED))])
def test_refuses_what_cannot_be_read(spec, path):
    """A type that cannot be used is refused at once, with the path to the part at fault."""
    with pytest.raises(SchemaError) as caught:
        OutputType.of(spec)
    if path:
        assert caught.value.path == path
    assert len(str(caught.value)) < 700


def test_python_only_patterns_are_refused_with_a_hint():
    """A pattern that only Python reads cannot be asked for."""

    class Dated(BaseModel):
        model_config = ConfigDict(regex_engine="python-re")
        day: Annotated[str, Field(pattern=r"\A(?P<y>\d{4})\Z")]

    with pytest.raises(SchemaError, match="named group") as caught:
        OutputType.of(Dated)
    assert caught.value.path == "/properties/day/pattern"


def test_bad_extra_schema_is_refused():
    """What `json_schema_extra` adds must be JSON Schema too."""

    class Odd(BaseModel):
        a: int = Field(json_schema_extra={"type": "whole"})

    with pytest.raises(SchemaError) as caught:
        OutputType.of(Odd)
    assert caught.value.path == "/properties/a/type"


def test_the_same_type_is_read_once():
    """Types are cached; equal ones that are written differently are kept apart."""
    assert OutputType.of(Node) is OutputType.of(Node)
    assert OutputType.of(list[Node]) is OutputType.of(list[Node])
    assert OutputType.of(Cat | Dog) is not OutputType.of(Dog | Cat)
    assert OutputType.of(OutputType.of(Node)) is OutputType.of(Node)
    assert OutputType.of(Literal[1]) is not OutputType.of(Literal[True])


def test_threads_share_one_reading():
    """Several threads that ask for one type get one and the same."""

    class Fresh(BaseModel):
        a: int

    found: list[OutputType[Fresh]] = []
    threads = [
        threading.Thread(target=lambda: found.append(OutputType.of(Fresh))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, found))) == 1


def test_two_classes_of_one_name():
    """Classes are told apart, whatever they are called."""

    def make(annotation):
        return type(
            "Same", (BaseModel,), {"__annotations__": {"a": annotation}, "__module__": __name__}
        )

    assert OutputType.of(make(int)).term != OutputType.of(make(str)).term


def test_validator_is_compiled_once():
    """The compiled validator is kept with the type; text has none."""
    assert OutputType.of(Node).validator is OutputType.of(Node).validator
    with pytest.raises(TypeError):
        _ = OutputType.of(Regex("a")).validator
