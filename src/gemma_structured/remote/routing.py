"""Which of a model's providers OpenRouter may choose.

https://openrouter.ai/docs/features/provider-routing
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gemma_structured.types import JsonValue

__all__ = ["ProviderRouting"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderRouting:
    """Preferences among providers; what is `None` is left to OpenRouter.

    Attributes:
        order: Providers to try first, in this order.
        only: Providers that may be used at all.
        ignore: Providers that may not.
        allow_fallbacks: Whether others may serve where the first ones cannot.
        require_parameters: Use only providers that take every parameter; otherwise one that a
            provider does not know is dropped silently.
        data_collection: `"deny"` excludes providers that keep what they are sent.
        zdr: Use only endpoints with zero data retention.
        sort: `"price"`, `"throughput"` or `"latency"`.
        max_price: Dollars a million tokens: `{"prompt": 0.1, "completion": 0.4}`.
        quantizations: Such as `["bf16", "fp8"]`.
    """

    order: Sequence[str] | None = None
    only: Sequence[str] | None = None
    ignore: Sequence[str] | None = None
    allow_fallbacks: bool | None = None
    require_parameters: bool | None = None
    data_collection: Literal["allow", "deny"] | None = None
    zdr: bool | None = None
    sort: Literal["price", "throughput", "latency"] | None = None
    max_price: Mapping[str, float] | None = None
    quantizations: Sequence[str] | None = None

    def encode(self) -> dict[str, JsonValue]:
        """The request's `provider` object."""
        chosen: dict[str, JsonValue] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, str | bool):
                chosen[field.name] = value
            elif field.name == "max_price" and value is not None:
                chosen[field.name] = dict(value)
            elif value is not None:
                chosen[field.name] = list(value)
        return chosen
