"""`OpenRouterModel`: a model that OpenRouter serves."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from gemma_structured.exceptions import APIStatusError, AuthenticationError
from gemma_structured.models.remote import RemoteModel, RemoteOptions
from gemma_structured.remote.price_list import PriceList
from gemma_structured.remote.pricing import Pricing, parse_endpoints, parse_models
from gemma_structured.remote.routing import ProviderRouting
from gemma_structured.remote.server import secret_key
from gemma_structured.types import Deadline

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import SecretStr
    from typing_extensions import Unpack

    from gemma_structured.remote.pricing import ModelInfo
    from gemma_structured.types import JsonValue

__all__ = ["OpenRouterModel", "Reasoning"]

Effort: TypeAlias = Literal["minimal", "low", "medium", "high", "xhigh"]
"""How hard a model thinks."""

Reasoning: TypeAlias = Effort | int | bool
"""How much a model may think first: an effort, a number of tokens, or whether at all."""

_BASE_URL: Final = "https://openrouter.ai/api/v1"
_MILLION: Final = 1_000_000
_PRICES_TIMEOUT: Final = 30.0


class OpenRouterModel(RemoteModel):
    """A model that OpenRouter serves (https://openrouter.ai/docs).

    Args:
        name: Such as `"google/gemma-4-26b-a4b-it"`.
        api_key: The key; `OPENROUTER_API_KEY` unless given. Without one, requests fail.
        fallback_models: Models that OpenRouter itself tries when the first cannot answer.
        routing: Which providers may be used.
        reasoning: How much the model may think first where the task does not say; what OpenRouter
            does unless told.
        base_url: Where the API is; `OPENROUTER_BASE_URL`, or else OpenRouter, unless given.
        app_title: What OpenRouter's dashboard calls the application.
        app_url: The application's address there.
        **options: See `RemoteOptions`. `structured` is `"prompt"` unless told: JSON examples with a
            server-side JSON mode hang some providers of Gemma.

    Raises:
        InputError: An argument makes no sense.
    """

    provider = "openrouter"

    def __init__(
        self,
        name: str,
        *,
        api_key: str | SecretStr | None = None,
        fallback_models: Sequence[str] = (),
        routing: ProviderRouting | None = None,
        reasoning: Reasoning | None = None,
        base_url: str | None = None,
        app_title: str | None = None,
        app_url: str | None = None,
        **options: Unpack[RemoteOptions],
    ) -> None:
        named = {"HTTP-Referer": app_url, "X-OpenRouter-Title": app_title}
        super().__init__(
            name,
            base_url=base_url or os.environ.get("OPENROUTER_BASE_URL") or _BASE_URL,
            key=secret_key(api_key or os.environ.get("OPENROUTER_API_KEY")),
            headers={header: value for header, value in named.items() if value},
            structured="prompt",
            options=options,
        )
        self.fallback_models = tuple(fallback_models)
        self.routing = routing or ProviderRouting()
        self.reasoning: Reasoning | None = reasoning
        self._prices = PriceList()

    def members(
        self, *, price: Pricing | None, thinking: bool | int, needs_parameters: bool
    ) -> dict[str, JsonValue]:
        """OpenRouter's own members of a request."""
        routing = self.routing
        if needs_parameters and routing.require_parameters is None:
            routing = replace(routing, require_parameters=True)
        if price is not None and routing.max_price is None:
            # The server keeps to the price that the budget reckons with.
            limit = {"prompt": price.prompt * _MILLION, "completion": price.completion * _MILLION}
            routing = replace(routing, max_price={k: float(v) for k, v in limit.items()})
        members: dict[str, JsonValue] = {
            "plugins": [{"id": "context-compression", "enabled": False}]
        }
        if provider := routing.encode():
            members["provider"] = provider
        if self.fallback_models:
            members["models"] = [self.name, *self.fallback_models]
        reasoning = self.reasoning if thinking is False else thinking
        if reasoning is not None:
            members["reasoning"] = _reasoning(reasoning)
        return {**members, **self.extra}

    def check_ready(self) -> None:
        """Raise if there is no key.

        Raises:
            AuthenticationError: There is none.
        """
        if self.server.key is None:
            raise AuthenticationError(
                "There is no OpenRouter key.",
                status_code=401,
                hint="Set OPENROUTER_API_KEY, or pass `api_key=`.",
                model_name=self.name,
            )

    def models(self) -> dict[str, ModelInfo]:
        """Every model that OpenRouter has, by name.

        Raises:
            ModelError: It does not say.
        """
        body = self.transport.ask(self.get("models", self._patience(Deadline())))
        return parse_models(body)

    def pricing(self) -> Pricing | None:
        """What the model costs by OpenRouter's list; `None` where it is not in it. Cached.

        Raises:
            ModelError: OpenRouter does not say.
        """
        if self.price is not None:
            return self.price
        if (listed := self._prices.listed) is None:
            listed = self._prices.listed = self.models()
        return listed[self.name].pricing if self.name in listed else None

    async def apricing(self) -> Pricing | None:
        """What the model costs, without blocking the event loop; see `pricing`."""
        if self.price is not None:
            return self.price
        if (listed := self._prices.listed) is None:
            body = await self.async_transport.ask(self.get("models", self._patience(Deadline())))
            listed = self._prices.listed = parse_models(body)
        return listed[self.name].pricing if self.name in listed else None

    def price_bound(self, deadline: Deadline) -> Pricing | None:
        """The dearest of the endpoints that may be used, of the fallback models too. Cached.

        Raises:
            ModelError: OpenRouter does not say.
        """
        for name in self._unpriced():
            body: dict[str, JsonValue] = {}
            with suppress(APIStatusError):
                body = self.transport.ask(self.get(_endpoints(name), self._patience(deadline)))
            self._prices.put(name, parse_endpoints(body))
        return self._bound()

    async def aprice_bound(self, deadline: Deadline) -> Pricing | None:
        """The dearest of the endpoints, without blocking the event loop; see `price_bound`."""
        for name in self._unpriced():
            body: dict[str, JsonValue] = {}
            with suppress(APIStatusError):
                call = self.get(_endpoints(name), self._patience(deadline))
                body = await self.async_transport.ask(call)
            self._prices.put(name, parse_endpoints(body))
        return self._bound()

    def _unpriced(self) -> list[str]:
        if self.price is not None:
            return []
        return [name for name in (self.name, *self.fallback_models) if not self._prices.has(name)]

    def _bound(self) -> Pricing | None:
        if self.price is not None:
            return self.price
        prices = [self._prices.get(name) for name in (self.name, *self.fallback_models)]
        known = [price for price in prices if price is not None]
        dearest = Pricing.dearest(known) if len(known) == len(prices) else None
        return dearest and dearest.limited(self.routing.max_price)

    @staticmethod
    def _patience(deadline: Deadline) -> Deadline:
        return min(deadline, Deadline.after(_PRICES_TIMEOUT), key=lambda one: one.at)


def _endpoints(name: str) -> str:
    return f"models/{name}/endpoints"


def _reasoning(reasoning: Reasoning) -> JsonValue:
    if isinstance(reasoning, bool):
        return {"enabled": reasoning}
    if isinstance(reasoning, int):
        return {"max_tokens": reasoning}
    return {"effort": reasoning}
