"""Sends requests and reads answers without blocking: one pooled client for each event loop.

The steps are those of `transport`.
"""

from __future__ import annotations

import asyncio
import math
import threading
from contextlib import aclosing, asynccontextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

import httpx
import tenacity

from gemma_structured.exceptions import DeadlineExceededError, GemmaStructuredError
from gemma_structured.remote.call import Exchange, Reader, Whole
from gemma_structured.remote.network import async_client
from gemma_structured.remote.server import UNSENT, Server
from gemma_structured.remote.transport import DRAIN

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from gemma_structured.remote.call import Call
    from gemma_structured.types import Deadline, ModelDelta

__all__ = ["AsyncTransport"]

R = TypeVar("R")


class AsyncTransport:
    """The way to a server for asyncio code, from any number of event loops.

    A loop's connections are closed when the loop shuts down (as `asyncio.run` does at its end).
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self._lock = threading.Lock()
        self._clients: dict[
            asyncio.AbstractEventLoop, tuple[httpx.AsyncClient, AsyncGenerator[None]]
        ] = {}

    async def exchange(self, call: Call[R]) -> AsyncGenerator[ModelDelta | Whole[R]]:
        """Ask, and ask again where that makes sense: the pieces of the answer, then the whole.

        A request that fails after its first piece is not sent again. Closing the generator, or
        cancelling its task, closes the connection.

        Raises:
            ModelError: There is no answer.
        """

        async def begin() -> tuple[AsyncGenerator[ModelDelta | Whole[R]], ModelDelta | Whole[R]]:
            attempt = self._attempt(call)
            return attempt, await anext(attempt)

        async def sleep(seconds: float) -> None:
            await _pause(call, seconds)

        retrying = tenacity.AsyncRetrying(sleep=sleep, **self.server.retry.strategy(call.deadline))
        opened: tuple[AsyncGenerator[ModelDelta | Whole[R]], ModelDelta | Whole[R]]
        opened = await retrying(begin)
        attempt, first = opened
        async with aclosing(attempt):
            yield first
            async for piece in attempt:
                yield piece

    async def ask(self, call: Call[R]) -> R:
        """Ask for the whole answer; see `exchange`."""
        async with aclosing(self.exchange(call)) as pieces:
            async for piece in pieces:
                if isinstance(piece, Whole):
                    return piece.value
        raise AssertionError  # pragma: no cover  (an exchange ends with the answer or an error)

    async def close(self) -> None:
        """Close this event loop's connections; the next request opens new ones."""
        with self._lock:
            held = self._clients.pop(asyncio.get_running_loop(), None)
        if held is not None:
            await held[1].aclose()

    async def _attempt(self, call: Call[R]) -> AsyncGenerator[ModelDelta | Whole[R]]:
        """One request: the pieces of its answer, then the whole."""
        async with self.server.slots.atake(call.deadline, call.cancellation):
            for pause in self.server.pauses(call):
                await _pause(call, pause)
            exchange = Exchange(call)
            try:
                async with aclosing(self._send(call, exchange)) as pieces:
                    async for piece in pieces:
                        yield piece
            except httpx.HTTPError as error:
                exchange.is_sent = not isinstance(error, UNSENT)
                raise exchange.failed(self.server.translate(error, call)) from None
            except GemmaStructuredError as error:
                raise exchange.failed(self.server.cooled(error)) from None
            finally:
                exchange.close()

    async def _send(
        self, call: Call[R], exchange: Exchange[R]
    ) -> AsyncGenerator[ModelDelta | Whole[R]]:
        client = await self._client()
        request = self.server.request(client, call)
        async with _within(call.deadline):
            exchange.is_sent = True
            response = await client.send(request, stream=True)
        try:
            reader = Reader(
                call,
                status=response.status_code,
                headers=response.headers,
                max_bytes=self.server.max_response_bytes,
            )
            pieces = response.aiter_bytes()
            while (piece := await _next(pieces, call)) is not None:
                for delta in reader.feed(piece):
                    yield delta
                if reader.is_done:
                    await _drain(pieces)
                    break
            last, result = reader.finish()
            exchange.succeeded(result)
            for delta in last:
                yield delta
        finally:
            await response.aclose()
        yield Whole(result)

    async def _client(self) -> httpx.AsyncClient:
        loop = asyncio.get_running_loop()
        with self._lock:
            held = self._clients.get(loop)
        if held is None:
            client = async_client(self.server.base_url, self.server.max_concurrency)
            held = (client, self._until_shutdown(loop, client))
            await anext(held[1])  # it runs to its first yield without giving up control
            with self._lock:
                for closed in [each for each in self._clients if each.is_closed()]:
                    del self._clients[closed]  # it was closed without being shut down
                self._clients[loop] = held
        return held[0]

    async def _until_shutdown(
        self, loop: asyncio.AbstractEventLoop, client: httpx.AsyncClient
    ) -> AsyncGenerator[None]:
        """Close a client when its loop shuts its asynchronous generators down: this is one."""
        try:
            yield
        finally:
            with self._lock:
                self._clients.pop(loop, None)
            await client.aclose()


@asynccontextmanager
async def _within(deadline: Deadline) -> AsyncGenerator[None]:
    """End what is inside at a deadline.

    Raises:
        DeadlineExceededError: It has not ended by itself.
    """
    deadline.check()
    left = deadline.remaining
    try:
        async with asyncio.timeout(left if math.isfinite(left) else None):
            yield
    except TimeoutError:
        raise DeadlineExceededError(
            "The deadline passed before the answer was complete.",
            hint="Give a longer `timeout`, or a smaller `max_tokens`.",
        ) from None


async def _pause(call: Call[R], seconds: float) -> None:
    """Wait, unless the call is cancelled."""
    await asyncio.sleep(seconds)
    call.check()


async def _next(pieces: AsyncIterator[bytes], call: Call[R]) -> bytes | None:
    call.check()
    async with _within(call.deadline):
        return await anext(pieces, None)


async def _drain(pieces: AsyncIterator[bytes]) -> None:
    """Read to the end if it is near: only then may the connection be used again."""
    with suppress(httpx.HTTPError, TimeoutError):
        async with asyncio.timeout(DRAIN):
            async for _ in pieces:
                """What follows the last event means nothing."""
