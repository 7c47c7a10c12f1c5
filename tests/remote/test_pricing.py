"""Prices are read leniently and bound strictly."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from gemma_structured.budget import Budget, Spending
from gemma_structured.remote.price_list import PriceList
from gemma_structured.remote.pricing import Pricing, Quote, parse_endpoints, parse_models
from gemma_structured.types import Usage

prices = st.decimals(min_value=0, max_value=1, places=8)
pricings = st.builds(Pricing, prompt=prices, completion=prices, request=prices)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["data", "endpoints", "pricing", "prompt", "id"]), inner, max_size=4
        )
    ),
    max_leaves=10,
)


@given(endpoints=st.lists(pricings, min_size=1, max_size=4), prompt=st.integers(0, 1000),
       completion=st.integers(0, 1000), data=st.data())  # fmt: skip
def test_the_dearest_price_bounds_every_endpoint(endpoints, prompt, completion, data):
    """Whoever answers, with however many tokens below the bound, it costs no more."""
    bound = Pricing.dearest(endpoints).bound(prompt_tokens=prompt, max_tokens=completion)
    for endpoint in endpoints:
        usage = Usage(
            prompt_tokens=data.draw(st.integers(0, prompt)),
            sampled_tokens=data.draw(st.integers(0, completion)),
        )
        assert endpoint.cost(usage) <= bound


def test_a_list_of_models_is_read():
    """Prices are dollars a token, as texts; what has none, or a router's, has no price."""
    body = {
        "data": [
            {"id": "a", "pricing": {"prompt": "0.0000001", "completion": "0.0000004", "input_cache_read": "0.00000001"},
             "context_length": 1000, "supported_parameters": ["tools", 5]},
            {"id": "router", "pricing": {"prompt": "-1", "completion": "-1"}},
            {"id": "bare"},
            "odd",
        ]
    }  # fmt: skip
    models = parse_models(body)
    assert models["a"].pricing == Pricing(
        prompt=Decimal("0.0000001"), completion=Decimal("0.0000004"), cached=Decimal("0.00000001")
    )
    assert models["a"].context_length == 1000
    assert models["a"].supported_parameters == {"tools"}
    assert models["router"].pricing is models["bare"].pricing is None


def test_overrides_and_dear_kinds_of_tokens_raise_the_bound():
    """A long prompt's price, a cache write's and a thought's count where they are higher."""
    body = {"data": {"endpoints": [
        {"pricing": {"prompt": "1", "completion": "2", "internal_reasoning": "5", "input_cache_write": "1.25",
                     "overrides": [{"min_prompt_tokens": 200000, "prompt": "3"}]}},
        {"pricing": {"prompt": "2", "completion": "1", "request": "0.5"}},
    ]}}  # fmt: skip
    assert parse_endpoints(body) == Pricing(
        prompt=Decimal(3), completion=Decimal(5), request=Decimal("0.5")
    )


def test_an_endpoint_without_a_price_leaves_the_model_without_one():
    """A bound that misses an endpoint is none."""
    assert (
        parse_endpoints(
            {"data": {"endpoints": [{"pricing": {"prompt": "1", "completion": "1"}}, {}]}}
        )
        is None
    )
    assert parse_endpoints({"data": {"endpoints": []}}) is None
    assert parse_endpoints({}) is None


@given(body=st.dictionaries(st.sampled_from(["data", "x"]), json_values, max_size=2))
def test_any_body_is_read_or_left(body):
    """Nothing a server lists makes reading fail."""
    parse_models(body)
    parse_endpoints(body)


def test_max_price_caps_the_bound():
    """The provider option is in dollars a million tokens."""
    price = Pricing(prompt=Decimal("0.000002"), completion=Decimal("0.000002"), request=Decimal(1))
    capped = price.limited({"prompt": 1.0, "request": 0.5})
    assert capped == Pricing(
        prompt=Decimal("0.000001"), completion=Decimal("0.000002"), request=Decimal("0.5")
    )
    assert price.limited(None) is price


def test_a_quote_settles_at_what_the_server_says_or_at_its_tokens():
    """A cost, else counts at the price, else the bound."""
    price = Pricing(prompt=Decimal("0.1"), completion=Decimal("0.2"))
    for usage, cost, tokens in (
        (Usage(prompt_tokens=2, sampled_tokens=1, cost=Decimal("0.3")), "0.3", 3),
        (Usage(prompt_tokens=2, sampled_tokens=1), "0.4", 3),
        (Usage(), "3.0", 20),
    ):
        budget = Budget(max_cost=100)
        quote = Quote(budget=budget, prompt_tokens=10, max_tokens=10, pricing=price)
        quote.settle(quote.reserve("m"), usage)
        assert budget.spent == Spending(cost=Decimal(cost), tokens=tokens, requests=1)


def test_prices_are_kept_for_an_hour(monkeypatch):
    """Then they are asked for again; what was not found is not kept."""
    prices = PriceList()
    prices.put("a", Pricing())
    prices.put("b", None)
    prices.listed = {}
    assert prices.has("a")
    assert not prices.has("b")
    assert prices.listed == {}
    monkeypatch.setattr("gemma_structured.remote.price_list._PRICES_LAST", 0.0)
    assert not prices.has("a")
    assert prices.listed is None
