"""What the command line's exit code says, and which errors lead to which."""

from __future__ import annotations

import enum

from gemma_structured.exceptions import (
    AuthenticationError,
    BudgetExceededError,
    FallbackError,
    GemmaStructuredError,
    GrammarError,
    InsufficientCreditsError,
    LoadError,
    ModelError,
    SchemaError,
)

__all__ = ["EXIT_CODES_HELP", "ExitCode", "ends_everything", "exit_code_for"]


class ExitCode(enum.IntEnum):
    """The command line's exit codes."""

    OK = 0
    DOCUMENTS_FAILED = 1
    USAGE = 2
    MODEL = 3
    BUG = 4
    INTERRUPTED = 130


EXIT_CODES_HELP = (
    "Exit codes: 0 all went well; 1 some documents failed; 2 wrong usage, or a type, schema or "
    "file that cannot be used; 3 the model cannot be loaded or asked; 4 a bug; 130 interrupted."
)


def ends_everything(error: GemmaStructuredError) -> bool:
    """Whether no other document would fare better."""
    if isinstance(error, FallbackError):
        return all(
            isinstance(cause, ModelError) and ends_everything(cause) for cause in error.exceptions
        )
    return isinstance(
        error,
        LoadError
        | AuthenticationError
        | InsufficientCreditsError
        | BudgetExceededError
        | SchemaError
        | GrammarError,
    )


def exit_code_for(error: Exception) -> ExitCode:
    """The exit code of a command that an error ended."""
    return ExitCode.MODEL if isinstance(error, ModelError) else ExitCode.USAGE
