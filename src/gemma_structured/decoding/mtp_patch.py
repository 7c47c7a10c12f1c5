"""A patch of transformers 5.23, whose `gemma4_assistant` models cannot be built.

`Gemma4TextConfig.kv_sharing_modes` says of each layer whether it stores its keys and values for
others or reuses theirs, and wants a layer that stores them in the same model. An assistant has
none: its layers all reuse those of its target.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator

    from transformers import Gemma4TextConfig

__all__ = ["buildable_assistants"]

_lock = threading.Lock()


@contextmanager
def buildable_assistants() -> Generator[None]:
    """Let assistants be built in this block; nothing else changes, in other threads either."""
    from transformers import Gemma4TextConfig as Config  # noqa: PLC0415 - extra `local`

    def kv_sharing_modes(self: Gemma4TextConfig) -> list[str | None]:
        count = self.num_hidden_layers
        if self.num_kv_shared_layers == count:
            return ["reuse"] * count
        modes: list[str | None] = original.__get__(self)
        return modes

    with _lock:
        original = vars(Config)["kv_sharing_modes"]
        type.__setattr__(Config, "kv_sharing_modes", property(kv_sharing_modes))
        try:
            yield
        finally:
            type.__setattr__(Config, "kv_sharing_modes", original)
