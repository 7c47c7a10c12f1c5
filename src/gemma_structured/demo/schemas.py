"""The output types of the demo, one for each of its documents."""

from __future__ import annotations

from datetime import date, datetime  # noqa: TC003 (Pydantic reads the annotations)
from typing import Annotated, Literal

from pydantic import BaseModel, Field

__all__ = [
    "Accident",
    "HotelReview",
    "Incident",
    "Invoice",
    "JobAdvert",
    "Minutes",
    "Recipe",
    "SupportTicket",
    "Termination",
    "Widerspruch",
]

Currency = Literal["EUR", "GBP", "USD", "CHF"]
Amount = Annotated[float, Field(ge=0, le=100_000)]


class LineItem(BaseModel):
    """One position of an invoice."""

    description: str = Field(max_length=60)
    quantity: int = Field(ge=1, le=10_000)
    unit_price: Amount


class Invoice(BaseModel):
    """An invoice as the bookkeeper needs it."""

    number: str = Field(description="The invoice number, as printed", max_length=20)
    seller: str = Field(max_length=80)
    buyer: str = Field(max_length=80)
    issued: date
    due: date = Field(description="The last day on which to pay")
    currency: Currency
    items: list[LineItem] = Field(min_length=1, max_length=6)
    total: Amount = Field(description="What has to be paid in all")


class SupportTicket(BaseModel):
    """A customer's mail, sorted for the help desk."""

    customer: str = Field(description="Name of the sender", max_length=60)
    account: str = Field(description="The account number", max_length=20)
    category: Literal["billing", "fault", "question", "feature request"]
    urgency: Literal["low", "normal", "high"]
    version: str = Field(description="The version with the problem", pattern=r"^\d+\.\d+\.\d+$")
    call_back: str = Field(description="Telephone number", pattern=r"^\+[0-9 ]{6,20}$")


class Accident(BaseModel):
    """An accident at sea, as a news item reports it."""

    ship: str = Field(max_length=60)
    accident: Literal["collision", "fire", "grounding", "sinking"]
    place: str = Field(max_length=60)
    operator: str = Field(max_length=60)
    people_aboard: int = Field(description="Passengers and crew", ge=0, le=10_000)
    deaths: int = Field(ge=0, le=10_000)


class Ingredient(BaseModel):
    """What goes into a dish, and how much of it."""

    amount: str = Field(max_length=20)
    name: str = Field(max_length=60)


class Recipe(BaseModel):
    """A recipe without its story."""

    title: str = Field(max_length=80)
    serves: int = Field(ge=1, le=100)
    oven_celsius: int | None = Field(description="None if nothing is baked", ge=50, le=300)
    ingredients: list[Ingredient] = Field(min_length=1, max_length=12)
    allergens: list[Literal["gluten", "eggs", "milk", "nuts", "fish", "soy"]] = Field(max_length=6)


class JobAdvert(BaseModel):
    """The facts of a job advert."""

    title: str = Field(max_length=80)
    employer: str = Field(max_length=80)
    place: str = Field(max_length=60)
    hours_per_week: float = Field(ge=1, le=60)
    currency: Currency
    salary_from: int = Field(description="A year", ge=0, le=1_000_000)
    salary_to: int = Field(description="A year", ge=0, le=1_000_000)
    closes: date = Field(description="The last day to apply")


class Termination(BaseModel):
    """How a contract ends."""

    provider: str = Field(max_length=60)
    customer: str = Field(max_length=60)
    begins: date
    initial_months: int = Field(ge=1, le=600)
    notice_days: int = Field(description="Notice of non-renewal", ge=0, le=3650)
    fee_currency: Currency
    fee: int = Field(description="For termination without cause", ge=0, le=100_000_000)
    law: str = Field(description="The country whose law governs", max_length=40)


class Incident(BaseModel):
    """What went wrong, from a log excerpt."""

    service: str = Field(max_length=40)
    error: str = Field(description="The error's name", max_length=40)
    first_error_at: datetime
    request_ids: list[Annotated[str, Field(pattern=r"^[0-9a-f]{6}$")]] = Field(max_length=5)
    severity: Literal["info", "warning", "critical"]
    resolved: bool


class Widerspruch(BaseModel):
    """Ein Brief, mit dem jemand einer Rechnung widerspricht."""

    absender: str = Field(description="Wer schreibt", max_length=60)
    empfaenger: str = Field(description="An wen", max_length=60)
    kundennummer: str = Field(pattern=r"^[0-9 ]{5,15}$")
    rechnung_vom: date
    betrag_euro: Amount
    frist: date = Field(description="Bis wann zu antworten ist")


class Action(BaseModel):
    """Something that a person has promised to do."""

    who: str = Field(max_length=30)
    what: str = Field(max_length=80)


class Minutes(BaseModel):
    """What a meeting decided."""

    body: str = Field(description="Who met", max_length=80)
    held: date
    chair: str = Field(max_length=40)
    actions: list[Action] = Field(min_length=1, max_length=6)
    next_meeting: date


class HotelReview(BaseModel):
    """A guest's review, reduced to what can be counted."""

    hotel: str = Field(max_length=60)
    city: str = Field(max_length=40)
    nights: int = Field(ge=1, le=60)
    price_per_night: Amount
    stars: int = Field(ge=1, le=5)
    would_return: bool
