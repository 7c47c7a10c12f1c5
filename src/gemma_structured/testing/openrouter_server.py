"""A server on a real loopback socket that speaks OpenRouter's API, and misbehaves as told.

```python
with FakeOpenRouter(Failure(status=503), Answer(text='{"a": 1}')) as server:
    model = gs.OpenRouterModel("some/model", api_key=server.key, base_url=server.base_url)
```
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gemma_structured.exceptions import GemmaStructuredError, InputError, SchemaError
from gemma_structured.testing.openrouter_replies import Answer, Cut, Failure, Raw, Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType
    from typing import Self

    from gemma_structured.models.local import LocalModel
    from gemma_structured.testing.openrouter_replies import Reply
    from gemma_structured.types import JsonValue

__all__ = ["FakeOpenRouter", "Received"]

_GLANCE: Final = 0.02
_PRICING: Final = {"prompt": "0.00000007", "completion": "0.00000035", "request": "0"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A request that the server got.

    Attributes:
        method: The HTTP method.
        path: The path, without the API's prefix.
        headers: By lower-case name.
        body: The JSON object; empty for a GET.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: Mapping[str, JsonValue]


class FakeOpenRouter:
    """A chat-completions server for tests, in a thread of its own. Use it in a `with` block.

    Args:
        *replies: What it answers, one after the other.
        answer: Answers when the replies are used up: a text, a reply, or what makes either from a
            request (a real model, for instance). Where neither replies nor this are given, the
            embedded model answers (extra `embedded`); a script that is used up is an error.
        key: The key that it wants; `None` takes every request.
        pricing: Prices by model, as `/models` lists them.
        endpoints: Prices of a model's endpoints, as `/models/{id}/endpoints` lists them.

    Attributes:
        requests: All that it was asked, in order.
        open_connections: How many connections are open.
    """

    key: str | None
    requests: list[Received]
    open_connections: int

    def __init__(
        self,
        *replies: Reply,
        answer: Reply | str | Callable[[Received], Reply | str] | None = None,
        key: str | None = "sk-or-v1-0123456789abcdef",
        pricing: Mapping[str, Mapping[str, str]] | None = None,
        endpoints: Mapping[str, list[Mapping[str, str]]] | None = None,
    ) -> None:
        self.key = key
        self.requests = []
        self.open_connections = 0
        self._replies = deque(replies)
        self._answer = answer
        self._is_scripted = bool(replies) or answer is not None
        self._model: LocalModel | None = None
        self._loading = threading.Lock()
        self._pricing = pricing or {}
        self._endpoints = endpoints or {}
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._run, name="fake-openrouter", daemon=True)
        self._started = threading.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    @property
    def base_url(self) -> str:
        """Where the API is."""
        return f"http://127.0.0.1:{self.port}/api/v1"

    @property
    def chat_requests(self) -> list[Received]:
        """The requests for completions, without those for prices."""
        return [request for request in self.requests if request.path == "/chat/completions"]

    def script(self, *replies: Reply) -> None:
        """Add replies to those that are still to be given."""
        self._is_scripted = True
        self._replies.extend(replies)

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.wait()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        if self._model is not None:
            self._model.unload()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._listen())
        self._started.set()
        self._loop.run_forever()
        self._loop.run_until_complete(self._shut())
        self._loop.close()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _shut(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._loop.shutdown_asyncgens()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.open_connections += 1
        try:
            while await self._serve(reader, writer):
                """The connection is kept for the next request."""
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client is gone, or the test is over
        finally:
            self.open_connections -= 1
            writer.close()
            with suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()
            self._tasks.discard(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Read one request and answer it; say whether the connection may be used again."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except asyncio.IncompleteReadError:
            return False
        first, *lines = head.rstrip("\r\n").split("\r\n")
        method, target, _ = first.split(" ", 2)
        headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines)
        }
        raw = await reader.readexactly(int(headers.get("content-length", "0")))
        body = json.loads(raw) if raw else {}
        path = target.removeprefix("/api/v1").partition("?")[0]
        received = Received(method=method, path=path, headers=headers, body=body)
        self.requests.append(received)
        return await _write(reader, writer, await self._respond(received))

    async def _respond(self, received: Received) -> Wire:
        if self.key is not None and received.headers.get("authorization") != f"Bearer {self.key}":
            return Failure(status=401, message="No auth credentials found").wire({})
        if received.method == "GET":
            return self._list(received.path)
        if received.path != "/chat/completions":
            return Failure(status=404, message="Not Found").wire({})
        if self._replies:
            return self._replies.popleft().wire(received.body)
        answer = self._answer
        if answer is None and not self._is_scripted:
            answer = self._embedded
        if callable(answer):  # it may take its time, as a model does
            answer = await asyncio.to_thread(answer, received)
        if isinstance(answer, str):
            answer = Answer(text=answer)
        if answer is None:
            return Failure(status=418, message="The script is used up").wire({})
        return answer.wire(received.body)

    def _embedded(self, received: Received) -> Reply | str:
        """Let the embedded model answer; it is loaded once."""
        from gemma_structured.models.local import LocalModel  # noqa: PLC0415 - only where asked
        from gemma_structured.testing.openrouter_answers import answer_from  # noqa: PLC0415

        with self._loading:
            if self._model is None:
                self._model = LocalModel()
        try:
            return answer_from(self._model)(received)
        except GemmaStructuredError as error:
            status = 400 if isinstance(error, InputError | SchemaError) else 503
            return Failure(status=status, message=str(error))

    def _list(self, path: str) -> Wire:
        """Models, or the endpoints of one."""
        if path == "/models":
            data: object = [
                {
                    "id": name,
                    "context_length": 131_072,
                    "pricing": pricing,
                    "supported_parameters": ["max_tokens", "response_format", "tools"],
                    "architecture": {"input_modalities": ["text", "image"]},
                }
                for name, pricing in self._pricing.items()
            ]
        elif path.endswith("/endpoints"):
            name = path.removeprefix("/models/").removesuffix("/endpoints")
            known = self._endpoints.get(name) or [self._pricing.get(name, _PRICING)]
            if name not in self._endpoints and name not in self._pricing:
                return Failure(status=404, message="Model not found").wire({})
            data = {"id": name, "endpoints": [{"pricing": pricing} for pricing in known]}
        else:
            return Failure(status=404, message="Not Found").wire({})
        body = json.dumps({"data": data}).encode()
        return Raw(Wire(headers={"content-type": "application/json"}, steps=[body])).wire({})


async def _wait(reader: asyncio.StreamReader, seconds: float) -> None:
    """Wait, unless the client hangs up.

    Raises:
        ConnectionError: It has.
    """
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        await asyncio.sleep(min(left, _GLANCE))
        if reader.at_eof():
            raise ConnectionResetError


async def _write(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, response: Wire
) -> bool:
    """Write a response; say whether the connection may be used again."""
    await _wait(reader, response.delay)
    headers = dict(response.headers)
    if response.framing == "chunked":
        headers["transfer-encoding"] = "chunked"
    elif response.framing == "length":
        size = sum(len(step) for step in response.steps if isinstance(step, bytes))
        cut = any(isinstance(step, Cut) for step in response.steps)
        headers["content-length"] = str(size + 1000 if cut else size)
    else:
        headers["connection"] = "close"
    lines = [
        f"HTTP/1.1 {response.status} X",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
    for step in response.steps:
        if isinstance(step, Cut):
            await writer.drain()
            return False
        if isinstance(step, float | int):
            await writer.drain()
            await _wait(reader, step)
        elif step:
            writer.write(
                b"%x\r\n%b\r\n" % (len(step), step) if response.framing == "chunked" else step
            )
    if response.framing == "chunked":
        writer.write(b"0\r\n\r\n")
    await writer.drain()
    return response.framing != "close"
