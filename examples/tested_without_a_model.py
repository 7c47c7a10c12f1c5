"""Tests of your own code: a model that says what the test tells it to."""

from pydantic import BaseModel

import gemma_structured as gs
from gemma_structured.testing import ScriptedModel


class Invoice(BaseModel):
    """What the bookkeeper needs."""

    number: str
    total: float


def total_of(model: gs.Model, texts: list[str]) -> float:
    """The code under test: it takes any model."""
    return sum(model.generate(text, Invoice).output.total for text in texts)


def test_totals_are_added_up() -> None:
    """Values become answers; a wrong answer first, to see it asked for again."""
    model = ScriptedModel(
        [Invoice(number="1", total=2.5), '{"number": "2"}', Invoice(number="2", total=4)]
    )
    assert total_of(model, ["invoice 1", "invoice 2"]) == 6.5
    assert model.requests[-1].issues


test_totals_are_added_up()
