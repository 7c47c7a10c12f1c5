"""Asynchronous calls: the same names with an `a`."""

import asyncio

from pydantic import BaseModel, Field

import gemma_structured as gs


class Trip(BaseModel):
    """From where to where somebody travels."""

    start: str = Field(max_length=20)
    goal: str = Field(max_length=20)


async def main() -> None:
    """Read three trips at once; a local model decodes them together."""
    model = gs.LocalModel("embedded")
    read_trip = model.compile(
        Trip,
        instruction="Find the start and the goal of the trip.",
        examples=[
            gs.Example("I go from Rome to Oslo.", Trip(start="Rome", goal="Oslo")),
            gs.Example("We left Lima for Quito.", Trip(start="Lima", goal="Quito")),
        ],
        max_tokens=64,
    )
    texts = [
        "She flew from Cairo to Delhi.",
        "He rode from Ulm to Graz.",
        "They sail Riga to Kiel.",
    ]
    for result in await asyncio.gather(*map(read_trip.acall, texts)):
        print(result.output)


asyncio.run(main())
