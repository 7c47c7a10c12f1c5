"""Whether and when a request is sent again."""

from __future__ import annotations

import pytest
import tenacity
from hypothesis import given
from hypothesis import strategies as st

import gemma_structured as gs
from gemma_structured.remote.retry import RetryPolicy, is_retryable
from gemma_structured.types import Deadline

PASSING = gs.APIStatusError("x", status_code=503, retryable=True)


def pauses(policy, errors, deadline=None):
    """What a run of failures waits, and what it ends with."""
    slept = []
    errors = iter(errors)

    def fail():
        raise next(errors)

    retrying = tenacity.Retrying(sleep=slept.append, **policy.strategy(deadline or Deadline()))
    with pytest.raises(gs.ModelError) as caught:
        retrying(fail)
    return slept, caught.value


@given(retries=st.integers(0, 6))
def test_pauses_are_full_jitter_below_a_doubling_limit(retries):
    """Each pause lies between nothing and the limit; the last error comes out as it is."""
    policy = RetryPolicy(max_retries=retries, first_delay=0.5, max_delay=3.0)
    slept, error = pauses(policy, [PASSING] * (retries + 1))
    assert len(slept) == retries
    assert all(0 <= pause <= min(3.0, 0.5 * 2**n) for n, pause in enumerate(slept))
    assert error is PASSING


def test_retry_after_is_the_least_pause():
    """The server's wish is kept, whatever the jitter says."""
    asked = gs.RateLimitError("x", status_code=429, retryable=True, retry_after=7.5)
    slept, _ = pauses(RetryPolicy(max_retries=1, first_delay=0.01), [asked, asked])
    assert slept == [7.5]


def test_what_would_pass_the_deadline_is_not_tried():
    """The error itself comes out at once, not a deadline error after a wait."""
    asked = gs.RateLimitError("x", status_code=429, retryable=True, retry_after=7.5)
    slept, error = pauses(RetryPolicy(), [asked], Deadline.after(5))
    assert (slept, error) == ([], asked)


def test_too_much_patience_is_not_had():
    """A server that asks for minutes is not asked again."""
    asked = gs.RateLimitError("x", status_code=429, retryable=True, retry_after=500)
    assert pauses(RetryPolicy(max_retry_after=120), [asked])[0] == []


@pytest.mark.parametrize(
    "error",
    [gs.APIStatusError("x", status_code=400), gs.TransportError("x", retryable=False),
     gs.RefusalError("x"), gs.DeadlineExceededError("x"), gs.BudgetExceededError("x")],
)  # fmt: skip
def test_what_will_not_pass_is_not_tried_again(error):
    """One request, one error."""
    assert not is_retryable(error)
    assert pauses(RetryPolicy(), [error]) == ([], error)


def test_a_retry_is_logged_without_its_message(caplog):
    """The log has the kind, the status and the pause."""
    caplog.set_level("INFO")
    secret = gs.APIStatusError("sk-or-v1-secret", status_code=503, retryable=True)
    pauses(RetryPolicy(max_retries=1, first_delay=0), [secret, secret])
    assert "APIStatusError 503" in caplog.text
    assert "secret" not in caplog.text
    assert {record.name for record in caplog.records} == {"gemma_structured"}


@pytest.mark.parametrize("name", ["max_retries", "first_delay", "max_delay", "max_retry_after"])
def test_negative_numbers_are_refused(name):
    """They are an `InputError`."""
    with pytest.raises(gs.InputError):
        RetryPolicy(**{name: -1})
