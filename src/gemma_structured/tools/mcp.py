"""The tools of MCP servers (https://modelcontextprotocol.io), through the package `mcp`."""

from __future__ import annotations

import asyncio
import re
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Self

from gemma_structured.exceptions import GemmaStructuredError, LoadError, ToolError
from gemma_structured.tools.tool import Tool

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator
    from types import TracebackType

    from mcp import Client
    from mcp.types import CallToolResult

__all__ = ["MCPTools"]

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]")
_MAX_NAME = 64


class MCPTools:
    """The tools of one MCP server: iterate over it, or hand it to an agent, inside a `with` block.

    ```python
    with gs.MCPTools(mcp.StdioServerParameters(command="uvx", args=["mcp-server-time"])) as tools:
        gs.Agent(model, tools=tools).run("What time is it in Tokyo?")
    ```

    The session lives in a thread of its own, so that its tools serve blocking and asynchronous code
    alike.

    Args:
        server: A URL (streamable HTTP), `mcp.StdioServerParameters`, a transport, or an in-process
            server: whatever `mcp.Client` takes.
        timeout: Seconds that connecting, or one call, may take.
        prefix: Put before the tools' names, where several servers have tools of one name.
        needs_approval: Whether a person is to be asked before each call.
    """

    def __init__(
        self,
        server: object,
        *,
        timeout: float = 60.0,
        prefix: str = "",
        needs_approval: bool = False,
    ) -> None:
        self._server = server
        self._timeout = timeout
        self._prefix = prefix
        self._needs_approval = needs_approval
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stop: asyncio.Event | None = None
        self._tools: tuple[Tool[..., Any], ...] = ()

    def __enter__(self) -> Self:
        """Connect, and read the list of tools.

        Raises:
            LoadError: The package `mcp` is not installed.
            ToolError: The server cannot be reached, or its list is not usable.
        """
        client = _client(self._server, self._timeout)
        ready: Future[tuple[Tool[..., Any], ...]] = Future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._live(client, ready)),
            name="gemma-structured-mcp",
            daemon=True,
        )
        self._thread.start()
        try:
            self._tools = ready.result(self._timeout)
        except GemmaStructuredError:
            raise
        except Exception as error:
            raise ToolError(
                f"The MCP server cannot be used: {type(error).__name__}: {error}",
                hint="Look at its command or URL, and at its own log.",
            ) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Disconnect; its tools cannot be called any more."""
        if self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        if self._thread is not None:
            self._thread.join(self._timeout)
        self._loop = None

    def __iter__(self) -> Iterator[Tool[..., Any]]:
        """The tools, in the server's order."""
        return iter(self._tools)

    def __len__(self) -> int:
        return len(self._tools)

    async def _live(self, client: Client, ready: Future[tuple[Tool[..., Any], ...]]) -> None:
        """Hold the session open until it is to end."""
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        try:
            async with client:
                ready.set_result(tuple(await self._read_tools(client)))
                await self._stop.wait()
        except Exception as error:  # noqa: BLE001 - it is raised where the session was opened
            if not ready.done():
                ready.set_exception(error)

    async def _read_tools(self, client: Client) -> list[Tool[..., Any]]:
        found: list[Tool[..., Any]] = []
        cursor: str | None = None
        while True:
            page = await client.list_tools(cursor=cursor)
            for each in page.tools:
                made = _NOT_IN_NAMES.sub("_", f"{self._prefix}{each.name}")[:_MAX_NAME]
                found.append(
                    Tool.from_schema(
                        made,
                        _closed(each.input_schema),
                        self._caller(client, each.name),
                        description=each.description or "",
                        timeout=self._timeout,
                        needs_approval=self._needs_approval,
                    )
                )
            cursor = page.next_cursor
            if cursor is None:
                return found

    def _caller(self, client: Client, name: str) -> Any:
        def call(arguments: dict[str, Any]) -> object:
            return _read_result(self._run(client.call_tool(name, arguments)))

        return call

    def _run(self, work: Coroutine[Any, Any, CallToolResult]) -> CallToolResult:
        if self._loop is None:
            work.close()
            raise ToolError("The session with the MCP server has ended.")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(self._timeout)


def _client(server: Any, timeout: float) -> Client:
    try:
        from mcp import Client  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise LoadError(
            "The package mcp is not installed.", hint="Run: pip install 'gemma-structured[mcp]'"
        ) from error
    return Client(server, read_timeout_seconds=timeout)


def _closed(schema: dict[str, Any]) -> dict[str, Any]:
    """Allow the parameters that are listed and no others, unless the schema speaks of others."""
    says = {"additionalProperties", "patternProperties", "$ref", "allOf", "anyOf", "oneOf"}
    return schema if says & schema.keys() else {**schema, "additionalProperties": False}


def _read_result(result: CallToolResult) -> object:
    """A result's structured content, or its texts; what is not text is told by its kind.

    Raises:
        ToolError: The server says that the call failed.
    """
    texts = [str(getattr(part, "text", None) or f"[{part.type}]") for part in result.content or ()]
    if result.is_error:
        raise ToolError("\n".join(texts) or "The MCP server says that the call failed.")
    if result.structured_content is not None:
        return result.structured_content
    return texts[0] if len(texts) == 1 else texts
