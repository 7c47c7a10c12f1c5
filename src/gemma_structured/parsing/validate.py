"""Reads a model's whole answer: strict JSON, then the full JSON Schema, then Pydantic."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NoReturn, TypeVar, cast

from pydantic import ValidationError

from gemma_structured.exceptions import OutputValidationError
from gemma_structured.schema.json_schema import JsonSchema
from gemma_structured.types import Issue, JsonValue

if TYPE_CHECKING:
    from gemma_structured.schema.output_type import OutputType

__all__ = ["validate"]

T = TypeVar("T")


def validate(output_type: OutputType[T], text: str, *, context: object = None) -> T:
    """Turn a model's text into the value that it stands for.

    Args:
        output_type: What was asked for.
        text: The whole answer.
        context: Handed to Pydantic's validators as `info.context`.

    Raises:
        OutputValidationError: It is not that; `issues` holds everything that is wrong.
    """
    term = output_type.term
    if not isinstance(term, JsonSchema):
        if not term.matches(text):
            issue = Issue(message=term._expectation(), found=text[:200], source="grammar")
            raise OutputValidationError(text=text, issues=[issue])
        return cast("T", text)
    try:
        value: JsonValue = json.loads(text, parse_constant=_refuse_constant)
    except ValueError as error:
        issue = Issue(message=f"not JSON: {error}", source="syntax")
        raise OutputValidationError(text=text, issues=[issue]) from None
    issues = [
        Issue(
            path=tuple(error.absolute_path),
            message=error.message,
            found=json.dumps(error.instance)[:200],
            keyword=str(error.validator),
        )
        for error in output_type.validator.iter_errors(value)
    ]
    if output_type.adapter is None and not issues:
        return cast("T", value)
    try:
        if not issues and output_type.adapter is not None:
            return output_type.adapter.validate_json(text, context=context)
    except ValidationError as error:
        issues = [
            Issue(path=each["loc"], message=each["msg"], keyword=each["type"], source="pydantic")
            for each in error.errors()
        ]
    raise OutputValidationError(text=text, issues=issues)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")
