"""Prices that were asked for, kept for an hour."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from gemma_structured.remote.pricing import ModelInfo, Pricing

__all__ = ["PriceList"]

_PRICES_LAST: Final = 3600.0


class PriceList:
    """What models cost, as far as it was asked for not long ago. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bounds: dict[str, tuple[float, Pricing | None]] = {}
        self._listed: tuple[float, dict[str, ModelInfo]] | None = None

    @property
    def listed(self) -> dict[str, ModelInfo] | None:
        """The list of models, if it is fresh."""
        with self._lock:
            held = self._listed
        return held[1] if held is not None and time.monotonic() - held[0] < _PRICES_LAST else None

    @listed.setter
    def listed(self, models: dict[str, ModelInfo]) -> None:
        with self._lock:
            self._listed = (time.monotonic(), models)

    def has(self, name: str) -> bool:
        """Whether a model's dearest price was asked for not long ago."""
        with self._lock:
            held = self._bounds.get(name)
        return held is not None and time.monotonic() - held[0] < _PRICES_LAST

    def get(self, name: str) -> Pricing | None:
        """A model's dearest price, where it is known."""
        with self._lock:
            return self._bounds.get(name, (0.0, None))[1]

    def put(self, name: str, price: Pricing | None) -> None:
        """Keep a model's dearest price; what was not found is asked for again."""
        if price is not None:
            with self._lock:
                self._bounds[name] = (time.monotonic(), price)
