"""Validation of whole answers: strict, in full, with every issue and no guess."""

from __future__ import annotations

import json
import time
from decimal import Decimal
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from gemma_structured.exceptions import OutputValidationError
from gemma_structured.parsing.validate import validate
from gemma_structured.schema import Choice, JsonSchema, Lark, OutputType, Regex


def issues_of(spec: Any, text: str, **kwargs: Any):
    """The issues that a text raises."""
    with pytest.raises(OutputValidationError) as caught:
        validate(OutputType.of(spec), text, **kwargs)
    assert caught.value.text == text
    return caught.value.issues


def brief(issues):
    """Where, by which keyword, and who says so."""
    return [(issue.pointer, issue.keyword, issue.source) for issue in issues]


class Line(BaseModel):
    """A line."""

    name: Annotated[str, Field(min_length=1)]
    price: float


class Bill(BaseModel):
    """A bill whose total must be right."""

    number: Annotated[str, Field(pattern=r"^[A-Z]{2}\d+$")]
    lines: list[Line]
    total: Annotated[float, Field(ge=0)]
    currency: Literal["EUR", "USD"] = "EUR"

    @model_validator(mode="after")
    def _adds_up(self) -> Bill:
        if sum(line.price for line in self.lines) != self.total:
            raise ValueError("the total is not the sum of the prices")
        return self


GOOD = '{"number":"AB1","lines":[{"name":"a","price":2.5}],"total":2.5}'


def test_good_text_becomes_the_value():
    """White space around the value and inside is allowed; the order of keys does not matter."""
    bill = validate(OutputType.of(Bill), f" \n{GOOD}\t")
    assert bill == Bill(number="AB1", lines=[Line(name="a", price=2.5)], total=2.5)
    shuffled = json.dumps(dict(reversed(json.loads(GOOD).items())), indent=2)
    assert validate(OutputType.of(Bill), shuffled) == bill


def test_every_issue_is_reported():
    """All that is wrong is said at once, each with its path, what was found and what was expected."""
    text = json.dumps(
        {
            "number": "1",
            "lines": [{"name": "", "price": "2"}, {"name": "b"}, 7],
            "total": -1,
            "currency": "GBP",
            "tax": 1,
        }
    )
    issues = issues_of(Bill, text)
    assert set(brief(issues)) == {
        ("", "additionalProperties", "json_schema"),
        ("/number", "pattern", "json_schema"),
        ("/lines/0/name", "minLength", "json_schema"),
        ("/lines/0/price", "type", "json_schema"),
        ("/lines/1/price", "required", "json_schema"),
        ("/lines/2", "type", "json_schema"),
        ("/total", "minimum", "json_schema"),
        ("/currency", "enum", "json_schema"),
    }
    by_path = {issue.pointer: issue for issue in issues}
    assert by_path["/total"].found == "-1"
    assert by_path["/total"].expected == "at least 0"
    assert by_path["/currency"].expected == '["EUR","USD"]'
    assert by_path["/lines/0/price"].message == "is a string"
    assert by_path["/lines/0/price"].expected == "number"
    assert by_path[""].found == '["tax"]'


def test_what_only_pydantic_sees():
    """A model's own validator is heard once the schema is satisfied."""
    issues = issues_of(Bill, GOOD.replace("2.5}]", "3}]"))
    assert brief(issues) == [("", "value_error", "pydantic")]
    assert "not the sum" in issues[0].message


def test_no_output_in_the_message():
    """The error's message holds nothing that the model wrote; the issues hold it, cut."""
    secret = "the patient's name"
    with pytest.raises(OutputValidationError) as caught:
        validate(OutputType.of(Bill), json.dumps({"number": secret, "lines": secret * 50, "x": 1}))
    assert secret not in str(caught.value)
    assert any(secret in (issue.found or "") for issue in caught.value.issues)
    assert all(len(issue.found or "") <= 200 for issue in caught.value.issues)
    assert all(len(issue.expected or "") <= 200 for issue in caught.value.issues)


@pytest.mark.parametrize(
    ("text", "path", "message"),
    [
        ("", "", "is empty"),
        (" \n", "", "is empty"),
        ("{", "", "is not JSON at character 1"),
        ('{"a":1}x', "", "is not JSON at character 7"),
        ("{'a':1}", "", "is not JSON"),
        ('{"a":1,}', "", "is not JSON"),
        ("[1 2]", "", "is not JSON"),
        ("01", "", "is not JSON"),
        ("+1", "", "is not JSON"),
        (".5", "", "is not JSON"),
        ("1.", "", "is not JSON"),
        ("True", "", "is not JSON"),
        ('"\n"', "", "is not JSON"),
        ('"\\x41"', "", "is not JSON"),
        ("\ufeff1", "", "is not JSON"),
        ("\u00a01", "", "is not JSON"),
        ("// x\n1", "", "is not JSON"),
        ("NaN", "", "is not a JSON number"),
        ('{"a":[1,-Infinity]}', "/a/1", "is not a JSON number"),
        ('[{"b":1e999}]', "/0/b", "is too large for a number"),
        ("9" * 5_000, "", "has more than 1000 digits"),
        ('{"a":1,"a":2}', "", "has keys that are written twice"),
        ('[{"x":{"a":1,"b":2,"a":1}}]', "/0/x", "has keys that are written twice"),
        ('["\\ud800"]', "/0", "holds half a surrogate pair"),
        ('{"\\udc00":1}', "", "has a key with half a surrogate pair"),
        ('"\ud800"', "", "holds half a surrogate pair"),
        ("[" * 101 + "]" * 101, "", "is nested more than 100 levels deep"),
        ('{"a":' * 101 + "1" + "}" * 101, "", "is nested more than 100 levels deep"),
        ("[" * 1_000_000, "", "is nested more than 100 levels deep"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_only_json_is_json(text, path, message):
    """What RFC 8259 does not have is refused with the place, for any type."""
    for spec in (JsonSchema({}), Any):
        issues = issues_of(spec, text)
        assert issues[0].message.startswith(message)
        assert (issues[0].pointer, issues[0].source) == (path, "syntax")


def test_all_faults_of_syntax_are_found():
    """Several faults in one text are several issues."""
    issues = issues_of(JsonSchema({}), '{"a":NaN,"b":[1e999,{"c":1,"c":1}]}')
    assert [issue.pointer for issue in issues] == ["/a", "/b/0", "/b/1"]


def test_surrogate_pairs_are_text():
    """A whole pair is one character."""
    assert validate(OutputType.of(str), '"\\ud83d\\ude00"') == "\U0001f600"


def test_depth_is_enough():
    """100 levels are read and validated, also through references and unions, in any caller."""

    class Chain(BaseModel):
        next: Chain | None = None

    Chain.model_rebuild()
    text = '{"next":' * 90 + "null" + "}" * 90
    chain, depth = validate(OutputType.of(Chain), text), 0
    while chain is not None:
        chain, depth = chain.next, depth + 1
    assert depth == 90
    brackets = "[" * 100 + "]" * 100
    assert validate(OutputType.of(JsonSchema({})), brackets)


def test_too_deep_for_the_callers_stack():
    """Where the stack ends during validation, that is an issue and not a RecursionError."""
    tree = JsonSchema(
        {"anyOf": [{"type": "null"}, {"type": "array", "items": {"$ref": "#"}, "maxItems": 1}]}
    )

    def dive(levels):
        if levels:
            return dive(levels - 1)
        return issues_of(tree, "[" * 99 + "]" * 99)

    assert dive(700)[0].keyword == "depth"


def test_size_is_bounded():
    """Ten million characters are enough."""
    assert issues_of(str, f'"{"a" * 10_000_000}"')[0].keyword == "length"


@pytest.mark.parametrize(
    ("schema", "text", "keyword"),
    [
        ({"type": "integer"}, "1.5", "type"),
        ({"type": "integer"}, "true", "type"),
        ({"maximum": 3}, "4", "maximum"),
        ({"exclusiveMaximum": 3}, "3", "exclusiveMaximum"),
        ({"minimum": 3}, "2", "minimum"),
        ({"exclusiveMinimum": 3}, "3", "exclusiveMinimum"),
        ({"multipleOf": 0.01}, "1.005", "multipleOf"),
        ({"minLength": 2}, '"a"', "minLength"),
        ({"maxLength": 2}, '"abc"', "maxLength"),
        ({"pattern": "^a$"}, '"a\\n"', "pattern"),
        ({"format": "date"}, '"2024-02-30"', "format"),
        ({"minItems": 1}, "[]", "minItems"),
        ({"maxItems": 1}, "[1,2]", "maxItems"),
        ({"uniqueItems": True}, "[1,1.0]", "uniqueItems"),
        ({"contains": {"type": "null"}}, "[1]", "contains"),
        ({"prefixItems": [{}], "items": False}, "[1,2]", "items"),
        ({"prefixItems": [{}], "unevaluatedItems": False}, "[1,2]", "unevaluatedItems"),
        ({"minProperties": 1}, "{}", "minProperties"),
        ({"maxProperties": 1}, '{"a":1,"b":1}', "maxProperties"),
        ({"required": ["a"]}, "{}", "required"),
        ({"additionalProperties": False}, '{"a":1}', "additionalProperties"),
        ({"unevaluatedProperties": False}, '{"a":1}', "unevaluatedProperties"),
        ({"propertyNames": {"maxLength": 1}}, '{"ab":1}', "maxLength"),
        ({"patternProperties": {"^a": {"type": "null"}}}, '{"ab":1}', "type"),
        ({"dependentRequired": {"a": ["b"]}}, '{"a":1}', "dependentRequired"),
        ({"dependentSchemas": {"a": {"required": ["b"]}}}, '{"a":1}', "required"),
        ({"if": {"type": "string"}, "then": {"minLength": 3}}, '"a"', "minLength"),
        ({"not": {"type": "string"}}, '"a"', "not"),
        ({"allOf": [{"minimum": 3}]}, "2", "minimum"),
        ({"anyOf": [{"type": "null"}, {"type": "string"}]}, "2", "anyOf"),
        ({"oneOf": [{"type": "integer"}, {"minimum": 2}]}, "2", "oneOf"),
        ({"enum": [1, "a"]}, "2", "enum"),
        ({"const": {"a": 1}}, '{"a":2}', "const"),
        ({"properties": {"a": False}}, '{"a":1}', None),
        ({"x-gemma-lark": 'start: "a"+'}, '"b"', "x-gemma-lark"),
        ({"pattern": r"^(.+)\1$"}, json.dumps("ab" * 9_000), "pattern"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_every_keyword_is_checked_and_said(schema, text, keyword):
    """No keyword is ignored, and each has words of its own."""
    issues = issues_of(JsonSchema(schema), text)
    assert [issue.keyword for issue in issues] == [keyword]
    assert not issues[0].message.startswith("breaks")
    assert issues[0].source == "json_schema"


class Cat(BaseModel):
    """A cat."""

    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    """A dog."""

    kind: Literal["dog"]
    weight: float


@pytest.mark.parametrize(
    ("spec", "text", "expected"),
    [
        (Cat | Dog, '{"kind":"dog","weight":"x"}', [("/weight", "type")]),
        (list[Cat | Dog], '[{"kind":"cat"}]', [("/0/lives", "required")]),
        (Cat | None, '{"kind":"cat","lives":"x"}', [("/lives", "type")]),
        (Cat | Dog, '{"kind":"cow"}', [("", "anyOf")]),
        (int | str, "1.5", [("", "anyOf")]),
        (
            Annotated[Cat | Dog, Field(discriminator="kind")],
            '{"kind":"dog","weight":"x"}',
            [("/weight", "type")],
        ),
    ],
)
def test_unions_name_the_branch_that_was_meant(spec, text, expected):
    """In a union, the issues are those of the branch that fits by kind; or none fits."""
    assert [(issue.pointer, issue.keyword) for issue in issues_of(spec, text)] == expected


def test_unions_say_their_alternatives():
    """Where nothing fits, the alternatives are named."""
    assert issues_of(Cat | Dog, "3")[0].expected == "Cat or Dog"
    assert issues_of(int | None, '"x"')[0].expected == "integer or null"


def test_the_draft_of_the_schema_counts():
    """A schema is validated by its own draft."""
    old = JsonSchema({"$schema": "http://json-schema.org/draft-04/schema#", "const": 1})
    assert validate(OutputType.of(old), "2") == 2


def test_json_schema_yields_plain_json():
    """Without a Python type the value is what the text says, large integers included."""
    value = validate(
        OutputType.of(JsonSchema({})), '{"a":[1,1.0,1e2,null,true,"é"],"b":1' + "0" * 40 + "}"
    )
    assert value == {"a": [1, 1.0, 100.0, None, True, "é"], "b": 10**40}
    assert type(value["a"][0]) is int


@pytest.mark.parametrize(
    ("term", "good", "bad"),
    [
        (Regex("[a-z]+|0"), "abc", "abc\n"),
        (Choice(["yes", "no"]), "no", "no "),
        (Lark('start: "a" ("," "a")*'), "a,a", "a,"),
        (Regex(""), "", " "),
    ],
)
def test_text_is_matched_as_a_whole(term, good, bad):
    """Terms of text yield the text itself, if all of it matches."""
    assert validate(OutputType.of(term), good) == good
    (issue,) = issues_of(term, bad)
    assert issue.source == "grammar"
    assert issue.found == bad


def test_text_is_unicode_and_bounded():
    """Half a surrogate pair is no text; a pattern that runs away is an issue."""
    assert issues_of(Regex(".*"), "\ud800")[0].message == "holds half a surrogate pair"
    before = time.perf_counter()
    assert issues_of(Regex("(a+)+"), "a" * 100_000 + "!")
    assert "bounded time" in issues_of(Regex(r"(.+)\1"), "ab" * 50_000 + "c")[0].message
    assert time.perf_counter() - before < 3


def test_catastrophic_pattern_in_a_type():
    """A pattern on which `re` would hang does not hang."""

    class Trap(BaseModel):
        word: Annotated[str, Field(pattern="^(a+)+$")]

    before = time.perf_counter()
    assert brief(issues_of(Trap, json.dumps({"word": "a" * 50_000 + "!"}))) == [
        ("/word", "pattern", "json_schema")
    ]
    assert time.perf_counter() - before < 2


class Trip(BaseModel):
    """Is checked against a context."""

    cities: list[str]

    @field_validator("cities")
    @classmethod
    def _known(cls, cities: list[str], info: ValidationInfo) -> list[str]:
        unknown = [city for city in cities if info.context and city not in info.context]
        if unknown:
            raise ValueError(f"{len(unknown)} unknown cities")
        return cities


def test_context_reaches_the_validators():
    """`context` is what validators see as `info.context`."""
    output_type = OutputType.of(Trip)
    assert validate(output_type, '{"cities":["Ulm"]}', context={"Ulm"}).cities == ["Ulm"]
    (issue,) = issues_of(Trip, '{"cities":["Ulm"]}', context={"Bonn"})
    assert (issue.pointer, issue.source) == ("/cities", "pydantic")
    assert issue.found == '["Ulm"]'


class Strict(BaseModel):
    """Takes no other type for the one that it names, and no other keys."""

    model_config = ConfigDict(strict=True, extra="forbid")
    a: int
    b: Annotated[set[int], Field(min_length=2)]


def test_schema_and_pydantic_do_not_say_the_same_twice():
    """What the schema has said about a place, Pydantic does not repeat."""
    assert brief(issues_of(Strict, '{"a":"1","b":[1,1],"c":2}')) == [
        ("", "additionalProperties", "json_schema"),
        ("/a", "type", "json_schema"),
        ("/b", "too_short", "pydantic"),
    ]
    assert brief(issues_of(Strict, "{}")) == [
        ("/a", "required", "json_schema"),
        ("/b", "required", "json_schema"),
    ]


def test_pydantic_paths_lead_through_the_value():
    """Names of union members and validators are no part of a path."""

    class Even(BaseModel):
        n: int

        @field_validator("n")
        @classmethod
        def _even(cls, n: int) -> int:
            if n % 2:
                raise ValueError("must be even")
            return n

    issues = issues_of(dict[str, list[Even | None]], '{"k":[null,{"n":3}]}')
    assert brief(issues) == [("/k/1/n", "value_error", "pydantic")]
    assert issues[0].found == "3"


def test_decimals_keep_all_their_digits():
    """A number that a double cannot hold reaches a Decimal digit by digit."""

    class Rate(BaseModel):
        value: Decimal
        approximate: float
        exact: str

    rate = validate(
        OutputType.of(Rate),
        '{"value":0.1234567890123456789,"approximate":0.1234567890123456789,"exact":"1"}',
    )
    assert rate.value == Decimal("0.1234567890123456789")
    assert rate.approximate == 0.12345678901234568


def test_a_validators_own_bug_is_not_hidden():
    """What a validator raises by mistake is not taken for an issue with the output."""

    class Broken(BaseModel):
        a: int

        @field_validator("a")
        @classmethod
        def _broken(cls, a: int) -> int:
            raise KeyError("a bug")

    with pytest.raises(KeyError):
        validate(OutputType.of(Broken), '{"a":1}')


def test_many_issues_in_bounded_time():
    """10,000 wrong items make 10,000 issues and a short message."""
    before = time.perf_counter()
    with pytest.raises(OutputValidationError) as caught:
        validate(OutputType.of(list[int]), json.dumps(["x"] * 10_000))
    assert len(caught.value.issues) == 10_000
    assert len(str(caught.value)) < 1_000
    assert time.perf_counter() - before < 10


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(JSON, st.sampled_from([None, 2]))
def test_json_round_trips(value, indent):
    """Every JSON value that Python writes is read back as it was."""
    output_type = OutputType.of(JsonSchema({}))
    assert validate(output_type, json.dumps(value, indent=indent)) == value


@settings(max_examples=300)
@given(st.text('{}[]":,0123456789.eE+-truefalsn \\u/d8\n', max_size=25))
def test_any_text_is_json_or_an_issue(text):
    """What the strict reader takes, Pydantic's reader takes too, and means the same by it."""
    try:
        value = validate(OutputType.of(JsonSchema({})), text)
    except OutputValidationError as error:
        assert error.issues  # noqa: PT017 - what must hold of the error
        return
    assert validate(OutputType.of(Any), text) == value


@given(
    st.builds(Cat, kind=st.just("cat"), lives=st.integers())
    | st.builds(Dog, kind=st.just("dog"), weight=st.floats(allow_nan=False, allow_infinity=False))
)
def test_dumped_examples_validate(value):
    """What `dump` writes is read back as the value."""
    output_type = OutputType.of(Cat | Dog)
    assert validate(output_type, output_type.dump(value)) == value


class Patients(BaseModel):
    """Names are keys here, and a validator quotes what it does not like."""

    ages: dict[str, int]
    city: str = ""
    ward: str = ""

    @field_validator("city")
    @classmethod
    def _is_known(cls, city: str) -> str:
        if city:
            raise ValueError(f"{city} is no city of ours")
        return city

    @model_validator(mode="after")
    def _has_ward(self) -> Patients:
        if self.ward:
            raise ValueError(f"nobody lies in {self.ward}")
        return self


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('{"ages":{"Jane Doe":"old"}}', "/ages/…"),
        ('{"ages":{"Jane Doe":1},"Jane Doe":[]}', "(root)"),
        ('{"ages":{},"city":"Jane Doe"}', "/city"),
        ('{"ages":{},"ward":"Jane Doe"}', "(root)"),
        ('{"ages":{"Jane Doe":1,"Jane Doe":2}}', "/ages"),
    ],
)
def test_neither_keys_nor_quotations_are_shown(text, where):
    """Keys that the model chose and texts that validators quote are in no message and no repr."""
    with pytest.raises(OutputValidationError) as caught:
        validate(OutputType.of(Patients), text)
    assert where in str(caught.value)
    assert "Jane" not in str(caught.value) + repr(caught.value.issues)
