"""The fault matrix: every fault, blocking and not, streamed and whole, on a real socket.

Each case tells the output or the error's type, how many requests the server got, what the budget
says was spent, and that it all ended in time with no connection left open.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field, replace
from decimal import Decimal

import pytest

import gemma_structured as gs
from gemma_structured.budget import Budget
from gemma_structured.models.openrouter import OpenRouterModel
from gemma_structured.remote.errors import UnsupportedParameterError, WhitespaceFloodError
from gemma_structured.remote.network import Timeouts
from gemma_structured.remote.pricing import Pricing
from gemma_structured.remote.retry import RetryPolicy
from gemma_structured.testing.openrouter_replies import USAGE, Answer, Cut, Failure, Raw, Wire
from gemma_structured.testing.openrouter_server import FakeOpenRouter

GOOD = '{"name":"Ada","age":36}'
COST = Decimal("0.001")
PRICE = Pricing(prompt=Decimal("0.000001"), completion=Decimal("0.000001"))


@dataclass(frozen=True)
class Person:
    """What is asked for."""

    name: str
    age: int


ADA = Person("Ada", 36)
OK = Answer(text=GOOD)


@dataclass(frozen=True)
class Case:
    """A fault and what it must lead to.

    Attributes:
        replies: What the server answers, in order.
        expect: The output, or the type of the error.
        requests: How many requests the server gets.
        cost: What the budget has spent in the end; `None` is "the bound of the requests that may
            have been billed", which only has to be above zero.
        whole: Whether the case is for whole answers, for streams, or for both.
        match: In the error's message.
        timeout: Of the call.
        within: Seconds that it may take.
    """

    replies: tuple
    expect: object = ADA
    requests: int = 1
    cost: Decimal | None = COST
    only: str = "both"
    match: str = ""
    timeout: float | None = 5.0
    within: float = 1.5
    options: dict = field(default_factory=dict)


def status(code, **members):
    return Failure(status=code, **members)


def raw(body, content_type="application/json", code=200, **wire):
    body = body if isinstance(body, bytes) else body.encode()
    return Raw(Wire(status=code, headers={"content-type": content_type}, steps=[body], **wire))


def twice(fault):
    """A passing fault, twice, then the right answer."""
    return Case((fault, fault, OK), requests=3)


FREE = Decimal(0)
CASES = {
    # --- right answers in odd clothes
    "plain": Case((OK,)),
    "fenced": Case((Answer(text=f"```json\n{GOOD}\n```"),)),
    "prose": Case((Answer(text=f"Sure, here it is: {GOOD} Bye"),)),
    "thought in content": Case((Answer(text=f"<think>hm {{</think>{GOOD}"),)),
    "channel in content": Case((Answer(text=f"<|channel>thought\nhm<channel|>{GOOD}<turn|>"),)),
    "byte order mark": Case((Answer(text=f"\ufeff{GOOD}"),)),
    "reasoning apart": Case((Answer(text=GOOD, reasoning="let me see"),)),
    "answer in reasoning": Case((Answer(text=None, reasoning=GOOD),)),
    "answer in a tool call": Case((Answer(text=None, tool_arguments=GOOD, finish_reason="tool_calls"),)),
    "another model's name": Case((Answer(text=GOOD, model="google/gemma-4-26b-a4b-it-20260801"),)),
    "no system_fingerprint, no id": Case((Answer(text=GOOD, overrides={"id": ..., "created": ...}),)),
    "newlines before": Case((Answer(text=GOOD, padding=500, drip=0.01),)),
    "usage chunk with a choice": Case((Answer(text=GOOD, usage_choices=1),)),
    "late pieces": Case((Answer(text=GOOD, late_finish=True),), only="stream"),
    "frames cut at every byte": Case((Answer(text=GOOD, frame=1, framing="chunked"),)),
    "drip within the deadline": Case((Answer(text=GOOD, drip=0.05),)),
    "no usage": Case((Answer(text=GOOD, usage=None),), cost=None),
    "no cost": Case(
        (Answer(text=GOOD, usage={"prompt_tokens": 10, "completion_tokens": 5}),),
        cost=Decimal("0.000015"),
    ),
    "body ends with the connection": Case((Answer(text=GOOD, framing="close"),)),
    "nested under provider": Case((Answer(text=GOOD, nested=True),), only="whole"),
    "whole though a stream was asked": Case(
        (raw('{"choices":[{"message":{"content":"{\\"name\\":\\"Ada\\",\\"age\\":36}"},'
             '"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"cost":0.001}}'),)
    ),
    "native finish reason only": Case(
        (raw('{"choices":[{"message":{"content":"{\\"name\\":\\"Ada\\",\\"age\\":36}"},'
             '"finish_reason":null,"native_finish_reason":"STOP"}],"usage":{"cost":0.001,"total_tokens":1,'
             '"prompt_tokens":1}}'),), only="whole"
    ),
    # --- statuses
    "400": Case((status(400),), gs.APIStatusError, cost=FREE),
    "400 context": Case(
        (status(400, message="This endpoint's maximum context length is 8192 tokens. However, you "
                             "requested about 9000 tokens"),), gs.ContextLengthError, cost=FREE
    ),
    "401": Case((status(401),), gs.AuthenticationError, cost=FREE),
    "402": Case((status(402, message="can only afford 12"),), gs.InsufficientCreditsError, cost=FREE),
    "402 in flight": twice(status(402, metadata={"reason": "in_flight_budget_exhausted"},
                                  headers={"retry-after": "0.02"})),
    "403 key": Case((status(403),), gs.AuthenticationError, cost=FREE),
    "403 moderation": Case(
        (status(403, metadata={"reasons": ["violence"], "flagged_input": "secret text"}),),
        gs.RefusalError, cost=FREE,
    ),
    "404": Case((status(404, message="No such model"),), gs.APIStatusError, cost=FREE),
    "404 unsupported": Case(
        (status(404, message="No endpoints found that support the requested parameters"),),
        UnsupportedParameterError, cost=FREE,
    ),
    "408": twice(status(408)),
    "413": Case((status(413),), gs.APIStatusError, cost=FREE),
    "422": Case((status(422),), gs.APIStatusError, cost=FREE),
    "429": twice(status(429, headers={"retry-after": "0.02"})),
    "429 free cap": Case(
        (status(429, message="Rate limit exceeded: free-models-per-day"),), gs.RateLimitError, cost=FREE
    ),
    "429 for too long": Case(
        (status(429, headers={"retry-after": "60"}),), gs.RateLimitError, cost=FREE, within=0.5
    ),
    "429 available again": Case(
        (status(429, message="free-models-per-day", members={"availability": {"retryable": True}}), OK),
        requests=2,
    ),
    "503 unavailable for good": Case(
        (status(503, members={"availability": {"retryable": False}}),), gs.APIStatusError, cost=FREE
    ),
    **{str(code): twice(status(code)) for code in (500, 502, 503, 504, 524, 529)},
    "503 for ever": Case((status(503),) * 3, gs.APIStatusError, requests=3, cost=FREE),
    "HTML 502": twice(raw("<html><h1>Bad gateway</h1></html>", "text/html", 502)),
    "empty 500": twice(raw("", code=500)),
    "redirect": Case(
        (Raw(Wire(status=307, headers={"location": "http://127.0.0.1:1/"}, steps=[b"{}"])),),
        gs.APIStatusError, cost=FREE,
    ),
    # --- errors in a success
    "error in 200": Case((Answer(text="", error={"code": 400, "message": "no"}, overrides={"choices": ...}),
                          ), gs.APIStatusError, only="whole"),
    "passing error in 200": Case(
        (Answer(error={"code": 502, "message": "x"}), OK), requests=2, cost=2 * COST, only="whole"
    ),
    "passing error in a choice": Case(
        (Answer(error={"code": "503", "message": "x"}, error_in_choice=True), OK),
        requests=2, cost=2 * COST, only="whole",
    ),
    "passing error before the first piece": Case(
        (Answer(error={"code": 502, "message": "x"}, usage=None), OK), requests=2, only="stream",
    ),
    "error in the middle": Case(
        (Answer(text=GOOD, error={"code": "server_error", "message": "x"}, drip=0.03),),
        gs.APIStatusError, only="stream", cost=None,
    ),
    "error of a choice in the middle": Case(
        (Answer(text=GOOD, error={"code": 429, "message": "x"}, error_in_choice=True, drip=0.03),),
        gs.RateLimitError, only="stream", cost=None,
    ),
    "finish reason error": Case((Answer(text="x", finish_reason="error"),) * 3, gs.APIStatusError,
                                requests=3, cost=3 * COST, only="whole"),
    "content filter": Case((Answer(text="", finish_reason="content_filter"),), gs.RefusalError),
    "null choices": Case(
        (Answer(overrides={"choices": None}),) * 3, gs.TransportError, requests=3, cost=None, only="whole"
    ),
    "no choices": Case(
        (raw('{"id": "x"}'),) * 3, gs.TransportError, requests=3, cost=None,
    ),
    "a list": Case((raw("[]"),) * 3, gs.TransportError, requests=3, cost=None),
    "an HTML page": Case((raw("<!doctype html>", "text/html"),), gs.TransportError, cost=None, match="HTML"),
    "an empty body": Case((raw(""),) * 3, gs.TransportError, requests=3, cost=None),
    # --- cut, slow, endless
    "cut in the head of the body": Case((Answer(text=GOOD, cut=3), OK), requests=2, cost=None),
    "cut body": Case((Answer(text=GOOD, cut=150), OK), requests=2, cost=None, only="whole"),
    "cut for ever": Case((Answer(text=GOOD, cut=0),) * 3, gs.TransportError, requests=3, cost=None),
    "cut stream": Case((Answer(text=GOOD, cut=600),), gs.TransportError, only="stream", cost=None),
    "stream without its end mark": Case(
        (raw('data: {"choices":[{"delta":{"content":"{}"},"finish_reason":"stop"}]}\n\n',
             "text/event-stream", framing="close"),),
        gs.TransportError, only="stream", cost=None, match="cut",
    ),
    "stream without a finish reason": Case(
        (Answer(text=GOOD, finish_reason=None),), gs.TransportError, only="stream", match="cut",
    ),
    "no finish reason": Case((Answer(text=GOOD, finish_reason=None),) * 3, gs.TransportError,
                             requests=3, cost=3 * COST, only="whole"),
    "no JSON in an event": Case(
        (raw("data: {oops\n\n", "text/event-stream"),) * 3, gs.TransportError, requests=3,
        only="stream", cost=None,
    ),
    "connection closed at once": Case(
        (Raw(Wire(steps=[Cut()], framing="close")), OK), requests=2, cost=None
    ),
    "slow head": Case(
        (replace(OK, delay=2.0),), gs.DeadlineExceededError, timeout=0.3, within=0.7, cost=None
    ),
    "silent server": Case(
        (replace(OK, delay=3.0),) * 3, gs.TransportError, requests=3, cost=None, within=2.5,
        options={"timeouts": Timeouts(read=0.3)},
    ),
    "drip past the deadline": Case(
        (Answer(text="x" * 400, frame=8, drip=0.05),), gs.DeadlineExceededError, timeout=0.4,
        within=0.8, cost=None,
    ),
    "newlines for ever": Case(
        (Answer(text=GOOD, padding=200, frame=1, drip=0.02, framing="chunked"),),
        gs.DeadlineExceededError, timeout=0.4, within=0.8, cost=None,
    ),
    "white space flood": Case((Answer(text="{" + " " * 5000),), WhitespaceFloodError, cost=None),
    "white space flood in pieces": Case(
        (Answer(text='{"name":' + "\n" * 1500, piece=100),), WhitespaceFloodError, cost=None
    ),
    "answer beyond the size": Case(
        (Answer(text="x" * 40_000),), gs.TransportError, cost=None, match="longer",
        options={"max_response_bytes": 20_000},
    ),
    # --- wrong answers
    "wrong, then right": Case((Answer(text="no idea"), OK), requests=2, cost=2 * COST),
    "wrong for ever": Case(
        (Answer(text='{"name": 1}'),) * 3, gs.OutputValidationError, requests=3, cost=3 * COST
    ),
    "cut off, then right": Case(
        (Answer(text='{"name":', finish_reason="length"), OK), requests=2, cost=2 * COST
    ),
    "cut off for ever": Case(
        (Answer(text='{"name":', finish_reason="length"),) * 3, gs.IncompleteOutputError, requests=3,
        cost=3 * COST,
    ),
    "complete at the limit": Case(
        (Answer(text=GOOD, finish_reason="length"), OK), requests=2, cost=2 * COST
    ),
    "empty": Case((Answer(text=""), Answer(text=None), OK), requests=3, cost=3 * COST),
    "duplicate keys": Case(
        (Answer(text='{"name":"Ada","age":3,"age":36}'), OK), requests=2, cost=2 * COST
    ),
    "not a number": Case((Answer(text='{"name":"Ada","age":NaN}'), OK), requests=2, cost=2 * COST),
    "two objects": Case((Answer(text=GOOD + ' {"name":"Bo","age":1}'), OK), requests=2, cost=2 * COST),
}  # fmt: skip
WAYS = ["sync", "async", "stream", "astream"]
MATRIX = [
    pytest.param(name, way, id=f"{name}-{way}")
    for name, case in CASES.items()
    for way in WAYS
    if case.only in {"both", "stream" if "stream" in way else "whole"}
]


@pytest.fixture(scope="module")
def server():
    with FakeOpenRouter() as one:
        yield one


async def generate(model, way, seconds):
    """Generate in one of four ways; blocking ones in this thread."""
    if way == "sync":
        return model.generate("the document", Person, timeout=seconds)
    if way == "stream":
        with model.stream("the document", Person, timeout=seconds) as stream:
            return stream.result()
    if way == "async":
        return await model.agenerate("the document", Person, timeout=seconds)
    async with model.astream("the document", Person, timeout=seconds) as stream:
        return await stream.result()


async def run(model, way, seconds):
    """Generate, close, and look whether any task is left."""
    try:
        return await generate(model, way, seconds)
    except gs.GemmaStructuredError as error:
        return error
    finally:
        await model.aclose()
        assert asyncio.all_tasks() == {asyncio.current_task()}


def test_the_matrix_is_large():
    """At least 150 cases."""
    assert len(MATRIX) >= 150


@pytest.mark.parametrize(("name", "way"), MATRIX)
def test_fault(server, name, way):
    """The right output or the right error, the right requests and cost, in time, nothing left."""
    case = CASES[name]
    server.requests.clear()
    server._replies.clear()
    server.script(*case.replies)
    budget = Budget(max_cost=100)
    model = OpenRouterModel(
        "google/gemma-4-26b-a4b-it",
        api_key=server.key,
        base_url=server.base_url,
        budget=budget,
        price=PRICE,
        retry=RetryPolicy(first_delay=0.01, max_delay=0.02),
        **{"timeouts": Timeouts(connect=1, read=5), **case.options},
    )
    start = time.monotonic()
    outcome = asyncio.run(run(model, way, case.timeout))
    elapsed = time.monotonic() - start
    if isinstance(case.expect, type):
        assert isinstance(outcome, case.expect), repr(outcome)
        assert case.match in str(outcome)
        assert sum(attempt.usage.requests for attempt in outcome.attempts) == case.requests
    else:
        assert not isinstance(outcome, Exception), repr(outcome)
        assert outcome.output == case.expect
        assert outcome.usage.requests == case.requests
    assert len(server.requests) == case.requests
    assert budget.reserved.cost == 0
    if case.cost is None:
        assert budget.spent.cost > 0
    else:
        assert budget.spent.cost == case.cost
    assert budget.spent.requests == case.requests
    assert elapsed < case.within
    until = time.monotonic() + 2
    while server.open_connections and time.monotonic() < until:
        time.sleep(0.005)
    assert server.open_connections == 0


def test_usage_is_the_servers():
    """The default answer costs what its usage object says."""
    assert Decimal(str(USAGE["cost"])) == COST
