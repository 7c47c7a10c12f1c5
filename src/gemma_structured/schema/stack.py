"""What reads schemas recurses: where the stack ends, that is a `SchemaError`."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from gemma_structured.exceptions import SchemaError

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["enough_stack"]


@contextmanager
def enough_stack() -> Generator[None]:
    """Refuse a schema that is too deep for what the caller has left of the stack.

    Raises:
        SchemaError: The stack ended.
    """
    try:
        yield
    except RecursionError:
        raise SchemaError(
            "The schema is nested too deeply for the stack that is left here.",
            hint="Define deep parts under `$defs`, and refer to them; or call from fewer frames, "
            "or after sys.setrecursionlimit.",
        ) from None
