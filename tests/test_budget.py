"""The budget: what is spent never passes it."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemma_structured.budget import Budget, Spending
from gemma_structured.exceptions import BudgetExceededError, InputError

amounts = st.decimals(min_value=0, max_value=5, places=4)


@given(
    limit=amounts,
    requests=st.lists(st.tuples(amounts, st.floats(0, 1), st.integers(0, 3)), max_size=40),
    seed=st.integers(0, 1000),
)
@settings(max_examples=50, deadline=None)
def test_threads_never_pass_the_budget(limit, requests, seed):
    """Whatever the order and outcome, settled costs and reservations stay within the limit."""
    budget = Budget(max_cost=limit)
    shuffled = random.Random(seed).sample(requests, len(requests))

    def spend(request):
        bound, share, outcome = request
        try:
            with budget.reserve(tokens=1, cost=bound) as reservation:
                assert budget.spent.cost <= limit
                if outcome == 0:
                    reservation.settle(cost=bound * Decimal(str(share)), tokens=1)
                elif outcome == 1:
                    reservation.release()
                elif outcome == 2:
                    reservation.cancel()
        except BudgetExceededError:
            return False
        return True

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(spend, shuffled))
    assert budget.spent.cost <= limit
    assert budget.reserved == Spending()
    assert budget.remaining_cost == limit - budget.spent.cost


@given(limit=st.integers(0, 30), calls=st.integers(0, 60))
def test_requests_are_counted_exactly(limit, calls):
    """Exactly `max_requests` requests get through, also when the server refuses them."""
    budget = Budget(max_requests=limit)
    let_through = 0
    for _ in range(calls):
        try:
            budget.reserve(tokens=5, cost=None).release()
            let_through += 1
        except BudgetExceededError:
            pass
    assert let_through == min(limit, calls) == budget.spent.requests
    assert budget.spent.tokens == 0


def test_a_reservation_blocks_what_could_pass():
    """A request under way counts in full until it is settled at less."""
    budget = Budget(max_tokens=100)
    first = budget.reserve(tokens=80, cost=None)
    with pytest.raises(BudgetExceededError, match="80 reserved"):
        budget.reserve(tokens=30, cost=None, model_name="some/model")
    first.settle(cost=None, tokens=10)
    budget.reserve(tokens=30, cost=None).settle(cost=None, tokens=30)
    assert budget.spent == Spending(tokens=40, requests=2)


def test_only_the_first_settlement_counts():
    """Settling twice, or leaving after settling, changes nothing."""
    budget = Budget(max_cost=1)
    with budget.reserve(tokens=9, cost=Decimal("0.5")) as reservation:
        reservation.settle(cost=Decimal("0.1"), tokens=3)
        reservation.settle(cost=Decimal("0.4"), tokens=9)
        reservation.release()
    assert budget.spent == Spending(cost=Decimal("0.1"), tokens=3, requests=1)


def test_an_unsettled_request_counts_in_full():
    """A request whose answer never arrived may have been billed: its bound is spent."""
    budget = Budget(max_cost=1)
    with pytest.raises(RuntimeError), budget.reserve(tokens=9, cost=Decimal("0.75")):
        raise RuntimeError
    assert budget.spent == Spending(cost=Decimal("0.75"), tokens=9, requests=1)
    with pytest.raises(BudgetExceededError):
        budget.reserve(tokens=1, cost=Decimal("0.26"))


def test_an_unknown_price_is_refused_unless_allowed():
    """With a cost limit, a price must be known; without one it need not be."""
    with pytest.raises(BudgetExceededError, match="not known"):
        Budget(max_cost=1).reserve(tokens=1, cost=None)
    Budget(max_tokens=10).reserve(tokens=1, cost=None).cancel()
    budget = Budget(max_cost=1, allow_unknown_price=True)
    budget.reserve(tokens=1, cost=None).settle(cost=Decimal(2), tokens=1)
    with pytest.raises(BudgetExceededError):
        budget.reserve(tokens=1, cost=None)


def test_a_cost_above_its_bound_is_recorded_and_stops_the_next():
    """A server that bills more than the bound is believed, and nothing more is sent."""
    budget = Budget(max_cost="0.10")
    budget.reserve(tokens=1, cost=Decimal("0.05")).settle(cost=Decimal("0.20"), tokens=1)
    assert budget.spent.cost == Decimal("0.20")
    with pytest.raises(BudgetExceededError):
        budget.reserve(tokens=0, cost=Decimal(0))


def test_a_float_is_read_as_printed():
    """0.1 means ten cents, not the nearest binary fraction."""
    assert Budget(max_cost=0.1).remaining_cost == Decimal("0.1")
    assert Budget().remaining_cost is None
    assert "max_cost=0.1" in repr(Budget(max_cost=0.1))


@pytest.mark.parametrize(
    "bad", [-1, "-0.01", "NaN", float("nan"), float("inf"), "abc", "", "1e999x"]
)
def test_hostile_limits_are_refused(bad):
    """What is no amount of money is an `InputError` at once."""
    with pytest.raises(InputError, match="budget"):
        Budget(max_cost=bad)


@pytest.mark.parametrize("name", ["max_tokens", "max_requests"])
def test_negative_counts_are_refused(name):
    """Counts below zero are refused."""
    with pytest.raises(InputError, match="negative"):
        Budget(**{name: -1})
