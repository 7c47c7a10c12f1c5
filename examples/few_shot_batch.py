"""One task, many documents: compiled once, and the fixed part of the prompt is read once."""

from pydantic import BaseModel, Field

import gemma_structured as gs


class Person(BaseModel):
    """Somebody who is named in a text."""

    name: str = Field(max_length=30)
    age: int = Field(ge=0, le=120)


model = gs.LocalModel("embedded")
read_person = model.compile(
    Person,
    instruction="Find the person and the age.",
    examples=[
        gs.Example("Ada Brown turned 36 last week.", Person(name="Ada Brown", age=36)),
        gs.Example("At 9, Leo Diaz won the race.", Person(name="Leo Diaz", age=9)),
    ],
    max_tokens=64,
)

texts = [
    "Mia Chen, 42, is our new baker.",
    "The oldest member is Otto Lang, who is 91.",
    "Nobody is named here.",
]
for text, result in zip(texts, read_person.batch(texts, errors="return"), strict=True):
    if isinstance(result, gs.GemmaStructuredError):
        print(f"{text!r} failed: {result}")
    else:
        print(f"{text!r}: {result.output!r}, {result.usage.cached_tokens} tokens from the cache")
