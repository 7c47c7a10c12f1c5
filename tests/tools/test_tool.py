"""Tools: what they take, and how their calls are checked."""

from __future__ import annotations

from datetime import date

import pytest

from gemma_structured.exceptions import InputError, OutputValidationError, SchemaError
from gemma_structured.messages import ToolCall
from gemma_structured.tools import Tool, ToolContext, ToolOffer, tool


@tool
def weekday(day: date, short: bool = False) -> str:
    """Tell the day of the week.

    Args:
        day: Any day.
        short: Three letters will do.
    """
    return day.strftime("%a" if short else "%A")


def test_a_decorated_function_is_still_a_function():
    """Calling a tool calls the function with plain Python arguments."""
    assert weekday(date(2024, 2, 29), short=True) == "Thu"
    assert (weekday.name, weekday.description) == ("weekday", "Tell the day of the week.")
    assert weekday.parameters.value["required"] == ["day"]


def test_options_override_what_the_function_says():
    """Name and description may be given; bad names and timeouts are refused."""

    @tool(name="day-of-week", description="D.", timeout=1.5, concurrent=True, needs_approval=True)
    def f(x: int) -> int:
        """Other."""
        return x

    assert (f.name, f.description, f.timeout) == ("day-of-week", "D.", 1.5)
    assert f.concurrent
    assert f.needs_approval
    for bad in ("", "a b", "é", "x" * 65, "a.b", "<|tool_call>"):
        with pytest.raises(InputError, match="cannot be a tool's name"):
            tool(name=bad)(lambda: None)
    with pytest.raises(InputError, match="timeout"):
        tool(timeout=0)(f.__wrapped__)


def test_validated_calls_have_typed_arguments():
    """A call's written arguments become values of the parameters' types."""
    (call,) = ToolOffer.of([weekday]).validate([ToolCall("weekday", {"day": "2024-02-29"})])
    assert call.arguments == {"day": date(2024, 2, 29)}
    assert call.written == {"day": "2024-02-29"}
    assert weekday.invoke(call) == "Thursday"


def test_wrong_calls_are_told_with_their_place():
    """Unknown tools and wrong arguments of all calls are issues under the call's number."""
    calls = [ToolCall("weekday", {"day": 3, "x": 1}), ToolCall("f", {})]
    with pytest.raises(OutputValidationError) as caught:
        ToolOffer.of([weekday]).validate(calls)
    pointers = {issue.pointer for issue in caught.value.issues}
    assert {"/0/weekday/day", "/1"} <= pointers


@pytest.mark.parametrize("written", [{"day": float("nan")}, {"day": object()}, {1: {2}}])
def test_arguments_that_are_no_json_are_refused(written):
    """Values that JSON cannot say are an input error."""
    with pytest.raises(InputError, match="not JSON"):
        weekday.validate(written)


def test_from_schema_hands_over_the_whole_object():
    """A tool from a schema is called with one dict that the schema has validated."""
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    double = Tool.from_schema("double", schema, lambda given: given["a"] * 2, description="2x")
    (call,) = ToolOffer.of([double]).validate([ToolCall("double", {"a": 4})])
    assert double.invoke(call) == 8
    with pytest.raises(OutputValidationError):
        double.validate({"a": "4"})


@pytest.mark.parametrize("schema", [{"type": "string"}, True, {"$ref": "#/$defs/x"}, "nonsense"])
def test_from_schema_refuses_what_is_no_object(schema):
    """Arguments are an object; other schemas and non-schemas are SchemaErrors."""
    with pytest.raises(SchemaError):
        Tool.from_schema("f", schema, dict)


def test_from_schema_follows_a_reference_at_its_root():
    """A schema whose root is a reference to an object is one of objects."""
    schema = {"$ref": "#/$defs/x", "$defs": {"x": {"type": "object"}}}
    assert Tool.from_schema("f", schema, dict).invoke(ToolCall("f", {"a": 1})) == {"a": 1}


def test_offers_say_who_may_be_called():
    """The choice narrows the callable tools, and says whether one must be called."""
    names = {c: [t.name for t in ToolOffer.of([weekday, len_of], choice=c).callable_tools]
             for c in ("auto", "required", "none", "len_of")}  # fmt: skip
    assert names == {
        "auto": ["weekday", "len_of"], "required": ["weekday", "len_of"],
        "none": [], "len_of": ["len_of"],
    }  # fmt: skip
    assert not ToolOffer.of([weekday]).must_call
    assert ToolOffer.of([weekday], choice="weekday").must_call
    with pytest.raises(OutputValidationError, match="no tool was called"):
        ToolOffer.of([weekday], choice="required").validate([])
    assert ToolOffer.of([weekday]).validate([]) == ()


def len_of(text: str) -> int:
    """Count."""
    return len(text)


@pytest.mark.parametrize(
    ("tools", "options"),
    [
        ([len_of, len_of], {}),
        ([], {"choice": "required"}),
        ([len_of], {"choice": "other"}),
        ([len_of], {"parallel": (0, 1)}),
        ([len_of], {"parallel": (3, 2)}),
        (["no tool"], {}),
    ],
)
def test_offers_that_mean_nothing_are_refused(tools, options):
    """Doubled names, unknown choices and empty ranges are input errors."""
    with pytest.raises(InputError):
        ToolOffer.of(tools, **options)


def test_the_number_of_calls_is_checked():
    """More or fewer calls than `parallel` allows are an issue."""
    offer = ToolOffer.of([len_of], parallel=(2, 3))
    one = ToolCall("len_of", {"text": "a"})
    assert len(offer.validate([one, one])) == 2
    for count in (1, 4):
        with pytest.raises(OutputValidationError, match="calls in one turn"):
            offer.validate([one] * count)


def test_a_tool_may_look_at_its_context():
    """A ToolContext parameter is filled with the caller's value and the call."""

    @tool
    def balance(context: ToolContext[dict[str, int]], account: str) -> tuple[int, str]:
        """Tell it."""
        return context.value[account], context.call.id

    (call,) = ToolOffer.of([balance]).validate([ToolCall("balance", {"account": "x"})])
    assert balance.invoke(call, {"x": 7}) == (7, call.id)
