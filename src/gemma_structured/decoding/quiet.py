"""Keep the chatter of transformers out of the user's terminal while a model loads."""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

__all__ = ["quiet_transformers"]

logger = logging.getLogger("gemma_structured.loading")


class _Forward(logging.Handler):
    """Hands transformers' records to this package's logger, as details."""

    def emit(self, record: logging.LogRecord) -> None:
        logger.debug("%s: %s", record.name, record.getMessage())


def _silent_bar(
    factory: Callable[..., object], args: tuple[object, ...], kwargs: dict[str, object]
) -> object:
    """Make the bar that was asked for, without output."""
    return factory(*args, **{**kwargs, "disable": True})


class _Quiet:
    """How many loads run now, and what was put aside when the first of them began."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.loads = 0
        self.forward = _Forward()
        self.handlers: list[logging.Handler] = []
        self.hooked = False

    def enter(self) -> None:
        from transformers.utils import logging as hf_logging  # noqa: PLC0415 - extra `local`

        with self.lock:
            self.loads += 1
            if self.loads > 1:
                return
            library = logging.getLogger("transformers")
            before = list(library.handlers)
            hf_logging.disable_default_handler()
            self.handlers = [handler for handler in before if handler not in library.handlers]
            library.addHandler(self.forward)
            earlier = hf_logging.set_tqdm_hook(_silent_bar)
            self.hooked = earlier is None
            if earlier is not None:  # the user's own way of showing bars stays
                hf_logging.set_tqdm_hook(earlier)

    def leave(self) -> None:
        from transformers.utils import logging as hf_logging  # noqa: PLC0415 - extra `local`

        with self.lock:
            self.loads -= 1
            if self.loads:
                return
            library = logging.getLogger("transformers")
            library.removeHandler(self.forward)
            for handler in self.handlers:
                library.addHandler(handler)
            if self.hooked:
                hf_logging.set_tqdm_hook(None)


_quiet = _Quiet()


@contextmanager
def quiet_transformers() -> Generator[None]:
    """Send transformers' messages to the logger `gemma_structured.loading`, and show no bars.

    Only the library's own handler (the one that writes to stderr) steps aside, for as long as at
    least one load runs in any thread; handlers, levels and hooks that the user set stay.
    """
    _quiet.enter()
    try:
        yield
    finally:
        _quiet.leave()
