"""Running calls: typed arguments in, JSON out, within the tool's time."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, cast

from pydantic_core import PydanticSerializationError, from_json, to_json

from gemma_structured.exceptions import ToolRetry, ToolTimeoutError
from gemma_structured.messages import ToolReturn

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gemma_structured.messages import ToolCall
    from gemma_structured.tools.tool import Tool
    from gemma_structured.types import JsonValue

__all__ = ["arun_call", "error_return", "run_call", "success_return"]


def run_call(tool: Tool[..., Any], call: ToolCall, context: object = None) -> Any:
    """Run a validated call and wait for it.

    With a timeout, and for async tools, the function runs in a thread of its own. Python cannot end
    a thread: a function that takes too long goes on, and what it returns is not looked at.

    Raises:
        ToolTimeoutError: It took longer than it may.
        Exception: Whatever the function raises.
    """
    if not tool.is_async and tool.timeout is None:
        return tool.invoke(call, context)

    def work() -> Any:
        made = tool.invoke(call, context)
        return asyncio.run(_waited(made)) if tool.is_async else made

    return _in_thread(work, tool)


async def arun_call(tool: Tool[..., Any], call: ToolCall, context: object = None) -> Any:
    """Run a validated call without blocking the event loop; see `run_call`.

    An async tool that takes too long is cancelled; any other runs in a thread.
    """
    limit = asyncio.timeout(tool.timeout)
    try:
        async with limit:
            if tool.is_async:
                return await tool.invoke(call, context)
            return await asyncio.to_thread(tool.invoke, call, context)
    except TimeoutError as error:
        if limit.expired():
            raise _timed_out(tool) from error
        raise


def success_return(call: ToolCall, value: object) -> ToolReturn:
    """What a call returned, in the terms of JSON; what has no JSON form becomes its `str`."""
    try:
        text = to_json(value, by_alias=True, inf_nan_mode="strings", fallback=str)
        plain = from_json(text)
    except (PydanticSerializationError, ValueError, RecursionError):
        plain = str(value)
    return ToolReturn(name=call.name, value=cast("JsonValue", plain), call_id=call.id)


def error_return(call: ToolCall, error: Exception) -> ToolReturn:
    """What a model is told of a call that failed."""
    told = str(error) if isinstance(error, ToolRetry) else f"{type(error).__name__}: {error}"
    value: JsonValue = {"error": told}
    return ToolReturn(name=call.name, value=value, call_id=call.id, is_error=True)


async def _waited(made: Awaitable[Any]) -> Any:
    return await made


def _in_thread(work: Callable[[], Any], tool: Tool[..., Any]) -> Any:
    outcomes: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()

    def run() -> None:
        try:
            outcomes.put((work(), None))
        except BaseException as error:  # noqa: BLE001 - it is raised where the tool was called
            outcomes.put((None, error))

    context = contextvars.copy_context()
    name = f"gemma-structured-tool-{tool.name}"
    threading.Thread(target=context.run, args=(run,), name=name, daemon=True).start()
    try:
        value, error = outcomes.get(timeout=tool.timeout)
    except Empty:
        raise _timed_out(tool) from None
    if error is not None:
        raise error
    return value


def _timed_out(tool: Tool[..., Any]) -> ToolTimeoutError:
    return ToolTimeoutError(f"{tool.name} took longer than {tool.timeout:g} seconds.")
