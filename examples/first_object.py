"""A typed object from a text, in one call."""

from datetime import date
from typing import Literal

from pydantic import BaseModel, Field

import gemma_structured as gs


class Order(BaseModel):
    """What a customer orders."""

    customer: str = Field(max_length=40)
    item: str = Field(max_length=40)
    quantity: int = Field(ge=1, le=999)
    deliver_on: date
    priority: Literal["normal", "express"]


model = gs.LocalModel("embedded")
result = model.generate(
    "Hi, this is Nora Feld. Please send me 12 oak shelves by 2025-09-30, express if you can!",
    Order,
    instruction="Read the order.",
    examples=[
        gs.Example(
            "Tom Birk here. I would like 3 brass lamps on 2025-02-11, no hurry.",
            Order(
                customer="Tom Birk",
                item="brass lamps",
                quantity=3,
                deliver_on=date(2025, 2, 11),
                priority="normal",
            ),
        ),
        gs.Example(
            "Good morning, Eva Lund speaking: 40 paper bags for 2025-07-04. It is urgent, express!",
            Order(
                customer="Eva Lund",
                item="paper bags",
                quantity=40,
                deliver_on=date(2025, 7, 4),
                priority="express",
            ),
        ),
    ],
)
print(result.output)
print(result.usage)
