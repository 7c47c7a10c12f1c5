"""What the throughput benchmark extracts: three kinds of schema, and documents for them."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

from pydantic import BaseModel, Field

import gemma_structured as gs

__all__ = ["KINDS", "Kind", "documents"]

_PEOPLE = [
    "Priya Nair",
    "Joao Lima",
    "Marta Kowalska",
    "Yusuf Demir",
    "Ingrid Solberg",
    "Anna Berg",
]
_PRODUCTS = ["Falcon R7 router", "Breeze 200 fan", "Northwind DW-55 dishwasher", "Summit backpack"]
_FAULTS = [
    "drops the connection every hour since the last update",
    "hums loudly at the lowest speed",
    "leaks water onto the floor since yesterday evening",
    "has a broken zip after two weeks of use",
]
_TOWNS = ["Lisbon", "Gdansk", "Izmir", "Bergen", "Pune"]
_ARTICLES = ["desk lamp", "office chair", "note books", "ring binders", "monitor arm"]


class Ticket(BaseModel):
    """A support ticket: mostly copied from its mail."""

    customer: str = Field(max_length=40)
    product: str = Field(max_length=40)
    problem: str = Field(max_length=120)
    town: str = Field(max_length=40)


class Triage(BaseModel):
    """A judgement in fixed words."""

    topic: Literal["delivery", "quality", "billing", "advice"]
    sentiment: Literal["angry", "neutral", "pleased"]
    urgency: Literal["low", "normal", "high"]
    channel: Literal["phone", "mail", "letter"]
    wants_refund: bool
    is_returning_customer: bool


class Line(BaseModel):
    """A position of an order."""

    article: str = Field(max_length=40)
    quantity: int = Field(ge=1, le=999)


class Address(BaseModel):
    """Where to."""

    name: str = Field(max_length=40)
    town: str = Field(max_length=40)


class Order(BaseModel):
    """A nested object with a list."""

    number: str = Field(pattern=r"^[A-Z]{2}-[0-9]{4}$")
    ordered_on: date
    bill_to: Address
    ship_to: Address
    lines: list[Line] = Field(min_length=1, max_length=4)
    express: bool


@dataclass(frozen=True, slots=True)
class Kind:
    """A schema with its instruction and examples."""

    name: str
    output_type: type[BaseModel]
    instruction: str
    examples: tuple[gs.Example, ...]


def _mail(rng: random.Random) -> tuple[str, dict[str, object]]:
    who, what, fault = rng.choice(_PEOPLE), rng.choice(_PRODUCTS), rng.choice(_FAULTS)
    town = rng.choice(_TOWNS)
    text = (
        f"Dear team, my name is {who} and I write from {town}. The {what} that I bought from you "
        f"{fault}. {rng.choice(['Please call me soon.', 'An answer by mail is fine.'])}"
    )
    return text, {"customer": who, "product": what, "problem": fault, "town": town}


def _order(rng: random.Random) -> tuple[str, dict[str, object]]:
    number = f"{rng.choice('ABC')}{rng.choice('XYZ')}-{rng.randint(1000, 9999)}"
    day = date(2026, 1, 1) + timedelta(days=rng.randrange(300))
    bill, ship = rng.sample(_PEOPLE, 2)
    towns = rng.sample(_TOWNS, 2)
    lines = [
        {"article": article, "quantity": rng.randint(1, 40)}
        for article in rng.sample(_ARTICLES, rng.randint(1, 3))
    ]
    express = rng.random() < 0.5
    listed = ", ".join(f"{line['quantity']} x {line['article']}" for line in lines)
    text = (
        f"Order {number} of {day.isoformat()}: {listed}. Bill to {bill}, {towns[0]}; ship to {ship}, "
        f"{towns[1]}, {'by express' if express else 'by normal post'}."
    )
    return text, {
        "number": number,
        "ordered_on": day.isoformat(),
        "bill_to": {"name": bill, "town": towns[0]},
        "ship_to": {"name": ship, "town": towns[1]},
        "lines": lines,
        "express": express,
    }


def _examples(kind: type[BaseModel], seed: int) -> tuple[gs.Example, ...]:
    rng = random.Random(seed)
    make = _order if kind is Order else _mail
    pairs = [make(rng) for _ in range(2)]
    return tuple(gs.Example(text, kind.model_validate(values)) for text, values in pairs)


_JUDGED = (
    gs.Example(
        "The kettle came broken and I want my money back today! Call me. You never learn.",
        Triage(
            topic="quality",
            sentiment="angry",
            urgency="high",
            channel="phone",
            wants_refund=True,
            is_returning_customer=True,
        ),
    ),
    gs.Example(
        "Could you tell me which lamp suits a small desk? A mail is enough, thank you.",
        Triage(
            topic="advice",
            sentiment="neutral",
            urgency="low",
            channel="mail",
            wants_refund=False,
            is_returning_customer=False,
        ),
    ),
)

KINDS = (
    Kind("copied", Ticket, "Read the mail and fill in the ticket.", _examples(Ticket, 1)),
    Kind("enums", Triage, "Judge the mail.", _JUDGED),
    Kind("nested", Order, "Read the order.", _examples(Order, 2)),
)


def documents(count: int, seed: int = 0) -> dict[str, list[str]]:
    """So many documents, spread over the kinds in portions of eight."""
    rng = random.Random(seed)
    spread: dict[str, list[str]] = {kind.name: [] for kind in KINDS}
    for portion in range(-(-count // 8)):
        kind = KINDS[portion % len(KINDS)]
        make = _order if kind.output_type is Order else _mail
        for _ in range(min(8, count - 8 * portion)):
            spread[kind.name].append(make(rng)[0])
    return spread
