"""Errors without a traceback: what a command says when it cannot go on, and how it exits."""

from __future__ import annotations

import functools
import sys
import traceback
from typing import TYPE_CHECKING, Annotated, ParamSpec

import typer
from rich.console import Console
from rich.text import Text

from gemma_structured.cli.exit_codes import ExitCode, exit_code_for
from gemma_structured.exceptions import GemmaStructuredError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Debug", "err", "out", "reported", "say", "warn"]

P = ParamSpec("P")

Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
"""The option that every command has."""


def out(*, pipe_width: int | None = None) -> Console:
    """Where results go; into a pipe, with lines of this width."""
    return Console(file=sys.stdout, width=None if sys.stdout.isatty() else pipe_width)


def err() -> Console:
    """Where everything else goes."""
    return Console(file=sys.stderr)


def say(message: str, *, style: str = "") -> None:
    """Tell people something that is not a result."""
    err().print(Text(message, style=style), soft_wrap=True)


def warn(message: str) -> None:
    """Tell people what went wrong."""
    say(message, style="red")


def reported(command: Callable[P, ExitCode]) -> Callable[P, None]:
    """Make a command that returns an exit code, or raises, exit with that code and a message."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            code = command(*args, **kwargs)
        except KeyboardInterrupt:
            say("Interrupted.")
            code = ExitCode.INTERRUPTED
        except BrokenPipeError:
            raise  # click ends quietly: who read our output has seen enough
        except (GemmaStructuredError, OSError) as error:
            _show(error, debug=bool(kwargs.get("debug")))
            code = exit_code_for(error)
        except Exception as error:  # noqa: BLE001 - people get a message, and --debug the rest
            _show(error, debug=bool(kwargs.get("debug")))
            say("This is a bug: please report it with what --debug shows.")
            code = ExitCode.BUG
        raise typer.Exit(code)

    return run


def _show(error: Exception, *, debug: bool) -> None:
    if debug:
        traceback.print_exception(error)
    known = isinstance(error, GemmaStructuredError)
    warn(f"Error: {error}" if known else f"Error: {type(error).__name__}: {error}")
