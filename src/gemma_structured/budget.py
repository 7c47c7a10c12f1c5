"""A spending limit that many calls, threads and tasks share: reserve before, settle after."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from gemma_structured.exceptions import BudgetExceededError, InputError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

__all__ = ["Budget", "Reservation", "Spending"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """What requests cost, or may cost.

    Attributes:
        cost: US dollars.
        tokens: Tokens of prompts and completions.
        requests: Requests that were sent, those that failed included.
    """

    cost: Decimal = Decimal(0)
    tokens: int = 0
    requests: int = 0

    def __add__(self, other: Spending) -> Spending:
        """Add field by field."""
        return Spending(
            cost=self.cost + other.cost,
            tokens=self.tokens + other.tokens,
            requests=self.requests + other.requests,
        )

    def __sub__(self, other: Spending) -> Spending:
        """Take away field by field."""
        return Spending(
            cost=self.cost - other.cost,
            tokens=self.tokens - other.tokens,
            requests=self.requests - other.requests,
        )


class Budget:
    """The most that all the calls which share it may cost together.

    Before a request its upper bound is reserved, and refused where it could pass what is left;
    afterwards it is settled at the real cost. So what is spent never passes the budget as long as
    no request costs more than its bound, however many threads and tasks spend at once.

    One budget may be given to any number of models:

    ```python
    budget = gs.Budget(max_cost="0.50")
    model = gs.OpenRouterModel("google/gemma-4-26b-a4b-it", budget=budget)
    ```

    Args:
        max_cost: US dollars; a float is read as it is printed.
        max_tokens: Tokens of prompts and completions.
        max_requests: Requests to the server; each attempt and each retry is one.
        allow_unknown_price: Let requests through whose price is not known. They count as free
            until the server says what they cost.

    Raises:
        InputError: A limit is negative or not a number.
    """

    __slots__ = ("_lock", "_reserved", "_spent", "allow_unknown_price", "limits")

    def __init__(
        self,
        *,
        max_cost: Decimal | float | str | None = None,
        max_tokens: int | None = None,
        max_requests: int | None = None,
        allow_unknown_price: bool = False,
    ) -> None:
        self.limits = (_dollars(max_cost), max_tokens, max_requests)
        for limit in (max_tokens, max_requests):
            if limit is not None and limit < 0:
                raise InputError(f"A budget must not be negative, and {limit} is.")
        self.allow_unknown_price = allow_unknown_price
        self._lock = threading.Lock()
        self._spent = Spending()
        self._reserved = Spending()

    def __repr__(self) -> str:
        cost, tokens, requests = self.limits
        return (
            f"Budget(max_cost={cost}, max_tokens={tokens}, max_requests={requests}, "
            f"spent={self.spent})"
        )

    @property
    def has_cost_limit(self) -> bool:
        """Whether money is limited, so that prices must be known."""
        return self.limits[0] is not None

    @property
    def spent(self) -> Spending:
        """What settled requests have cost."""
        with self._lock:
            return self._spent

    @property
    def reserved(self) -> Spending:
        """What the requests under way may cost at most."""
        with self._lock:
            return self._reserved

    @property
    def remaining_cost(self) -> Decimal | None:
        """Dollars neither spent nor reserved; `None` without a limit."""
        with self._lock:
            limit = self.limits[0]
            return None if limit is None else limit - self._spent.cost - self._reserved.cost

    def reserve(
        self, *, tokens: int, cost: Decimal | None, model_name: str | None = None
    ) -> Reservation:
        """Set aside the most that one request may cost.

        Args:
            tokens: The most tokens of its prompt and completion.
            cost: The most dollars; `None` where no price is known.
            model_name: Who would be asked, for the error.

        Raises:
            BudgetExceededError: It could pass the budget, or its price is not known.
        """
        if cost is None and self.has_cost_limit and not self.allow_unknown_price:
            raise BudgetExceededError(
                "The price of this model is not known, so a cost limit cannot be kept.",
                hint="Give `price=`, or `Budget(allow_unknown_price=True)`.",
                model_name=model_name,
            )
        bound = Spending(cost=cost or Decimal(0), tokens=tokens, requests=1)
        with self._lock:
            self._refuse_if_beyond(bound, model_name)
            self._reserved += bound
        return Reservation(self, bound)

    def _refuse_if_beyond(self, bound: Spending, model_name: str | None) -> None:
        total = self._spent + self._reserved + bound
        checks = zip(
            ("cost in dollars", "tokens", "requests"),
            self.limits,
            (total.cost, total.tokens, total.requests),
            (bound.cost, bound.tokens, bound.requests),
            (self._spent.cost, self._spent.tokens, self._spent.requests),
            (self._reserved.cost, self._reserved.tokens, self._reserved.requests),
            strict=True,
        )
        for unit, limit, sum_, wanted, spent, reserved in checks:
            if limit is not None and sum_ > limit:
                raise BudgetExceededError(
                    f"The budget of {limit} ({unit}) could be passed: this request may need "
                    f"{wanted}, {spent} are spent and {reserved} reserved by requests under way.",
                    hint="Raise the budget, or lower `max_tokens`.",
                    model_name=model_name,
                )

    def _settle(self, bound: Spending, real: Spending) -> None:
        with self._lock:
            self._reserved -= bound
            self._spent += real


class Reservation:
    """What one request may cost at most, until it is settled.

    A reservation that is left (as a context manager) without being settled counts in full: the
    request may have been billed though its answer never arrived.
    """

    __slots__ = ("_budget", "_lock", "_settled", "bound")

    def __init__(self, budget: Budget, bound: Spending) -> None:
        self.bound = bound
        self._budget = budget
        self._lock = threading.Lock()
        self._settled = False

    def settle(self, *, cost: Decimal | None, tokens: int | None) -> None:
        """Replace the bound by what the request really cost; `None` keeps the bound.

        Only the first settlement counts.
        """
        bound = self.bound
        self._finish(
            Spending(
                cost=bound.cost if cost is None else cost,
                tokens=bound.tokens if tokens is None else tokens,
                requests=bound.requests,
            )
        )

    def release(self) -> None:
        """Give back the money and the tokens: the server refused, so nothing is billed."""
        self._finish(Spending(requests=self.bound.requests))

    def cancel(self) -> None:
        """Give back everything: the request was not sent."""
        self._finish(Spending())

    def _finish(self, real: Spending) -> None:
        with self._lock:
            if self._settled:
                return
            self._settled = True
        # The two classes are one mechanism.
        self._budget._settle(self.bound, real)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._finish(self.bound)


def _dollars(amount: Decimal | float | str | None) -> Decimal | None:
    """Read an amount of money.

    Raises:
        InputError: It is negative or not a finite number.
    """
    if amount is None:
        return None
    try:
        dollars = Decimal(str(amount))
    except InvalidOperation:
        raise InputError(f"A budget must be a number of dollars, not {amount!r}.") from None
    if not dollars.is_finite() or dollars < 0:
        raise InputError(f"A budget must be a finite number of dollars ≥ 0, not {amount!r}.")
    return dollars
