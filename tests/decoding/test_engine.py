"""The engine: requests of many threads and event loops together; none waits or holds for ever."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from gemma_structured.decoding.engine import Engine
from gemma_structured.decoding.loop import DecodeLoop
from gemma_structured.decoding.prefix import PrefixStore
from gemma_structured.exceptions import (
    DeadlineExceededError,
    GenerationCancelledError,
    GrammarError,
    ModelBusyError,
    ModelError,
)
from gemma_structured.grammar.spec import Grammar
from gemma_structured.testing.random_session import RandomSession
from gemma_structured.types import Cancellation, Deadline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gemma_structured.decoding.sequence import TokenSequence

    Make = Callable[..., TokenSequence]

WORD = Grammar.regex("[a-z]{8}")
ENDLESS = Grammar.regex("[a-z]{5000}")
PATIENCE = 20.0


def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so; fail if it does not come to be."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it did not come to be"
        time.sleep(0.002)


class Gate:
    """Stops forwards while it is shut, and counts those that wait there."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self._open.set()
        self.arrived = threading.Event()

    def __call__(self, _: object) -> None:
        self.arrived.set()
        assert self._open.wait(PATIENCE)

    def shut(self) -> None:
        self.arrived.clear()
        self._open.clear()

    def let_through(self) -> None:
        self._open.set()


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.let_through()


@pytest.fixture
def session(gate: Gate) -> RandomSession:
    return RandomSession(261, before_forward=gate)


@pytest.fixture
def engine_for(session: RandomSession) -> Iterator[Callable[..., Engine]]:
    """Makes engines on the session; whatever happens, each ends idle and with no row open."""
    made: list[Engine] = []

    def make(**options: Any) -> Engine:
        options = {"max_batch_size": 4, "has_room": lambda *_: True, **options}
        engine = Engine(DecodeLoop(session, PrefixStore(0)), **options)
        made.append(engine)
        return engine

    yield make
    for engine in made:
        until(lambda engine=engine: engine._worker is None)
    assert session.open_rows == 0


@pytest.fixture
def engine(engine_for: Callable[..., Engine]) -> Engine:
    return engine_for()


def answer(engine: Engine, sequence: TokenSequence) -> str:
    return "".join(engine.stream(sequence))


async def aanswer(engine: Engine, sequence: TokenSequence) -> str:
    return "".join([piece async for piece in engine.astream(sequence)])


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


def test_pieces_add_up_to_the_answer(engine: Engine, sequence_for: Make) -> None:
    """They come one by one, and the sequence has the whole."""
    sequence = sequence_for(WORD)
    pieces = list(engine.stream(sequence))
    assert len(pieces) > 5
    assert "".join(pieces) == sequence.text
    assert sequence.finish_reason == "stop"


def test_an_answer_that_is_forced_needs_no_forward(
    engine: Engine, sequence_for: Make, session: RandomSession
) -> None:
    """It is delivered all the same."""
    assert answer(engine, sequence_for(Grammar.choice(["only this"]))) == "only this"
    assert session.forwards == []


def test_no_thread_is_left_when_idle(engine: Engine, sequence_for: Make) -> None:
    """The worker lives while there is work, and another begins with the next request."""
    for _ in range(3):
        answer(engine, sequence_for(WORD))
        until(lambda: "gemma-structured-engine" not in threads())


def test_many_threads_are_decoded_together(
    engine_for: Callable[..., Engine], sequence_for: Make, session: RandomSession, gate: Gate
) -> None:
    """As many rows as may be, none more; every answer is what it is alone."""
    engine = engine_for(max_batch_size=4)
    expected = [answer(engine, sequence_for(WORD, f"{i}")) for i in range(12)]
    gate.shut()
    with ThreadPoolExecutor(12) as pool:
        futures = [pool.submit(answer, engine, sequence_for(WORD, f"{i}")) for i in range(12)]
        until(lambda: len(engine._waiting) + len(engine._active) == 12)
        gate.let_through()
        assert [future.result(PATIENCE) for future in futures] == expected
    assert max(map(len, session.forwards)) == 4


def test_several_event_loops_share_an_engine(engine: Engine, sequence_for: Make) -> None:
    """Each in a thread of its own, several tasks in each."""
    expected = [answer(engine, sequence_for(WORD, f"{i}")) for i in range(4)]

    async def several() -> list[str]:
        return await asyncio.gather(
            *(aanswer(engine, sequence_for(WORD, f"{i}")) for i in range(4))
        )

    with ThreadPoolExecutor(3) as pool:
        futures = [pool.submit(asyncio.run, several()) for _ in range(3)]
        assert [future.result(PATIENCE) for future in futures] == [expected] * 3


def test_a_late_short_request_does_not_wait_for_a_long_one(
    engine: Engine, sequence_for: Make
) -> None:
    """It joins, ends and is gone while the long one still runs."""
    long = sequence_for(ENDLESS, max_tokens=100_000)
    pieces = engine.stream(long)
    next(pieces)
    answer(engine, sequence_for(WORD))
    assert not long.finished
    pieces.close()


def test_a_long_prompt_does_not_stall_those_who_answer(
    engine_for: Callable[..., Engine], sequence_for: Make, session: RandomSession
) -> None:
    """With each chunk of it the others make a step."""
    engine = engine_for()
    pieces = engine.stream(sequence_for(ENDLESS, max_tokens=100_000))
    next(pieces)
    answer(engine, sequence_for(Grammar.regex("[ab]"), "x" * 5000))
    pieces.close()
    widths = [max(map(len, forward.values())) for forward in session.forwards]
    chunks = [i for i, width in enumerate(widths) if width > 100]
    assert len(chunks) == 10
    for forward in (session.forwards[i] for i in chunks):
        short = [len(tokens) for tokens in forward.values() if len(tokens) <= 100]
        assert short == [1]


def test_prompts_are_read_together(
    engine_for: Callable[..., Engine], sequence_for: Make, session: RandomSession, gate: Gate
) -> None:
    """As many as a chunk of 512 tokens holds, in order, beside those who answer."""
    engine = engine_for(max_batch_size=8)
    pieces = engine.stream(sequence_for(ENDLESS, max_tokens=100_000))
    next(pieces)
    gate.shut()
    assert gate.arrived.wait(PATIENCE)
    lengths = [100, 200, 150, 300, 200]
    with ThreadPoolExecutor(5) as pool:
        futures = []
        for waiting, length in enumerate(lengths):
            until(lambda waiting=waiting: len(engine._waiting) == waiting)
            futures.append(
                pool.submit(answer, engine, sequence_for(Grammar.regex("[ab]"), "x" * length))
            )
        until(lambda: len(engine._waiting) == len(lengths))
        gate.let_through()
        for future in futures:
            future.result(PATIENCE)
    pieces.close()
    read = [sorted(map(len, forward.values())) for forward in session.forwards]
    assert [counts for counts in read if counts[-1] > 10] == [[1, 100, 150, 200], [1, 200, 300]]


def test_requests_are_admitted_in_order(
    engine_for: Callable[..., Engine], sequence_for: Make, gate: Gate
) -> None:
    """First come, first served, where one at a time has room."""
    engine = engine_for(has_room=lambda *_: False)
    sequences = [sequence_for(WORD, f"{number}") for number in range(4)]
    gate.shut()
    workers = []
    for number, sequence in enumerate(sequences):
        workers.append(threading.Thread(target=answer, args=(engine, sequence)))
        workers[-1].start()
        until(lambda n=number: len(engine._waiting) + len(engine._active) == n + 1)
    gate.let_through()
    for worker in workers:
        worker.join(PATIENCE)
    ends = [sequence._ended for sequence in sequences]  # the threads may wake in another order
    assert None not in ends
    done = sorted(range(4), key=ends.__getitem__)
    assert done == [0, 1, 2, 3]


def test_memory_limits_how_many_run(
    engine_for: Callable[..., Engine], sequence_for: Make, session: RandomSession
) -> None:
    """One alone always runs; others as the cache has room for them."""
    engine = engine_for(has_room=lambda _, running: len(running) < 2)
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda i: answer(engine, sequence_for(WORD, f"{i}")), range(6)))
    assert max(map(len, session.forwards)) <= 2


def test_small_requests_do_not_overtake_a_large_one_for_ever(
    engine_for: Callable[..., Engine], sequence_for: Make, gate: Gate
) -> None:
    """One for which the memory is too small beside others has its turn before those after it."""

    def has_room(newcomer: TokenSequence, running: list[TokenSequence]) -> bool:
        return sum(s.max_length for s in (newcomer, *running)) <= 1000

    engine = engine_for(has_room=has_room)
    limits = {"a": 400, "b": 400, "large": 900, "c": 400, "d": 400}
    sequences = {name: sequence_for(WORD, name, max_tokens=most) for name, most in limits.items()}
    gate.shut()
    workers: list[threading.Thread] = []
    for sequence in sequences.values():
        workers.append(threading.Thread(target=answer, args=(engine, sequence)))
        workers[-1].start()
        until(lambda: len(engine._waiting) + len(engine._active) == len(workers))
    gate.let_through()
    for worker in workers:
        worker.join(PATIENCE)
    ended = sorted(sequences, key=lambda name: sequences[name]._ended or 0.0)
    assert ended.index("large") == 2


def test_every_row_moves_at_every_step(
    engine: Engine, sequence_for: Make, session: RandomSession
) -> None:
    """However many answer, none is passed over."""
    sequences = [sequence_for(ENDLESS, f"{i}", max_tokens=100_000) for i in range(4)]
    streams = [engine.stream(sequence) for sequence in sequences]
    for pieces in streams:
        next(pieces)
    start = len(session.forwards)
    until(lambda: len(session.forwards) >= start + 50)
    rows = set(session.rows)
    assert len(rows) == 4
    assert all(set(forward) == rows for forward in session.forwards[start + 1 : start + 50])
    for pieces in streams:
        pieces.close()


def test_too_many_waiting_are_refused(
    engine_for: Callable[..., Engine], sequence_for: Make, gate: Gate
) -> None:
    """The error says how many run and wait; those who wait are served."""
    engine = engine_for(max_batch_size=1, max_waiting=1)
    gate.shut()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(answer, engine, sequence_for(WORD))
        assert gate.arrived.wait(PATIENCE)
        second = pool.submit(answer, engine, sequence_for(WORD))
        until(lambda: len(engine._waiting) == 1)
        with pytest.raises(ModelBusyError, match="1 requests run and 1 wait"):
            answer(engine, sequence_for(WORD))
        gate.let_through()
        assert first.result(PATIENCE) == second.result(PATIENCE)


def test_none_may_wait_and_some_may_run(
    engine_for: Callable[..., Engine], sequence_for: Make, gate: Gate
) -> None:
    """With no waiting room, there is still room for a batch."""
    engine = engine_for(max_batch_size=2, max_waiting=0)
    gate.shut()
    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(answer, engine, sequence_for(WORD)) for _ in range(2)]
        until(lambda: len(engine._waiting) + len(engine._active) == 2)
        with pytest.raises(ModelBusyError):
            answer(engine, sequence_for(WORD))
        gate.let_through()
        assert running[0].result(PATIENCE) == running[1].result(PATIENCE)


def test_closing_early_frees_the_row(
    engine: Engine, sequence_for: Make, session: RandomSession
) -> None:
    """Soon after, without anyone asking again."""
    pieces = engine.stream(sequence_for(ENDLESS, max_tokens=100_000))
    next(pieces)
    assert session.open_rows == 1
    pieces.close()
    until(lambda: session.open_rows == 0)


def test_a_stream_that_is_never_read_asks_for_nothing(engine: Engine, sequence_for: Make) -> None:
    """Work begins with the first piece that is asked for."""
    engine.stream(sequence_for(ENDLESS)).close()
    assert not engine._waiting
    assert engine._worker is None


@pytest.mark.parametrize("waits", [False, True])
def test_deadlines_hold_between_steps(
    waits: bool, engine_for: Callable[..., Engine], sequence_for: Make, session: RandomSession
) -> None:
    """While a request runs, and while it waits for another to end."""
    session.before_forward = lambda _: time.sleep(0.002)
    engine = engine_for(max_batch_size=1)
    other = engine.stream(sequence_for(ENDLESS, max_tokens=100_000))
    if waits:
        next(other)
    started = time.monotonic()
    late = sequence_for(ENDLESS, max_tokens=100_000, deadline=Deadline.after(0.1))
    with pytest.raises(DeadlineExceededError):
        answer(engine, late)
    assert 0.1 <= time.monotonic() - started < 5
    assert (late.forward_passes == 0) == waits
    other.close()


@pytest.mark.parametrize("waits", [False, True])
def test_a_cancellation_holds_between_steps(
    waits: bool, engine_for: Callable[..., Engine], sequence_for: Make
) -> None:
    """From another thread, while a request runs and while it waits."""
    engine = engine_for(max_batch_size=1)
    other = engine.stream(sequence_for(ENDLESS, max_tokens=100_000))
    if waits:
        next(other)
    cancellation = Cancellation()
    sequence = sequence_for(ENDLESS, max_tokens=100_000, cancellation=cancellation)
    timer = threading.Timer(0.05, cancellation.cancel)
    timer.start()
    with pytest.raises(GenerationCancelledError):
        answer(engine, sequence)
    timer.join()
    other.close()


def test_cancelling_a_task_frees_its_row(
    engine: Engine, sequence_for: Make, session: RandomSession
) -> None:
    """The event loop goes on, and so do other tasks of it."""

    async def scenario() -> str:
        task = asyncio.create_task(aanswer(engine, sequence_for(ENDLESS, max_tokens=100_000)))
        other = asyncio.create_task(aanswer(engine, sequence_for(WORD)))
        while not session.forwards:  # noqa: ASYNC110 (a fake session has no event)
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return await other

    assert len(asyncio.run(scenario())) == 8
    until(lambda: session.open_rows == 0)


def test_an_event_loop_that_has_ended_harms_nobody(
    engine: Engine, sequence_for: Make, session: RandomSession, gate: Gate
) -> None:
    """Its request ends; those of other threads go on."""

    async def leave() -> None:
        pieces = engine.astream(sequence_for(ENDLESS, max_tokens=100_000))
        await anext(pieces)
        gate.shut()
        await pieces.aclose()

    asyncio.run(leave())
    gate.let_through()
    assert len(answer(engine, sequence_for(WORD))) == 8


def test_a_failing_request_fails_alone(
    engine: Engine, sequence_for: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its error reaches the one who asked, and nobody else."""
    good, bad = sequence_for(WORD, "a"), sequence_for(WORD, "b")
    error = GrammarError("no token continues")

    def fail() -> None:
        raise error

    monkeypatch.setattr(bad, "allowed_ids", fail)
    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(answer, engine, sequence) for sequence in (good, bad)]
        assert len(futures[0].result(PATIENCE)) == 8
        assert futures[1].exception(PATIENCE) is error


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (RuntimeError("shape mismatch"), "Decoding failed: RuntimeError: shape mismatch"),
        (MemoryError(), "ran out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "ran out of memory"),
    ],
)
def test_a_failing_forward_is_a_model_error(
    error: Exception, message: str, engine: Engine, sequence_for: Make, session: RandomSession
) -> None:
    """It says what happened, keeps the cause, and the engine serves the next request."""

    def fail(_: object) -> None:
        session.before_forward = None
        raise error

    session.before_forward = fail
    with pytest.raises(ModelError, match=message) as caught:
        answer(engine, sequence_for(WORD))
    assert caught.value.__cause__ is error
    assert len(answer(engine, sequence_for(WORD))) == 8


def test_a_broken_worker_leaves_nobody_waiting(
    engine: Engine, sequence_for: Make, session: RandomSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where even closing a row fails, all who wait are told, and the next request is served."""
    close = session.close

    def fail(row: Any) -> None:
        monkeypatch.setattr(session, "close", close)
        raise OSError("gone")

    monkeypatch.setattr(session, "close", fail)
    with ThreadPoolExecutor(2) as pool:
        long = pool.submit(answer, engine, sequence_for(ENDLESS, max_tokens=100_000))
        until(lambda: bool(session.forwards))
        short = pool.submit(answer, engine, sequence_for(WORD))
        assert isinstance(long.exception(PATIENCE), ModelError)
        short.exception(PATIENCE)
    assert len(answer(engine, sequence_for(WORD))) == 8


def test_a_row_that_cannot_be_opened_fails_its_request(
    engine: Engine, sequence_for: Make, session: RandomSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request ends with the error, and the next one is served."""

    def fail(_: object) -> None:
        monkeypatch.undo()
        raise MemoryError

    monkeypatch.setattr(session, "open", fail)
    with pytest.raises(ModelError, match="memory"):
        answer(engine, sequence_for(WORD))
    assert len(answer(engine, sequence_for(WORD))) == 8


def test_shutting_down_ends_everything(
    engine_for: Callable[..., Engine], sequence_for: Make
) -> None:
    """Those who run and those who wait are told; the engine can be used again."""
    engine = engine_for(max_batch_size=1)
    with ThreadPoolExecutor(2) as pool:
        futures = [
            pool.submit(answer, engine, sequence_for(ENDLESS, max_tokens=100_000)) for _ in range(2)
        ]
        until(lambda: len(engine._active) + len(engine._waiting) == 2)
        engine.shutdown()
        for future in futures:
            assert isinstance(future.exception(PATIENCE), GenerationCancelledError)
    engine.shutdown()
    assert len(answer(engine, sequence_for(WORD))) == 8


def test_nothing_is_kept_of_what_has_ended(engine: Engine, sequence_for: Make) -> None:
    """Neither the sequence nor the engine lives on in the engine's records."""
    sequence = sequence_for(WORD)
    answer(engine, sequence)
    gone = weakref.ref(sequence)
    del sequence
    until(lambda: engine._worker is None)
    gc.collect()
    assert gone() is None


SLOW_TO_END = """
import atexit, threading, time
from contextlib import contextmanager

def tell():  # the first that is registered is the last to run
    print(*[each.name for each in threading.enumerate() if each.name.startswith("gemma")], "end")

atexit.register(tell)

import gemma_structured as gs
from gemma_structured.decoding.free_memory import FreeMemory
from gemma_structured.testing import tiny_models

@contextmanager
def in_use(memory):
    yield
    time.sleep(1)

FreeMemory.in_use = in_use
model = gs.LocalModel.from_transformers(*tiny_models.build("mixtral"))
print(model.generate("Is it?", gs.Choice(["yes"])).output)
"""


def test_no_worker_runs_into_the_end_of_the_interpreter() -> None:
    """Though it has no work any more: freeing a model then would abort the process."""
    ran = subprocess.run(
        [sys.executable, "-c", SLOW_TO_END], capture_output=True, text=True, check=True, timeout=120
    )
    assert ran.stdout.split() == ["yes", "end"]
