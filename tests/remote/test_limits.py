"""Slots and pace: shared by threads and event loops, and never lost."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import gemma_structured as gs
from gemma_structured.remote.limits import Pace, Slots
from gemma_structured.types import Cancellation, Deadline


class Counter:
    """Counts how many are inside at once."""

    def __init__(self):
        self.now = self.most = self.total = 0
        self.lock = threading.Lock()

    def __enter__(self):
        with self.lock:
            self.now += 1
            self.total += 1
            self.most = max(self.most, self.now)

    def __exit__(self, *_):
        with self.lock:
            self.now -= 1


def test_threads_and_loops_share_the_slots():
    """Never more than the size at once, whoever they are; everyone gets a turn."""
    slots, counter = Slots(3), Counter()

    def blocking():
        for _ in range(20):
            with slots.take(Deadline(), Cancellation()), counter:
                time.sleep(0.0005)

    async def one():
        async with slots.atake(Deadline(), Cancellation()):
            with counter:
                await asyncio.sleep(0.0005)

    async def many():
        await asyncio.gather(*(one() for _ in range(40)))

    with ThreadPoolExecutor(6) as pool:
        runs = [pool.submit(blocking) for _ in range(4)] + [
            pool.submit(asyncio.run, many()) for _ in range(2)
        ]
        for each in runs:
            each.result()
    assert counter.most == 3
    assert counter.total == 160
    assert slots._free == 3


def test_a_deadline_and_a_cancellation_end_the_waiting():
    """Waiting in vain leaves no trace: the slot is free afterwards."""
    slots = Slots(1)
    cancelled = Cancellation()
    cancelled.cancel()
    with slots.take(Deadline(), Cancellation()):
        with (
            pytest.raises(gs.DeadlineExceededError),
            slots.take(Deadline.after(0.05), Cancellation()),
        ):
            pass
        with pytest.raises(gs.GenerationCancelledError), slots.take(Deadline(), cancelled):
            pass

        async def wait():
            async with slots.atake(Deadline.after(0.05), Cancellation()):
                pass

        with pytest.raises(gs.DeadlineExceededError):
            asyncio.run(wait())
    assert slots._free == 1
    assert not slots._waiting


def test_cancelled_tasks_give_their_place_up():
    """Those behind them in the queue come through."""
    slots = Slots(1)

    async def hold(seconds):
        async with slots.atake(Deadline(), Cancellation()):
            await asyncio.sleep(seconds)
            return True

    async def main():
        first = asyncio.create_task(hold(0.05))
        await asyncio.sleep(0)
        waiting = [asyncio.create_task(hold(0)) for _ in range(10)]
        await asyncio.sleep(0.01)
        for task in waiting[:9]:
            task.cancel()
        assert await waiting[9]
        assert await first
        first = asyncio.create_task(hold(10))
        await asyncio.sleep(0.01)
        first.cancel()
        assert await asyncio.wait_for(hold(0), 1)

    asyncio.run(main())
    assert slots._free == 1


def test_the_rate_allows_a_burst_and_then_spreads():
    """A burst of a minute's worth passes at once; the next is an interval later."""
    pace = Pace(requests_per_minute=60)
    delays = [pace.delay() for _ in range(63)]
    assert max(delays[:60]) == 0
    assert delays[60:] == pytest.approx([1, 2, 3], abs=0.1)
    slow = Pace(requests_per_minute=0.5)
    assert slow.delay() == 0
    assert slow.delay() == pytest.approx(120, abs=0.1)
    assert Pace().delay() == 0


def test_a_cool_down_is_shared_and_never_shortened():
    """The longest one counts."""
    pace = Pace()
    assert pace.cooling() == 0
    pace.cool_down(1.0)
    pace.cool_down(0.1)
    assert 0.8 < pace.cooling() <= 1.0


@pytest.mark.parametrize("bad", [0, -1, float("nan")])
def test_limits_without_sense_are_refused(bad):
    """They are an `InputError`."""
    with pytest.raises(gs.InputError):
        Pace(requests_per_minute=bad)
    if bad in {0, -1}:
        with pytest.raises(gs.InputError):
            Slots(bad)
