"""Ten documents of different kinds, with an output type and few-shot examples for each."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from gemma_structured.demo import schemas
from gemma_structured.types import Example

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from pydantic import BaseModel

__all__ = ["CASES", "Case"]

_FOLDER: Final[Traversable] = files("gemma_structured.demo")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A document and what is to be read from it.

    Attributes:
        name: The document's name, and that of its files.
        instruction: What to do with it.
        output_type: What is to be read from it.
    """

    name: str
    instruction: str
    output_type: type[BaseModel]

    @property
    def text(self) -> str:
        """The document."""
        return (_FOLDER / "documents" / f"{self.name}.txt").read_text("utf-8")

    @property
    def examples(self) -> tuple[Example[BaseModel], ...]:
        """Smaller documents of the same kind, with what is to be read from them."""
        lines = (_FOLDER / "examples" / f"{self.name}.jsonl").read_text("utf-8").splitlines()
        records = (json.loads(line) for line in lines)
        return tuple(
            Example(record["input"], self.output_type.model_validate(record["output"]))
            for record in records
        )


CASES: Final = (
    Case(
        name="invoice",
        instruction="Extract the invoice.",
        output_type=schemas.Invoice,
    ),
    Case(
        name="support_mail",
        instruction="Sort the customer's mail.",
        output_type=schemas.SupportTicket,
    ),
    Case(
        name="news_item",
        instruction="Extract the accident.",
        output_type=schemas.Accident,
    ),
    Case(
        name="recipe",
        instruction="Extract the recipe.",
        output_type=schemas.Recipe,
    ),
    Case(
        name="job_advert",
        instruction="Extract the job advert.",
        output_type=schemas.JobAdvert,
    ),
    Case(
        name="contract_clause",
        instruction="Extract how the contract ends.",
        output_type=schemas.Termination,
    ),
    Case(
        name="server_log",
        instruction="Extract the incident from the log.",
        output_type=schemas.Incident,
    ),
    Case(
        name="german_letter",
        instruction="Lies die Angaben aus dem Brief.",
        output_type=schemas.Widerspruch,
    ),
    Case(
        name="meeting_minutes",
        instruction="Extract what the meeting decided.",
        output_type=schemas.Minutes,
    ),
    Case(
        name="spanish_review",
        instruction="Extract the review.",
        output_type=schemas.HotelReview,
    ),
)
"""The demo's documents, in the order in which it shows them."""
