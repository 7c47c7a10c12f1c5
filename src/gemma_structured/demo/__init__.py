"""Documents of different kinds, each with an output type, examples and what is expected."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from gemma_structured.demo import schemas
from gemma_structured.types import Example

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.resources.abc import Traversable

    from pydantic import BaseModel

    from gemma_structured.parsing.closed import Path
    from gemma_structured.types import JsonValue

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
        return (_FOLDER / "documents" / f"{self.name}.txt").read_text("utf-8").rstrip()

    @property
    def examples(self) -> tuple[Example[BaseModel], ...]:
        """Smaller documents of the same kind, with what is to be read from them."""
        lines = (_FOLDER / "examples" / f"{self.name}.jsonl").read_text("utf-8").splitlines()
        records = (json.loads(line) for line in lines)
        return tuple(
            Example(record["input"], self.output_type.model_validate(record["output"]))
            for record in records
        )

    @property
    def expected(self) -> BaseModel:
        """What a person would read from the document."""
        text = (_FOLDER / "expected" / f"{self.name}.json").read_text("utf-8")
        return self.output_type.model_validate_json(text)

    def count_right(self, output: BaseModel) -> tuple[int, int]:
        """How many of the expected values an output has in their places, and how many there are."""
        found = dict(_leaves(output.model_dump(mode="json")))
        expected = dict(_leaves(self.expected.model_dump(mode="json")))
        right = sum(found.get(path, _NOTHING) == value for path, value in expected.items())
        return right, len(expected)


_NOTHING: Final = object()


def _leaves(value: JsonValue, path: Path = ()) -> Iterator[tuple[Path, JsonValue]]:
    if isinstance(value, dict | list):
        members = value.items() if isinstance(value, dict) else enumerate(value)
        for key, member in members:
            yield from _leaves(member, (*path, key))
    else:
        yield path, value


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
