"""What a model costs, and the most that one request may.

Prices move: they are asked for (`GET /models`, `GET /models/{id}/endpoints`) and never written down
here. After a request, what counts is the server's `usage.cost`.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gemma_structured.budget import Budget, Reservation
    from gemma_structured.types import JsonValue, Usage

__all__ = ["ModelInfo", "Pricing", "Quote", "parse_endpoints", "parse_models"]

_FEATURES: Final = {
    "response_format": "json_object",
    "structured_outputs": "json_schema",
    "tools": "tools",
    "reasoning": "thinking",
}
_PER_TOKEN_OF_PROMPT: Final = ("prompt", "input_cache_write", "input_cache_write_1h")
_PER_TOKEN_OF_COMPLETION: Final = ("completion", "internal_reasoning")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pricing:
    """US dollars.

    Attributes:
        prompt: A token of the prompt.
        completion: A token of the answer or of the thought.
        request: A request, whatever its length.
        image: An image, beside its tokens.
        cached: A token of the prompt that the provider had in its cache, where that has a price.
    """

    prompt: Decimal = Decimal(0)
    completion: Decimal = Decimal(0)
    request: Decimal = Decimal(0)
    image: Decimal = Decimal(0)
    cached: Decimal | None = None

    def bound(self, *, prompt_tokens: int, max_tokens: int, images: int = 0) -> Decimal:
        """The most that a request may cost."""
        fixed = self.request + self.image * images
        return fixed + self.prompt * prompt_tokens + self.completion * max_tokens

    def cost(self, usage: Usage) -> Decimal:
        """What a request should have cost, where the server does not say; caches are ignored."""
        return self.bound(prompt_tokens=usage.prompt_tokens, max_tokens=usage.completion_tokens)

    @staticmethod
    def dearest(prices: Iterable[Pricing]) -> Pricing | None:
        """The highest of each price: an upper bound whichever endpoint answers."""
        known = list(prices)
        if not known:
            return None
        return Pricing(
            prompt=max(price.prompt for price in known),
            completion=max(price.completion for price in known),
            request=max(price.request for price in known),
            image=max(price.image for price in known),
        )

    def limited(self, max_price: Mapping[str, JsonValue] | None) -> Pricing:
        """The price where the provider option `max_price` (dollars a million tokens) caps it."""
        if not max_price:
            return self
        million = Decimal(1_000_000)
        prompt = _dollars(max_price.get("prompt"))
        completion = _dollars(max_price.get("completion"))
        request = _dollars(max_price.get("request"))
        image = _dollars(max_price.get("image"))
        return Pricing(
            prompt=self.prompt if prompt is None else min(self.prompt, prompt / million),
            completion=(
                self.completion
                if completion is None
                else min(self.completion, completion / million)
            ),
            request=self.request if request is None else min(self.request, request),
            image=self.image if image is None else min(self.image, image),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """What a server says about one of its models.

    Attributes:
        name: The server's name for it.
        pricing: Its listed price; `None` where there is none, or it is decided by routing.
        context_length: The most tokens of prompt and answer together.
        supported_parameters: Members of a request that at least one endpoint takes.
        input_modalities: What it reads, such as `text` and `image`.
    """

    name: str
    pricing: Pricing | None = None
    context_length: int | None = None
    supported_parameters: frozenset[str] = frozenset()
    input_modalities: frozenset[str] = frozenset()

    @property
    def features(self) -> tuple[str, ...]:
        """What of this package's it can be used with, beyond the prompt, which any model takes."""
        named = [name for key, name in _FEATURES.items() if key in self.supported_parameters]
        return tuple(sorted(named + ["images"] * ("image" in self.input_modalities)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """What a request may cost at most, against a budget.

    Attributes:
        budget: Where it is reserved and settled.
        prompt_tokens: An upper bound of the prompt's tokens.
        max_tokens: The most tokens of the answer.
        images: How many images the prompt has.
        pricing: The price; `None` where it is not known.
    """

    budget: Budget
    prompt_tokens: int
    max_tokens: int
    pricing: Pricing | None
    images: int = 0

    def reserve(self, model_name: str | None) -> Reservation:
        """Set the bound aside.

        Raises:
            BudgetExceededError: It could pass the budget, or the price is not known.
        """
        cost = None
        if self.pricing is not None:
            cost = self.pricing.bound(
                prompt_tokens=self.prompt_tokens, max_tokens=self.max_tokens, images=self.images
            )
        tokens = self.prompt_tokens + self.max_tokens
        return self.budget.reserve(tokens=tokens, cost=cost, model_name=model_name)

    def settle(self, reservation: Reservation, usage: Usage) -> None:
        """Replace the bound by what the server says, or else by what its token counts come to."""
        if not usage.total_tokens:
            reservation.settle(cost=usage.cost, tokens=None)
            return
        cost = usage.cost
        if cost is None and self.pricing is not None:
            cost = self.pricing.cost(usage) + self.pricing.image * self.images
        reservation.settle(cost=cost, tokens=usage.total_tokens)


def parse_models(body: Mapping[str, JsonValue]) -> dict[str, ModelInfo]:
    """Read `GET /models`; what cannot be read of an entry is left out."""
    data = body.get("data")
    models = (
        [_info(entry) for entry in data if isinstance(entry, dict)]
        if isinstance(data, list)
        else []
    )
    return {model.name: model for model in models if model.name}


def parse_endpoints(body: Mapping[str, JsonValue]) -> Pricing | None:
    """Read `GET /models/{id}/endpoints`: the dearest of a model's endpoints."""
    data = body.get("data")
    endpoints = data.get("endpoints") if isinstance(data, dict) else None
    if not isinstance(endpoints, list):
        return None
    prices = [_pricing(entry.get("pricing")) for entry in endpoints if isinstance(entry, dict)]
    if any(price is None for price in prices):
        return None
    return Pricing.dearest(price for price in prices if price is not None)


def _info(entry: Mapping[str, JsonValue]) -> ModelInfo:
    name, context = entry.get("id"), entry.get("context_length")
    architecture = entry.get("architecture")
    return ModelInfo(
        name=name if isinstance(name, str) else "",
        pricing=_pricing(entry.get("pricing")),
        context_length=context if isinstance(context, int) else None,
        supported_parameters=_names(entry.get("supported_parameters")),
        input_modalities=_names(
            architecture.get("input_modalities") if isinstance(architecture, dict) else None
        ),
    )


def _names(value: JsonValue) -> frozenset[str]:
    return frozenset(
        one for one in (value if isinstance(value, list) else []) if isinstance(one, str)
    )


def _pricing(prices: JsonValue) -> Pricing | None:
    """Read a `pricing` object: its default and all its overrides, the dearest of each."""
    if not isinstance(prices, dict):
        return None
    overrides = prices.get("overrides")
    levels = [
        prices,
        *(o for o in (overrides if isinstance(overrides, list) else []) if isinstance(o, dict)),
    ]
    prompt, completion = _dollars(prices.get("prompt")), _dollars(prices.get("completion"))
    if prompt is None or completion is None:
        return None
    return Pricing(
        prompt=_highest(levels, _PER_TOKEN_OF_PROMPT),
        completion=_highest(levels, _PER_TOKEN_OF_COMPLETION),
        request=_highest(levels, ("request",)),
        image=_highest(levels, ("image",)),
        cached=_dollars(prices.get("input_cache_read")),
    )


def _highest(levels: Iterable[Mapping[str, JsonValue]], names: Iterable[str]) -> Decimal:
    known = [_dollars(level.get(name)) for level in levels for name in names]
    return max((price for price in known if price is not None), default=Decimal(0))


def _dollars(value: JsonValue) -> Decimal | None:
    """An amount; `None` where there is none, or it is negative (a router's: depends)."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        return None
    return amount if amount.is_finite() and amount >= 0 else None
