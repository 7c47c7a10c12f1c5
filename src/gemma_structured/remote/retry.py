"""When a failed request is sent again, and after how long: a policy, without I/O.

Full jitter (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/), never
before the server's `Retry-After`, and not at all where that would pass the deadline.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

import tenacity

from gemma_structured.exceptions import APIStatusError, InputError, TransportError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemma_structured.types import Deadline

__all__ = ["RetryPolicy", "Strategy", "is_retryable"]

_logger = logging.getLogger("gemma_structured")


class Strategy(TypedDict):
    """What `tenacity.Retrying` and `tenacity.AsyncRetrying` are told alike."""

    retry: tenacity.retry_if_exception
    wait: Callable[[tenacity.RetryCallState], float]
    stop: Callable[[tenacity.RetryCallState], bool]
    before_sleep: Callable[[tenacity.RetryCallState], None]
    reraise: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and how patiently a request is sent again.

    Attributes:
        max_retries: How often after the first time.
        first_delay: The most seconds before the first retry; the limit doubles with each.
        max_delay: Where the doubling ends.
        max_retry_after: A server that asks for more patience than this is not asked again.
    """

    max_retries: int = 2
    first_delay: float = 0.5
    max_delay: float = 8.0
    max_retry_after: float = 120.0

    def __post_init__(self) -> None:
        """Refuse what means nothing."""
        if self.max_retries < 0 or min(self.first_delay, self.max_delay, self.max_retry_after) < 0:
            raise InputError("The numbers of a RetryPolicy must not be negative.")

    def strategy(self, deadline: Deadline) -> Strategy:
        """The policy for a call that must end by a deadline."""
        jitter = tenacity.wait_random_exponential(multiplier=self.first_delay, max=self.max_delay)

        def wait(state: tenacity.RetryCallState) -> float:
            asked = getattr(_error(state), "retry_after", None)
            return max(jitter(state), asked or 0.0)

        def stop(state: tenacity.RetryCallState) -> bool:
            pause = state.upcoming_sleep
            return (
                state.attempt_number > self.max_retries
                or pause > self.max_retry_after
                or pause >= deadline.remaining
            )

        return Strategy(
            retry=tenacity.retry_if_exception(is_retryable),
            wait=wait,
            stop=stop,
            before_sleep=_log,
            reraise=True,
        )


def is_retryable(error: BaseException) -> bool:
    """Whether the same request may succeed later."""
    return isinstance(error, APIStatusError | TransportError) and error.retryable


def _error(state: tenacity.RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome is not None else None


def _log(state: tenacity.RetryCallState) -> None:
    error = _error(state)
    status = getattr(error, "status_code", None)
    _logger.info(
        "Request failed (%s%s); retry %d in %.2f s",
        type(error).__name__,
        f" {status}" if status else "",
        state.attempt_number,
        state.upcoming_sleep,
    )
