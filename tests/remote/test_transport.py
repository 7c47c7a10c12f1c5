"""Both transports on a real socket: deadlines against drips, cancellation, pools, limits."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, closing
from dataclasses import replace
from decimal import Decimal
from functools import partial

import httpcore
import pytest
from pydantic import SecretStr

import gemma_structured as gs
from gemma_structured.budget import Budget
from gemma_structured.messages import UserMessage
from gemma_structured.remote.async_transport import AsyncTransport
from gemma_structured.remote.call import Call, Whole
from gemma_structured.remote.decode import chat_decoder
from gemma_structured.remote.network import Timeouts, sync_client
from gemma_structured.remote.pricing import Pricing, Quote
from gemma_structured.remote.retry import RetryPolicy
from gemma_structured.remote.server import Server, secret_key
from gemma_structured.remote.transport import Transport
from gemma_structured.remote.wire import ChatRequest
from gemma_structured.testing.openrouter_replies import Answer, Failure, Raw, Wire
from gemma_structured.testing.openrouter_server import FakeOpenRouter
from gemma_structured.types import Cancellation, Deadline, ModelDelta, SamplingParams

QUICK = RetryPolicy(first_delay=0.01, max_delay=0.02)


@pytest.fixture
def fake():
    with FakeOpenRouter(answer=Answer(text="hello", piece=1)) as one:
        yield one


def server_of(fake, **options):
    return Server(fake.base_url, key=SecretStr(fake.key), **{"retry": QUICK, **options})


def call(*, stream=False, seconds=5.0, **members):
    body = ChatRequest(
        model="m", messages=(UserMessage("hi"),), max_tokens=10, sampling=SamplingParams()
    ).encode(stream=stream)
    return Call(
        decoder=partial(chat_decoder, answer_in_tool=False),
        body=body,
        deadline=Deadline.after(seconds),
        **members,
    )


def wait_until(condition, seconds=2.0):
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.005)
    assert condition()


def ask_once(server, kind, one):
    """Run a call one way; give back its outcome, errors included."""
    try:
        if kind == "sync":
            with closing(Transport(server)) as transport:
                return transport.ask(one)
        return asyncio.run(AsyncTransport(server).ask(one))
    except gs.ModelError as error:
        return error


def in_both(fake, make_call, **options):
    """Run a call blocking and not; give back both outcomes, errors included, with their times."""
    outcomes = []
    for kind in ("sync", "async"):
        start = time.monotonic()
        outcome = ask_once(server_of(fake, **options), kind, make_call())
        outcomes.append((outcome, time.monotonic() - start))
    return outcomes


def test_the_key_is_sent_and_shown_nowhere(fake):
    """It is in the request's header, and in no repr."""
    server = server_of(fake, headers={"X-Title": "tests"})
    with closing(Transport(server)) as transport:
        assert transport.ask(call()).text == "hello"
        assert fake.key not in repr(server) + repr(vars(server)) + repr(vars(transport))
    assert fake.requests[0].headers["authorization"] == f"Bearer {fake.key}"
    assert fake.requests[0].headers["x-title"] == "tests"


@pytest.mark.parametrize("stream", [False, True])
def test_connections_are_kept_and_closed(fake, stream):
    """Many requests, one connection, also after streams; closing leaves none."""
    transport = Transport(server_of(fake))
    for _ in range(5):
        transport.ask(call(stream=stream))
    assert fake.open_connections == 1
    transport.close()
    wait_until(lambda: not fake.open_connections)

    async def main():
        transport = AsyncTransport(server_of(fake))
        for _ in range(5):
            await transport.ask(call(stream=stream))
        assert fake.open_connections == 1
        await transport.close()

    asyncio.run(main())
    wait_until(lambda: not fake.open_connections)


def test_every_event_loop_has_its_own_connections(fake):
    """One transport serves loop after loop, and each loop's end closes what it opened."""
    transport = AsyncTransport(server_of(fake))
    for _ in range(3):
        asyncio.run(transport.ask(call()))
        wait_until(lambda: not fake.open_connections)

    with ThreadPoolExecutor(3) as pool:
        runs = [pool.submit(asyncio.run, transport.ask(call())) for _ in range(6)]
        assert {run.result().text for run in runs} == {"hello"}
    gc.collect()
    assert len(transport._clients) == 0


def test_a_forgotten_transport_closes_its_connections(fake):
    """Whoever drops a model without closing it leaves nothing open."""
    transport = Transport(server_of(fake))
    transport.ask(call())
    assert fake.open_connections == 1
    del transport
    gc.collect()
    wait_until(lambda: not fake.open_connections)


HEAD_DRIP = b"HTTP/1.1 200 OK\r\n" + b"x-filler: 1\r\n" * 400


def dripping_head_server():
    """A server that sends its head byte by byte, for ever."""
    import socket

    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            try:
                for byte in HEAD_DRIP:
                    connection.sendall(bytes([byte]))
                    time.sleep(0.02)
            except OSError:
                return

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return listener, thread


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_head_that_drips_does_not_outlive_the_deadline(kind):
    """Every read is short of its timeout, and still it ends in time."""
    listener, thread = dripping_head_server()
    server = Server(
        f"http://127.0.0.1:{listener.getsockname()[1]}", timeouts=Timeouts(read=1), retry=QUICK
    )
    start = time.monotonic()
    outcome = ask_once(server, kind, call(seconds=0.4))
    assert isinstance(outcome, gs.DeadlineExceededError)
    assert time.monotonic() - start < 0.7
    listener.close()
    thread.join(2)


def test_a_body_that_drips_does_not_outlive_the_deadline(fake):
    """Nor does one that falls silent in the middle."""
    for reply in (
        Answer(text="x" * 300, frame=10, drip=0.05),
        Raw(
            Wire(
                headers={"content-type": "text/event-stream"},
                steps=[b": a\n\n", 9.0],
                framing="chunked",
            )
        ),
    ):
        for stream in (False, True):
            fake.script(reply, reply)
            for outcome, seconds in in_both(fake, partial(call, stream=stream, seconds=0.3)):
                assert isinstance(outcome, gs.DeadlineExceededError)
                assert seconds < 0.6
    wait_until(lambda: not fake.open_connections)


def test_a_flag_set_by_another_thread_ends_a_blocking_read(fake):
    """The connection is closed at once, not when the server says something."""
    fake.script(replace(Answer(), delay=5.0))
    cancellation = Cancellation()
    threading.Timer(0.15, cancellation.cancel).start()
    start = time.monotonic()
    with closing(Transport(server_of(fake))) as transport:
        with pytest.raises(gs.GenerationCancelledError):
            transport.ask(call(cancellation=cancellation))
        assert time.monotonic() - start < 0.6
        wait_until(lambda: not fake.open_connections)


def test_cancelling_a_task_closes_its_connection(fake):
    """Before the head, and in the middle of a stream."""

    async def main():
        transport = AsyncTransport(server_of(fake))
        for reply, stream in (
            (replace(Answer(), delay=5.0), False),
            (Answer(text="x" * 300, frame=10, drip=0.05), True),
        ):
            fake.script(reply)
            task = asyncio.create_task(transport.ask(call(stream=stream)))
            await asyncio.sleep(0.15)
            assert fake.open_connections == 1
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.sleep(0.1)
            assert fake.open_connections == 0
        assert transport.server.slots._free == transport.server.max_concurrency

    asyncio.run(main())


def test_leaving_a_stream_closes_its_connection(fake):
    """Whoever stops reading pays for no more."""
    slow = Answer(text="x" * 300, piece=1, frame=200, drip=0.02)
    fake.script(slow, slow)
    with closing(Transport(server_of(fake))) as transport:
        with closing(transport.exchange(call(stream=True))) as pieces:
            assert isinstance(next(pieces), ModelDelta)
        wait_until(lambda: not fake.open_connections)

    async def main():
        transport = AsyncTransport(server_of(fake))
        async with aclosing(transport.exchange(call(stream=True))) as pieces:
            assert isinstance(await anext(pieces), ModelDelta)
        await asyncio.sleep(0.1)
        assert fake.open_connections == 0

    asyncio.run(main())


def test_a_stream_that_fails_after_its_first_piece_is_not_sent_again(fake):
    """The pieces come out, then the error."""
    fake.script(Answer(text="x" * 50, frame=150, drip=0.02, error={"code": 502, "message": "x"}))
    with closing(Transport(server_of(fake))) as transport:
        pieces = transport.exchange(call(stream=True))
        assert isinstance(next(pieces), ModelDelta)
        with pytest.raises(gs.APIStatusError):
            list(pieces)
    assert len(fake.requests) == 1


def test_pieces_come_while_the_answer_is_written(fake):
    """The first one long before the last."""
    fake.script(Answer(text="abcdefgh", piece=1, frame=200, drip=0.03))
    with closing(Transport(server_of(fake))) as transport:
        seen = [(piece, time.monotonic()) for piece in transport.exchange(call(stream=True))]
    assert isinstance(seen[-1][0], Whole)
    assert seen[-1][1] - seen[0][1] > 0.1


def test_no_more_requests_at_once_than_allowed(fake):
    """Threads and tasks count together, and all are answered."""
    inside = most = 0
    lock = threading.Lock()

    def answer(request):
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        time.sleep(0.01)
        with lock:
            inside -= 1
        return "ok"

    fake._answer = answer
    server = server_of(fake, max_concurrency=3)
    transport, other = Transport(server), AsyncTransport(server)

    async def many():
        return await asyncio.gather(*(other.ask(call()) for _ in range(15)))

    with closing(transport), ThreadPoolExecutor(8) as pool:
        runs = [pool.submit(transport.ask, call()) for _ in range(15)]
        tasks = pool.submit(asyncio.run, many())
        texts = [run.result().text for run in runs] + [each.text for each in tasks.result()]
    assert texts == ["ok"] * 30
    assert most <= 3


def test_a_429_lets_everyone_wait(fake):
    """The second caller does not ask before the server's time is up."""
    fake.script(
        Failure(status=429, headers={"retry-after": "0.3"}), Answer(text="a"), Answer(text="b")
    )
    start = time.monotonic()
    with closing(Transport(server_of(fake))) as transport, ThreadPoolExecutor(2) as pool:
        first = pool.submit(transport.ask, call())
        wait_until(lambda: transport.server.pace.cooling() > 0)
        second = pool.submit(transport.ask, call())
        assert {first.result().text, second.result().text} == {"a", "b"}
    assert time.monotonic() - start >= 0.3
    assert len(fake.requests) == 3


def test_a_cool_down_beyond_the_deadline_is_told_at_once(fake):
    """Nothing is sent, and the error says how long."""
    server = server_of(fake)
    server.pace.cool_down(30)
    with closing(Transport(server)) as transport, pytest.raises(gs.RateLimitError) as caught:
        transport.ask(call(seconds=1))
    assert caught.value.retry_after == pytest.approx(30, abs=1)
    assert fake.requests == []


def test_a_rate_that_leaves_no_time_is_a_deadline_error(fake):
    """The burst is used up, and the next turn comes too late."""
    server = server_of(fake, requests_per_minute=2)
    with closing(Transport(server)) as transport:
        transport.ask(call())
        transport.ask(call())
        with pytest.raises(gs.DeadlineExceededError, match="rate"):
            transport.ask(call(seconds=1))
    assert len(fake.requests) == 2


def quote(budget):
    return Quote(budget=budget, prompt_tokens=10, max_tokens=10, pricing=Pricing(prompt=Decimal(1)))


def test_budgets_are_settled_however_a_request_ends(fake):
    """Refused: nothing. Unsent: nothing. Lost on the way: the bound. Answered: the real cost."""
    cases = [
        ((Failure(status=400),), Decimal(0), 1),
        ((Failure(status=503), Answer(text="x")), Decimal("0.001"), 2),
        ((Answer(text="x", cut=5), Answer(text="x")), Decimal("10.001"), 2),
    ]
    for replies, cost, requests in cases:
        for kind in ("sync", "async"):
            fake.script(*replies)
            budget = Budget(max_cost=1000)
            outcome = ask_once(server_of(fake), kind, call(quote=quote(budget)))
            assert budget.spent.cost == cost, outcome
            assert budget.spent.requests == requests
            assert budget.reserved.requests == 0
    budget = Budget(max_cost=1000)
    nobody = Server("http://127.0.0.1:9", retry=QUICK)
    with pytest.raises(gs.TransportError, match="ConnectError") as caught:
        Transport(nobody).ask(call(quote=quote(budget)))
    assert budget.spent.requests == 0
    assert caught.value.attempts == ()


def test_a_budget_stops_the_retries(fake):
    """The next request would pass it: the error says so, and nothing more is sent."""
    fake.script(Failure(status=503), Failure(status=503))
    budget = Budget(max_requests=1)
    with closing(Transport(server_of(fake))) as transport, pytest.raises(gs.BudgetExceededError):
        transport.ask(call(quote=quote(budget)))
    assert len(fake.requests) == 1


def test_streams_of_httpx_are_watched():
    """Httpx still lets its network backend be replaced; without this, drips outlive deadlines."""
    with sync_client("http://127.0.0.1:9/", 1) as client:
        assert type(client._transport._pool._network_backend).__name__ == "_WatchedBackend"
        assert isinstance(client._transport._pool._network_backend, httpcore.NetworkBackend)
        assert client.follow_redirects is False


def test_a_forked_process_opens_its_own_connections(fake, monkeypatch):
    """Sockets are not shared with a parent."""
    transport = Transport(server_of(fake))
    transport.ask(call())
    parents = transport._pooled[1]
    monkeypatch.setattr("os.getpid", lambda: -1)
    transport.ask(call())
    assert transport._pooled[1] is not parents
    transport.close()
    parents.close()


def test_addresses_and_keys_without_sense_are_refused():
    """At once, and without showing the key."""
    for url in ("", "ftp://x", "localhost:8000", "file:///etc/passwd"):
        with pytest.raises(gs.InputError, match="base_url"):
            Server(url)
    for key in ("sk-or-v1-x\nX-Evil: 1", "sk with spaces", "sk-or-ключ"):
        with pytest.raises(gs.InputError) as caught:
            secret_key(key)
        assert "sk" not in str(caught.value)
    assert secret_key(" sk-or-v1-x \n").get_secret_value() == "sk-or-v1-x"
    assert secret_key("") is None
    assert "secret" not in repr(Server("http://user:secret@localhost/v1"))


def test_an_error_in_a_thread_pool_keeps_the_slots(fake):
    """After many failures there are as many slots as before."""
    fake._answer = Failure(status=400)
    server = server_of(fake, max_concurrency=2)
    with closing(Transport(server)) as transport, ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(transport.ask, call()) for _ in range(20)]
        assert all(isinstance(run.exception(), gs.APIStatusError) for run in runs)
    assert server.slots._free == 2
