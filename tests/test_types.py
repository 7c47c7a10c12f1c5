"""The records between rooms: what they refuse, how they add up, and how long they wait."""

from __future__ import annotations

import dataclasses
import threading
import time
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gemma_structured.types as records
from gemma_structured.exceptions import (
    DeadlineExceededError,
    GenerationCancelledError,
    InputError,
)
from gemma_structured.types import (
    Cancellation,
    Deadline,
    Issue,
    Report,
    SamplingParams,
    Usage,
    pointer,
)

USAGES = st.builds(
    Usage,
    prompt_tokens=st.integers(0, 9),
    cached_tokens=st.integers(0, 9),
    sampled_tokens=st.integers(0, 9),
    forced_tokens=st.integers(0, 9),
    requests=st.integers(0, 9),
    cost=st.none() | st.decimals(0, 5, places=4),
    seconds_to_first_token=st.none() | st.integers(0, 9).map(float),
    seconds=st.integers(0, 9).map(float),
)


@given(USAGES, USAGES, USAGES)
def test_usages_add_up(a: Usage, b: Usage, c: Usage) -> None:
    """In any grouping; nothing spent is the neutral element."""
    assert (a + b) + c == a + (b + c)
    assert a + Usage() == Usage() + a == a


def test_an_unknown_cost_stays_unknown() -> None:
    """Where nobody said a price there is none; where one did, that is the sum."""
    assert (Usage() + Usage()).cost is None
    assert (Usage() + Usage(cost=Decimal("0.1"))).cost == Decimal("0.1")


def test_the_time_to_the_first_token_is_the_first_attempt_s() -> None:
    """Or that of the first attempt which had one."""
    assert (
        Usage(seconds_to_first_token=1.0) + Usage(seconds_to_first_token=9.0)
    ).seconds_to_first_token == 1.0
    assert (Usage() + Usage(seconds_to_first_token=9.0)).seconds_to_first_token == 9.0


def test_every_number_of_a_usage_is_added() -> None:
    """A field that is added to the class is summed too."""
    names = [f.name for f in dataclasses.fields(Usage) if f.type in ("int", "float")]
    one = Usage(**dict.fromkeys(names, 2))
    assert all(getattr(one + one, name) == 4 for name in names)
    assert one.total_tokens == one.prompt_tokens + one.sampled_tokens + one.forced_tokens


@pytest.mark.parametrize(
    ("path", "expected"),
    [((), ""), (("a", 0, "b"), "/a/0/b"), (("a/b", "~c", ""), "/a~1b/~0c/")],
)
def test_paths_are_json_pointers(path: tuple[str | int, ...], expected: str) -> None:
    """Slashes and tildes in keys are escaped (RFC 6901)."""
    assert pointer(path) == Issue(path=path, message="m").pointer == expected


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": -0.1},
        {"temperature": float("nan")},
        {"temperature": float("inf")},
        {"top_k": 0},
        {"top_p": 0.0},
        {"top_p": 1.01},
        {"top_p": float("nan")},
        {"min_p": -0.1},
        {"min_p": float("nan")},
    ],
)
def test_sampling_that_means_nothing_is_refused(options: dict[str, float]) -> None:
    """The error names the option and its value."""
    (name,) = options
    with pytest.raises(InputError, match=f"{name} must be"):
        SamplingParams(**options)  # type: ignore[arg-type]


def test_a_deadline_passes() -> None:
    """There is none unless it is set; zero seconds are over at once."""
    Deadline().check()
    Deadline.after(None).check()
    assert Deadline().remaining == float("inf")
    assert 99 < Deadline.after(100).remaining <= 100
    with pytest.raises(DeadlineExceededError, match="timeout"):
        Deadline.after(0).check()
    for seconds in (-1, float("nan")):
        with pytest.raises(InputError, match="number of seconds"):
            Deadline.after(seconds)


def test_a_deadline_is_a_timeout_error() -> None:
    """So that it can be caught as Python's own."""
    with pytest.raises(TimeoutError):
        Deadline(time.monotonic() - 1).check()


def test_a_cancellation_wakes_those_who_wait() -> None:
    """From another thread, and it stays."""
    cancellation = Cancellation()
    cancellation.check()
    assert not cancellation.wait(0)
    threading.Timer(0.02, cancellation.cancel).start()
    assert cancellation.wait(20)
    assert cancellation.cancelled
    with pytest.raises(GenerationCancelledError):
        cancellation.check()


def test_a_report_is_exact_without_a_residual() -> None:
    """Bounds that were put in do not count."""
    assert Report(bounds=(("/a", "maxLength", 9),)).exact
    assert not Report(residual=(("/a", "not"),)).exact


def test_records_cannot_be_changed() -> None:
    """All of them are frozen and have slots."""
    kinds = [
        kind for name in records.__all__ if dataclasses.is_dataclass(kind := getattr(records, name))
    ]
    assert len(kinds) > 8
    for kind in kinds:
        assert kind.__dataclass_params__.frozen
        assert "__slots__" in vars(kind)
