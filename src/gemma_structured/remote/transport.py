"""Sends requests and reads answers, blocking: one pooled client for all threads.

`async_transport` takes the same steps without blocking. Whatever decides anything lives elsewhere:
what to retry in `retry`, what an answer means in `decode`, when to begin in `limits`, what it may
cost in `call`.
"""

from __future__ import annotations

import os
import threading
import weakref
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Final, TypeVar

import httpx
import tenacity

from gemma_structured.exceptions import GemmaStructuredError
from gemma_structured.remote.call import Exchange, Reader, Whole
from gemma_structured.remote.network import sync_client, watching
from gemma_structured.remote.server import UNSENT, Server
from gemma_structured.types import Cancellation, Deadline

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from gemma_structured.remote.call import Call
    from gemma_structured.types import ModelDelta

__all__ = ["DRAIN", "Transport"]

R = TypeVar("R")

DRAIN: Final = 0.2
"""Seconds that are given to a stream's end after its last event, so that its connection is kept."""


class Transport:
    """The way to a server for blocking code. Thread-safe; connects at its first request."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._lock = threading.Lock()
        self._pooled: tuple[int, httpx.Client] | None = None

    def exchange(self, call: Call[R]) -> Generator[ModelDelta | Whole[R]]:
        """Ask, and ask again where that makes sense: the pieces of the answer, then the whole.

        A request that fails after its first piece is not sent again. Closing the generator closes
        the connection.

        Raises:
            ModelError: There is no answer.
        """

        def begin() -> tuple[Generator[ModelDelta | Whole[R]], ModelDelta | Whole[R]]:
            attempt = self._attempt(call)
            return attempt, next(attempt)

        def sleep(seconds: float) -> None:
            _pause(call, seconds)

        retrying = tenacity.Retrying(sleep=sleep, **self.server.retry.strategy(call.deadline))
        attempt, first = retrying(begin)
        with closing(attempt):
            yield first
            yield from attempt

    def ask(self, call: Call[R]) -> R:
        """Ask for the whole answer; see `exchange`."""
        with closing(self.exchange(call)) as pieces:
            for piece in pieces:
                if isinstance(piece, Whole):
                    return piece.value
        raise AssertionError  # pragma: no cover  (an exchange ends with the answer or an error)

    def close(self) -> None:
        """Close the connections; the next request opens new ones."""
        with self._lock:
            pooled, self._pooled = self._pooled, None
        if pooled is not None and pooled[0] == os.getpid():
            pooled[1].close()

    def _attempt(self, call: Call[R]) -> Generator[ModelDelta | Whole[R]]:
        """One request: the pieces of its answer, then the whole."""
        with self.server.slots.take(call.deadline, call.cancellation):
            for pause in self.server.pauses(call):
                _pause(call, pause)
            exchange = Exchange(call)
            try:
                yield from self._send(call, exchange)
            except httpx.HTTPError as error:
                exchange.is_sent = not isinstance(error, UNSENT)
                raise exchange.failed(self.server.translate(error, call)) from None
            except GemmaStructuredError as error:
                raise exchange.failed(self.server.cooled(error)) from None
            finally:
                exchange.close()

    def _send(self, call: Call[R], exchange: Exchange[R]) -> Generator[ModelDelta | Whole[R]]:
        client = self._client()
        request = self.server.request(client, call)
        with watching(call.deadline, call.cancellation):
            exchange.is_sent = True
            response = client.send(request, stream=True)
        with closing(response):
            reader = Reader(
                call,
                status=response.status_code,
                headers=response.headers,
                max_bytes=self.server.max_response_bytes,
            )
            pieces = response.iter_bytes()
            while (piece := _next(pieces, call)) is not None:
                yield from reader.feed(piece)
                if reader.is_done:
                    _drain(pieces)
                    break
            last, result = reader.finish()
            exchange.succeeded(result)
            yield from last
        yield Whole(result)

    def _client(self) -> httpx.Client:
        with self._lock:
            if self._pooled is None or self._pooled[0] != os.getpid():  # a fork shares no sockets
                client = sync_client(self.server.base_url, self.server.max_concurrency)
                weakref.finalize(self, client.close)  # where nobody calls `close`
                self._pooled = (os.getpid(), client)
            return self._pooled[1]


def _pause(call: Call[R], seconds: float) -> None:
    """Wait, unless the call is cancelled."""
    call.cancellation.wait(seconds)
    call.check()


def _next(pieces: Iterator[bytes], call: Call[R]) -> bytes | None:
    call.check()
    with watching(call.deadline, call.cancellation):
        return next(pieces, None)


def _drain(pieces: Iterator[bytes]) -> None:
    """Read to the end if it is near: only then may the connection be used again."""
    watch = watching(Deadline.after(DRAIN), Cancellation())
    with suppress(httpx.HTTPError, GemmaStructuredError), watch:
        for _ in pieces:
            """What follows the last event means nothing."""
