"""Calls of every family: what is written is accepted by the grammar, and parses back."""

from __future__ import annotations

import string
from datetime import date  # noqa: TC003 - read at run time
from typing import Annotated, Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from gemma_structured.exceptions import InputError, OutputValidationError
from gemma_structured.messages import ToolCall
from gemma_structured.schema.bounds import DEFAULT_BOUNDS
from gemma_structured.tools import Tool, ToolOffer, tool

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
KEYS = st.text(string.ascii_letters + "_", min_size=1, max_size=4)
FREE_KEYS = st.one_of(KEYS, TEXTS)


def integers() -> st.SearchStrategy:
    schema = {"type": "integer", "minimum": -5, "maximum": 1000}
    return st.integers(-5, 1000).map(lambda value: (schema, value))


def leaves() -> st.SearchStrategy:
    """Pairs of a schema and a value that it allows."""
    options = st.lists(TEXTS, min_size=1, max_size=4, unique=True)
    return st.one_of(
        integers(),
        st.integers(-9999, 9999).map(lambda n: ({"type": "number"}, n / 100)),
        st.booleans().map(lambda value: ({"type": "boolean"}, value)),
        TEXTS.map(lambda text: ({"type": "string", "maxLength": 12}, text)),
        TEXTS.map(lambda text: ({"type": ["string", "null"]}, text)),
        st.just(({"type": ["string", "null"]}, None)),
        st.sampled_from(["null", '"a"', '"', "1", "{}"]).map(
            lambda text: ({"type": ["string", "null"]}, text)
        ),
        st.one_of(TEXTS, st.integers(-9, 9)).map(lambda v: ({"type": ["string", "integer"]}, v)),
        options.map(lambda texts: ({"enum": texts}, texts[-1])),
        st.from_regex(r"[A-Z]{2}[0-9]{1,3}", fullmatch=True, alphabet=string.printable).map(
            lambda text: ({"type": "string", "pattern": "^[A-Z]{2}[0-9]{1,3}$"}, text)
        ),
    )


def containers(inner: st.SearchStrategy) -> st.SearchStrategy:
    """Arrays, maps and objects of such pairs."""
    arrays = inner.flatmap(
        lambda pair: st.integers(0, 3).map(
            lambda n: ({"type": "array", "items": pair[0], "maxItems": 4}, [pair[1]] * n)
        )
    )
    maps = inner.flatmap(
        lambda pair: st.sets(FREE_KEYS, max_size=3).map(
            lambda keys: (
                {"type": "object", "additionalProperties": pair[0]},
                dict.fromkeys(sorted(keys), pair[1]),
            )
        )
    )
    return st.one_of(arrays, maps, objects(inner))


def objects(inner: st.SearchStrategy) -> st.SearchStrategy:
    """Closed objects, some members optional and left out."""

    def build(members: dict[str, tuple[tuple[dict, Any], str]]) -> tuple[dict, dict]:
        schema = {
            "type": "object",
            "properties": {key: pair[0] for key, (pair, _) in members.items()},
            "required": [key for key, (_, kind) in members.items() if kind == "required"],
            "additionalProperties": False,
        }
        return schema, {key: pair[1] for key, (pair, kind) in members.items() if kind != "absent"}

    kinds = st.sampled_from(["required", "optional", "absent"])
    return st.dictionaries(KEYS, st.tuples(inner, kinds), max_size=4).map(build)


CALLS = objects(st.recursive(leaves(), containers, max_leaves=5))


def expressible(setting, value: object) -> bool:
    """Whether the family's form can say a value: no form can say its own end inside a text."""
    ends = {"gemma4": '<|"|>', "functiongemma": "<escape>", "minimax_m2": "</p"}
    return ends.get(setting.name, "\0\0") not in repr(value)


@given(made=CALLS, count=st.integers(1, 2))
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
)
def test_round_trip(setting, made, count):
    """Random arguments are accepted token by token and parse back equal."""
    schema, arguments = made
    if not expressible(setting, (schema, arguments)):
        return
    offer = ToolOffer.of(
        [Tool.from_schema("f", schema, dict), Tool.from_schema("f_2", {"type": "object"}, dict)],
        choice="required",
        parallel=(1, 3),
    )
    calls = [ToolCall("f", arguments)] * count
    text = setting.form.write(calls, offer.tools)
    parsed = setting.form.parse(text, offer.tools)
    assert [(c.name, dict(c.written)) for c in parsed.calls] == [("f", arguments)] * count
    assert parsed.text == ""
    assert offer.validate(parsed.calls)
    assert setting.accepts(setting.matcher(offer), text)


class Address(BaseModel):
    """Where."""

    street: str = Field(pattern=r"^[a-z ]+$", max_length=9)
    zip: Annotated[int, Field(ge=0, le=99999)]
    unit: Address | None = None


@tool
def ship(  # noqa: PLR0917
    address: Address,
    speed: Literal["slow", "fast", "a 😀 b"],
    Days: Annotated[int, Field(ge=1, le=7)],  # noqa: N803
    note: str | None = None,
    tags: Annotated[list[str], Field(max_length=2)] = [],  # noqa: B006
    when: date | None = None,
) -> None:
    """Ship a parcel."""


GOOD: dict[str, Any] = {
    "address": {"street": "main", "zip": 1, "unit": {"street": "a b", "zip": 0}},
    "speed": "a 😀 b",
    "Days": 7,
    "note": 'He said: "{x}", <b>\n</b> é',
    "tags": ["", "<tool"],
    "when": "2024-02-29",
}
OFFER = ToolOffer.of([ship], choice="required", parallel=(1, 2))


def test_a_rich_call_is_accepted(setting):
    """References, recursion, enums, patterns, optional and nullable arguments are all written."""
    text = setting.form.write([ToolCall("ship", GOOD)], OFFER.tools)
    assert setting.accepts(setting.matcher(OFFER, bounds=DEFAULT_BOUNDS), text)
    assert setting.form.parse(text, OFFER.tools).calls[0].written == GOOD


MUTATIONS: dict[str, dict[str, Any]] = {
    "a bound passed": {**GOOD, "Days": 8},
    "a wrong type": {**GOOD, "Days": "x"},
    "a fraction": {**GOOD, "Days": 2.5},
    "an option that is none": {**GOOD, "speed": "quick"},
    "a pattern broken": {**GOOD, "address": {"street": "Main", "zip": 1}},
    "too many items": {**GOOD, "tags": ["a", "b", "c"]},
    "too long": {**GOOD, "address": {"street": "a" * 10, "zip": 1}},
    "a wrong key": {("day" if k == "Days" else k): v for k, v in GOOD.items()},
    "an extra key": {**GOOD, "zz": 1},
    "a nested extra key": {**GOOD, "address": {"street": "main", "zip": 1, "zz": 1}},
    "a required one missing": {k: v for k, v in GOOD.items() if k != "speed"},
    "a nested one missing": {**GOOD, "address": {"street": "main"}},
    "null where none may be": {**GOOD, "speed": None},
    "no date": {**GOOD, "when": "2023-02-29"},
}


@pytest.mark.parametrize("mutation", list(MUTATIONS))
def test_mutated_arguments_are_refused(setting, mutation):
    """A call with anything wrong in its arguments is not accepted."""
    text = setting.form.write([ToolCall("ship", MUTATIONS[mutation])], OFFER.tools)
    assert not setting.accepts(setting.matcher(OFFER, bounds=DEFAULT_BOUNDS), text)


def test_mutated_form_is_refused(setting):
    """Every form with a character missing, a wrong tool, no calls or too many is refused."""
    matcher = setting.matcher(OFFER, bounds=DEFAULT_BOUNDS)
    text = setting.form.write([ToolCall("ship", {**GOOD, "note": "x"})], OFFER.tools)
    for sign in ("{", "}", ">", "]", "ship"):
        at = text.rfind(sign)
        if at >= 0:
            assert not setting.accepts(matcher, text[:at] + text[at + len(sign) :]), sign
    other = setting.form.write([ToolCall("sink", GOOD)], OFFER.tools)
    many = setting.form.write([ToolCall("ship", GOOD)] * 3, OFFER.tools)
    for wrong in ("", "Hello", other, many, text + "x", "x" + text):
        assert not setting.accepts(matcher, wrong)


def test_under_auto_text_and_calls_mix(setting):
    """Text alone, calls alone, and text with calls are accepted; half a call is not."""
    offer = ToolOffer.of([ship], parallel=(1, 2))
    matcher = setting.matcher(offer)
    calls = setting.form.write([ToolCall("ship", GOOD)], offer.tools)
    for before, after in (("", ""), ("I ship it. {\n", ""), ("I ship", " Done.")):
        text = before + calls + after
        assert setting.accepts(matcher, text)
        parsed = setting.form.parse(text, offer.tools)
        assert (parsed.text, parsed.calls[0].written) == (before + after, GOOD)
    assert setting.accepts(matcher, "Only <text>, no call.")
    assert setting.accepts(matcher, "")
    assert not setting.accepts(matcher, calls[: len(calls) // 2])
    wrong = setting.form.write([ToolCall("ship", MUTATIONS["a bound passed"])], offer.tools)
    assert not setting.accepts(matcher, f"Text {wrong}")


def test_the_opening_cannot_be_spelled_in_text(setting):
    """Text that spells a control token letter by letter cannot pass for a call."""
    offer = ToolOffer.of([ship], parallel=(1, 2))
    one = setting.matcher(offer)
    spelled = setting.vocabulary.encode(f"x {setting.form.opener} call")
    assert one.count_valid(spelled) < len(spelled)


def test_unknown_and_broken_calls_are_issues(setting):
    """Cut or scrambled calls raise OutputValidationError, whatever they hold."""
    text = setting.form.write([ToolCall("ship", GOOD)], OFFER.tools)
    for end in range(len(setting.form.opener), len(text), 7):
        cut = text[:end]
        try:
            parsed = setting.form.parse(cut, OFFER.tools)
        except OutputValidationError as error:
            assert error.issues[0].source == "syntax"  # noqa: PT017
        else:
            assert not parsed.calls
    deep = setting.form.opener + text[len(setting.form.opener) :].replace("[", "[" * 100_000, 1)
    with pytest.raises(OutputValidationError):
        setting.form.parse(deep, OFFER.tools)


def test_arguments_that_a_form_cannot_say_are_refused(settings_by_name):
    """A text that holds the form's own end mark cannot be written."""
    for name, end in (
        ("gemma4", '<|"|>'),
        ("functiongemma", "<escape>"),
        ("minimax_m2", "</parameter>"),
    ):
        setting = settings_by_name[name]
        offer = ToolOffer.of([Tool.from_schema(
            "f", {"type": "object", "properties": {"a": {"type": "string"}}}, dict)])  # fmt: skip
        with pytest.raises(InputError):
            setting.form.write([ToolCall("f", {"a": f"x{end}y"})], offer.tools)


def test_keys_that_need_quotes(gemma4):
    """Keys that hold delimiters are quoted, and come back."""
    schema = {
        "type": "object",
        "properties": {k: {"type": "integer"} for k in ("a:b", "x y", "{", "", "日本", '"')},
        "required": ["a:b", "x y", "{", "", "日本", '"'],
        "additionalProperties": False,
    }
    offer = ToolOffer.of([Tool.from_schema("f", schema, dict)], choice="required")
    call = ToolCall("f", dict.fromkeys(schema["properties"], 1))
    text = gemma4.form.write([call], offer.tools)
    assert gemma4.accepts(gemma4.matcher(offer), text)
    assert gemma4.form.parse(text, offer.tools).calls[0].written == call.written


def test_gemma_sorts_keys_without_regard_to_case(gemma4):
    """Keys are in the order of their lower-case forms at every level, and in no other."""
    text = gemma4.form.write([ToolCall("ship", {**GOOD, "tags": []})], OFFER.tools)
    assert text.index("address:") < text.index("Days:") < text.index("note:")
    assert gemma4.accepts(gemma4.matcher(OFFER), text)
    swapped = text.replace("Days:7,", "").replace("address:", "Days:7,address:", 1)
    assert not gemma4.accepts(gemma4.matcher(OFFER), swapped)


def test_a_blank_line_ends_the_calls_of_a_base_model(settings_by_name):
    """It ends calls that could go on, and is no text; calls whose number is told need none."""
    setting = settings_by_name["completion"]
    text = setting.form.write([ToolCall("ship", {**GOOD, "note": "x"})], OFFER.tools)
    ended = setting.matcher(OFFER)
    assert setting.accepts(ended, f"{text}\n\n")
    assert not setting.accepts(ended, f"{text}\n\n{text}")
    parsed = setting.form.parse(f"{text}\n\n", OFFER.tools)
    assert (len(parsed.calls), parsed.text) == (1, "")
    ended.accept(setting.vocabulary.encode_template(f"{text}\n\n"))
    assert ended.is_finished
    one = setting.matcher(ToolOffer.of([ship], choice="required", parallel=(1, 1)))
    one.accept(setting.vocabulary.encode_template(text))
    assert one.is_finished


@pytest.mark.parametrize("name", ["gemma4", "afmoe", "minimax_m2"])
def test_no_call_is_made_inside_a_thought(settings_by_name, name):
    """A call may follow a thought; inside one, its opening is refused."""
    setting = settings_by_name[name]
    marks = setting.family.thought
    matcher = setting.matcher(OFFER, thought=marks)
    call = setting.form.write([ToolCall("ship", GOOD)], OFFER.tools)
    begun = f"{marks.open}{marks.head}hm "
    assert setting.accepts(matcher, f"{begun}{marks.close}{call}")
    assert not setting.accepts(matcher, f"{begun}{call}{marks.close}{call}")
    valid = matcher.count_valid(setting.vocabulary.encode_template(begun + call))
    assert valid == len(setting.vocabulary.encode_template(begun))
