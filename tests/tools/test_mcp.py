"""Tools of a real MCP server, in process."""

from __future__ import annotations

import asyncio
import sys

import pytest

from gemma_structured.exceptions import OutputValidationError, ToolError
from gemma_structured.messages import ToolCall
from gemma_structured.tools import ToolOffer
from gemma_structured.tools.dispatch import arun_call, run_call
from gemma_structured.tools.mcp import MCPTools

mcp = pytest.importorskip("mcp")

SERVER = """
import logging
from mcp.server import MCPServer

logging.disable(logging.CRITICAL)
server = MCPServer("numbers")

@server.tool(name="numbers.add")
def add(a: int, b: int = 1) -> int:
    "Add two numbers."
    return a + b

@server.tool()
def fail() -> str:
    raise ValueError("never")
"""


@pytest.fixture(scope="module")
def server():
    """A server with a tool that works and one that fails."""
    names: dict = {}
    exec(SERVER, names)  # the same text also runs as a program of its own
    return names["server"]


def test_tools_are_listed_and_called(server):
    """Names become valid ones, schemas are closed, and calls come back, sync and async."""
    with MCPTools(server, prefix="x_") as tools:
        add, fail = tools
        assert (add.name, add.description, len(tools)) == ("x_numbers_add", "Add two numbers.", 2)
        (call,) = ToolOffer.of(tools).validate([ToolCall("x_numbers_add", {"a": 2})])
        assert run_call(add, call) == {"result": 3}
        assert asyncio.run(arun_call(add, call)) == {"result": 3}
        with pytest.raises(OutputValidationError):
            add.validate({"a": 2, "more": 1})
        with pytest.raises(ToolError, match="fail"):
            run_call(fail, ToolCall("x_fail", {}))


def test_a_closed_session_cannot_be_called(server):
    """After the block its tools raise."""
    with MCPTools(server) as tools:
        add = next(iter(tools))
    with pytest.raises(ToolError, match="has ended"):
        run_call(add, ToolCall("numbers_add", {"a": 2}))


def test_a_server_in_another_process(tmp_path):
    """A server that is started as a command serves the same tools."""
    program = tmp_path / "server.py"
    program.write_text(SERVER + "\nserver.run()\n")
    parameters = mcp.StdioServerParameters(command=sys.executable, args=[str(program)])
    with MCPTools(parameters) as tools:
        add = next(iter(tools))
        assert run_call(add, ToolCall("numbers_add", {"a": 2, "b": 40})) == {"result": 42}


def test_a_server_that_cannot_be_reached():
    """A command that fails is a ToolError that says what to look at."""
    parameters = mcp.StdioServerParameters(
        command=sys.executable, args=["-c", "raise SystemExit(3)"]
    )
    with pytest.raises(ToolError, match="cannot be used"), MCPTools(parameters, timeout=20):
        pass
