"""A server as both transports see it: its address, its limits, and what its failures mean."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeVar

import httpx
from pydantic import SecretStr

from gemma_structured.exceptions import (
    DeadlineExceededError,
    InputError,
    ModelError,
    RateLimitError,
    TransportError,
)
from gemma_structured.remote.limits import Pace, Slots
from gemma_structured.remote.network import Timeouts
from gemma_structured.remote.redact import scrub
from gemma_structured.remote.retry import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gemma_structured.exceptions import GemmaStructuredError
    from gemma_structured.remote.call import Call

__all__ = ["UNSENT", "Server", "secret_key"]

R = TypeVar("R")

UNSENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
"""After these the server has seen nothing of the request."""


class Server:
    """A server that is talked to over HTTP, with limits that all its callers share.

    Args:
        base_url: What paths are joined to, such as `https://openrouter.ai/api/v1`.
        key: Sent as a bearer token.
        headers: Sent with every request.
        timeouts: For single steps.
        retry: When a failed request is sent again.
        max_concurrency: Requests under way at once, in all threads and event loops.
        requests_per_minute: A rate that is kept to.
        max_response_bytes: A longer answer is refused.

    Raises:
        InputError: The base URL is no URL, or a limit makes no sense.
    """

    def __init__(
        self,
        base_url: str,
        *,
        key: SecretStr | None = None,
        headers: Mapping[str, str] | None = None,
        timeouts: Timeouts | None = None,
        retry: RetryPolicy | None = None,
        max_concurrency: int = 64,
        requests_per_minute: float | None = None,
        max_response_bytes: int = 32 * 1024 * 1024,
    ) -> None:
        _check_url(base_url)
        self.base_url = base_url.rstrip("/") + "/"
        self.key = key
        self.timeouts = timeouts or Timeouts()
        self.retry = retry or RetryPolicy()
        self.max_concurrency = max_concurrency
        self.max_response_bytes = max_response_bytes
        self.slots = Slots(max_concurrency)
        self.pace = Pace(requests_per_minute)
        self._headers = dict(headers or {})

    def __repr__(self) -> str:
        return f"Server({httpx.URL(self.base_url).host!r})"

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        url = httpx.URL(self.base_url)
        return url.host, url.port or (443 if url.scheme == "https" else 80)

    def request(self, client: httpx.Client | httpx.AsyncClient, call: Call[R]) -> httpx.Request:
        """The HTTP request of a call; only it ever holds the key in the clear.

        Raises:
            DeadlineExceededError: The call is out of time.
        """
        headers = {**self._headers, "Accept": "text/event-stream, application/json"}
        if call.body:
            headers["Content-Type"] = "application/json"
        if self.key is not None:
            headers["Authorization"] = f"Bearer {self.key.get_secret_value()}"
        return client.build_request(
            call.method,
            call.path,
            content=call.body or None,
            headers=headers,
            timeout=self.timeouts.within(call.deadline),
        )

    def pauses(self, call: Call[R]) -> Iterator[float]:
        """Seconds to wait before a request of a call may begin, until there are none.

        Raises:
            RateLimitError: The server asked for more patience than the call has.
            DeadlineExceededError: Its turn in the rate limit comes too late.
        """
        if pause := self.pace.delay():
            if pause >= call.deadline.remaining:
                raise DeadlineExceededError(
                    "The rate limit lets no request begin before the deadline.",
                    model_name=call.context.model_name,
                )
            yield pause
        while pause := self.pace.cooling():
            if pause >= min(call.deadline.remaining, self.retry.max_retry_after):
                raise RateLimitError(
                    f"The server asked to wait {pause:.1f} s more.",
                    status_code=429,
                    retry_after=pause,
                    retryable=True,
                    model_name=call.context.model_name,
                )
            yield pause

    def cooled(self, error: GemmaStructuredError) -> GemmaStructuredError:
        """Let every caller wait after a 429, as long as the server asks."""
        if isinstance(error, RateLimitError) and error.retryable:
            self.pace.cool_down(error.retry_after or 0.0)
        return error

    def translate(self, error: httpx.HTTPError, call: Call[R]) -> ModelError:
        """What a failure of httpx means; its own error would show the request, and so the key."""
        name = call.context.model_name
        if isinstance(error, httpx.TimeoutException):
            if call.deadline.remaining <= 0:
                return DeadlineExceededError(
                    "The deadline passed before the answer was complete.", model_name=name
                )
            return TransportError(
                f"The server was silent for too long ({type(error).__name__}).", model_name=name
            )
        key = self.key.get_secret_value() if self.key is not None else ""
        told = scrub(str(error), sent=call.context.sent, key=key)
        return TransportError(
            f"The connection failed ({type(error).__name__}: {told}).",
            hint="Look at the network and at `base_url`." if isinstance(error, UNSENT) else None,
            model_name=name,
        )


def _check_url(base_url: str) -> None:
    """Refuse what is no address of a server.

    Raises:
        InputError: It is none.
    """
    if not base_url.startswith(("http://", "https://")):
        raise InputError("base_url must begin with http:// or https://.")
    try:
        host = httpx.URL(base_url).raw_host.decode("ascii")
    except httpx.InvalidURL:
        host = ""
    if not re.fullmatch(r"[\w.:-]+", host):
        raise InputError("base_url names no host.")


def secret_key(key: str | SecretStr | None) -> SecretStr | None:
    """Hold a key so that no repr shows it.

    Raises:
        InputError: It cannot be sent in a header.
    """
    if not key:
        return None
    plain = (key.get_secret_value() if isinstance(key, SecretStr) else key).strip()
    if not plain.isascii() or not plain.isprintable() or " " in plain:
        raise InputError("The API key holds characters that a key cannot have.")
    return SecretStr(plain)
