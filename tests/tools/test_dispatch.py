"""Running calls: their time, their thread, their returns."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from decimal import Decimal

import pytest
from pydantic import BaseModel

from gemma_structured.exceptions import ToolRetry, ToolTimeoutError
from gemma_structured.messages import ToolCall
from gemma_structured.tools import tool
from gemma_structured.tools.dispatch import arun_call, error_return, run_call, success_return

CALL = ToolCall("f", {}, id="abcdefghi")
VARIABLE = contextvars.ContextVar("VARIABLE", default="unset")


@tool
async def wait(seconds: float) -> float:
    """Wait."""
    await asyncio.sleep(seconds)
    return seconds


@tool
def sleep(seconds: float) -> float:
    """Sleep."""
    time.sleep(seconds)
    return seconds


@pytest.mark.parametrize("function", [wait, sleep])
def test_sync_and_async_tools_run_both_ways(function):
    """A sync tool can be awaited, and an async one called from blocking code."""
    call = ToolCall("f", {"seconds": 0.0})
    assert run_call(function, call) == 0.0
    assert asyncio.run(arun_call(function, call)) == 0.0


@pytest.mark.parametrize("function", [wait.__wrapped__, sleep.__wrapped__])
def test_a_tool_that_takes_too_long_is_given_up(function):
    """Past its timeout a call is a ToolTimeoutError, long before the function would end."""
    slow = tool(timeout=0.05)(function)
    call = ToolCall("f", {"seconds": 0.6})
    start = time.monotonic()
    with pytest.raises(ToolTimeoutError, match=r"0\.05 seconds"):
        run_call(slow, call)
    assert time.monotonic() - start < 0.5

    async def run() -> None:
        with pytest.raises(ToolTimeoutError):
            await arun_call(slow, call)

    asyncio.run(run())


def test_a_tools_own_timeout_error_is_its_own():
    """A TimeoutError that the tool raises is not mistaken for its time being up."""

    @tool(timeout=5)
    def f() -> None:
        """Fail."""
        raise TimeoutError("mine")

    with pytest.raises(TimeoutError, match="mine") as caught:
        run_call(f, CALL)
    assert not isinstance(caught.value, ToolTimeoutError)
    with pytest.raises(TimeoutError, match="mine"):
        asyncio.run(arun_call(f, CALL))


def test_context_variables_reach_the_thread():
    """A tool with a timeout runs in a thread that sees the caller's context variables."""

    @tool(timeout=5)
    def f() -> tuple[str, bool]:
        """Look."""
        return VARIABLE.get(), threading.current_thread() is threading.main_thread()

    token = VARIABLE.set("set")
    assert run_call(f, CALL) == ("set", False)
    VARIABLE.reset(token)


class Point(BaseModel):
    """A point."""

    x: Decimal


LOOP: list[object] = []
LOOP.append(LOOP)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, None),
        (Point(x=Decimal("1.50")), {"x": "1.50"}),
        ({"a": (1, 2.5)}, {"a": [1, 2.5]}),
        (float("nan"), "NaN"),
        (b"\xff", str(b"\xff")),
        (Ellipsis, "Ellipsis"),
        (LOOP, str(LOOP)),
    ],
)
def test_every_return_has_a_json_form(value, written):
    """Whatever a function returns is told to the model, as JSON or as its text."""
    returned = success_return(CALL, value)
    assert (returned.value, returned.call_id, returned.is_error) == (written, CALL.id, False)


def test_errors_are_told_with_their_kind_but_retries_plainly():
    """A failure names its exception; a ToolRetry is just what the tool says."""
    assert error_return(CALL, ValueError("no")).value == {"error": "ValueError: no"}
    retried = error_return(CALL, ToolRetry("Give a city."))
    assert (retried.value, retried.is_error) == ({"error": "Give a city."}, True)
