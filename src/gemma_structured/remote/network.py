"""httpx clients that keep to a total deadline, however slowly bytes drip.

httpx's own timeouts are per read, so a byte now and then outlives them all. In async code a timeout
around each step is enough. A blocking read needs help from below: the streams here wait in short
slices and look at the deadline and at the cancellation flag in between.
"""

from __future__ import annotations

import functools
import math
import time
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import httpcore
import httpx

from gemma_structured.exceptions import DeadlineExceededError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Generator, Iterable

    from gemma_structured.types import Cancellation, Deadline

__all__ = ["Timeouts", "async_client", "sync_client", "watching"]

_SLICE: Final = 0.1
"""Seconds that a blocking read waits before it looks around."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Seconds that single steps may take; a call's deadline limits them all together.

    Attributes:
        connect: To open a connection, TLS included.
        read: Between two pieces of an answer, and before the first.
        write: To send a piece of the request.
    """

    connect: float = 5.0
    read: float = 120.0
    write: float = 30.0

    def within(self, deadline: Deadline) -> httpx.Timeout:
        """The timeouts of a request that must end by a deadline.

        Raises:
            DeadlineExceededError: It has passed.
        """
        deadline.check()
        left = deadline.remaining
        return httpx.Timeout(
            connect=min(self.connect, left),
            read=min(self.read, left),
            write=min(self.write, left),
            pool=left if math.isfinite(left) else None,
        )


@dataclass(frozen=True, slots=True)
class _Watch:
    deadline: Deadline
    cancellation: Cancellation

    def check(self) -> None:
        self.cancellation.check()
        self.deadline.check()


_watch: ContextVar[_Watch | None] = ContextVar("_watch", default=None)


@contextmanager
def watching(deadline: Deadline, cancellation: Cancellation) -> Generator[None]:
    """Let blocking reads and writes inside end by a deadline, or when they are cancelled.

    They raise `DeadlineExceededError` and `GenerationCancelledError`.
    """
    token = _watch.set(_Watch(deadline, cancellation))
    try:
        yield
    finally:
        _watch.reset(token)


class _WatchedStream(httpcore.NetworkStream):
    """A stream whose reads look at the watch of the call that they are for."""

    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        watch = _watch.get()
        if watch is None:
            return self._inner.read(max_bytes, timeout)
        end = math.inf if timeout is None else time.monotonic() + timeout
        while True:
            left = min(end - time.monotonic(), watch.deadline.remaining, _SLICE)
            try:
                return self._inner.read(max_bytes, max(left, 0.001))
            except httpcore.ReadTimeout:
                watch.check()
                if time.monotonic() >= end:
                    raise

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, _limited(timeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        return _WatchedStream(
            self._inner.start_tls(ssl_context, server_hostname, _limited(timeout))
        )

    def get_extra_info(self, info: str) -> object:
        return self._inner.get_extra_info(info)


class _WatchedBackend(httpcore.NetworkBackend):
    """Opens watched streams."""

    def __init__(self, inner: httpcore.NetworkBackend) -> None:
        self._inner = inner

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        return _WatchedStream(
            self._inner.connect_tcp(host, port, _limited(timeout), local_address, socket_options)
        )

    def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        return _WatchedStream(
            self._inner.connect_unix_socket(path, _limited(timeout), socket_options)
        )

    def sleep(self, seconds: float) -> None:
        self._inner.sleep(seconds)


def _limited(timeout: float | None) -> float | None:
    """A timeout, no longer than the deadline of the call that it is for."""
    watch = _watch.get()
    if watch is None:
        return timeout
    watch.check()
    left = watch.deadline.remaining
    if left <= 0:
        raise DeadlineExceededError("The deadline passed while a connection was used.")
    return min(math.inf if timeout is None else timeout, left) if math.isfinite(left) else timeout


@functools.cache
def _ssl_context() -> ssl.SSLContext:
    """One for all clients: reading the certificates takes longer than most requests."""
    return httpx.create_ssl_context()


def sync_client(base_url: str, keepalive: int) -> httpx.Client:
    """A pooled client whose blocking reads can be watched.

    Args:
        base_url: What paths are joined to.
        keepalive: How many idle connections are kept.
    """
    client = httpx.Client(
        base_url=base_url, verify=_ssl_context(), follow_redirects=False, limits=_limits(keepalive)
    )
    # httpx hands no network backend through to httpcore, which takes one.
    for transport in (client._transport, *client._mounts.values()):  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        pool = getattr(transport, "_pool", None)
        if isinstance(pool, httpcore.ConnectionPool):
            backend = _WatchedBackend(pool._network_backend)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
            pool._network_backend = backend  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    return client


def async_client(base_url: str, keepalive: int) -> httpx.AsyncClient:
    """A pooled client for one event loop; see `sync_client`."""
    return httpx.AsyncClient(
        base_url=base_url, verify=_ssl_context(), follow_redirects=False, limits=_limits(keepalive)
    )


def _limits(keepalive: int) -> httpx.Limits:
    """No limit on connections: how many requests are under way is limited above."""
    return httpx.Limits(
        max_connections=None, max_keepalive_connections=keepalive, keepalive_expiry=30.0
    )
