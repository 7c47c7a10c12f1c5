"""What may be asked for: Python types, and terms for JSON Schemas and plain text."""

from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Literal

from pydantic import BaseModel, Field

import gemma_structured as gs


class Mood(Enum):
    """How a text sounds."""

    GLAD = "glad"
    ANGRY = "angry"


@dataclass
class Point:
    """A place on a map."""

    x: Annotated[int, Field(ge=0, le=99)]
    y: Annotated[int, Field(ge=0, le=99)]


class Refund(BaseModel):
    """The customer wants money back."""

    kind: Literal["refund"]
    amount: Annotated[int, Field(ge=0, le=9999)]


class Question(BaseModel):
    """The customer asks something."""

    kind: Literal["question"]
    about: Annotated[str, Field(max_length=30)]


model = gs.LocalModel("embedded")
text = "Give me my 25 euros back! The map says (3, 14), plate AB 1234, and nobody was there."

mood = model.generate(text, Mood).output
point = model.generate(text, Point).output
mail = model.generate(text, Refund | Question).output
flags = model.generate(text, dict[Literal["rude", "urgent"], bool]).output
plate = model.generate(text, gs.Regex(r"[A-Z]{2} \d{4}")).output
answer = model.generate(text, gs.Choice(["yes", "no", "perhaps"])).output
command = model.generate(text, gs.Lark('start: ("walk" | "run") " " /[0-9]{1,3}/ " m"')).output
data = model.generate(
    text,
    gs.JsonSchema(
        {
            "type": "object",
            "properties": {"city": {"enum": ["Ulm", "Bonn"]}, "open": {"type": "boolean"}},
            "required": ["city", "open"],
            "additionalProperties": False,
        }
    ),
).output

for value in (mood, point, mail, flags, plate, answer, command, data):
    print(type(value).__name__, value)
assert isinstance(mood, Mood)
assert isinstance(point, Point)
assert isinstance(mail, Refund | Question)
