"""Every way in which a call can fail has an error of its own."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field

import gemma_structured as gs


def refuse(value: str) -> str:
    """A rule that only Python knows, and that nothing here satisfies."""
    raise ValueError(f"{value!r} is not one of our customers")


class Order(BaseModel):
    """An order by a known customer."""

    customer: Annotated[str, Field(max_length=12), AfterValidator(refuse)]


model = gs.LocalModel("embedded")

try:
    model.generate("Ann orders tea.", Order, max_attempts=2, max_tokens=64)
except gs.OutputValidationError as error:
    print(f"{len(error.attempts)} attempts, the last one: {error.text}")
    print(error.issues[0].pointer, error.issues[0].message)

try:
    model.generate("Write very long names.", list[str], max_tokens=5)
except gs.IncompleteOutputError as error:
    print(f"cut after {error.usage.completion_tokens} tokens: {error.text!r}")

try:
    model.generate("tea", Order, timeout=0)
except gs.DeadlineExceededError as error:
    print(error)

try:
    gs.JsonSchema({"type": "object", "properties": {"n": {"type": "int"}}})
except gs.SchemaError as error:
    print(error)
