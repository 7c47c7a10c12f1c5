"""Reads a model's whole answer: strict JSON, then the full JSON Schema, then Pydantic."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

from pydantic import ValidationError

from gemma_structured.exceptions import OutputValidationError
from gemma_structured.parsing.pydantic_issues import pydantic_issues
from gemma_structured.parsing.schema_issues import schema_issues
from gemma_structured.parsing.strict_json import EXACT_DIGITS, read_json
from gemma_structured.schema.ecma import MatchBudgetError
from gemma_structured.schema.json_schema import JsonSchema
from gemma_structured.types import Issue

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import TypeAdapter

    from gemma_structured.schema.code import Code
    from gemma_structured.schema.output_type import OutputType
    from gemma_structured.schema.terms import Choice, Lark, Regex

__all__ = ["validate"]

T = TypeVar("T")


def validate(output_type: OutputType[T], text: str, *, context: object = None) -> T:
    """Turn a model's text into the value that it stands for.

    Nothing is repaired. Of JSON, the schema is checked in full by its own draft, formats and
    ECMA-262 patterns included, whatever a grammar has enforced before; then Pydantic reads the
    text.

    Args:
        output_type: What was asked for.
        text: The whole answer.
        context: Handed to Pydantic's validators as `info.context`.

    Returns:
        The value; for a `JsonSchema` plain JSON, for a `Regex`, `Choice`, `Lark` or `Code` the
        text.

    Raises:
        OutputValidationError: It is not that; `issues` holds everything that is wrong.
        LoadError: A Lark grammar must be checked and llguidance is not installed.
        SchemaError: A Lark grammar is too large to check a text with.
    """
    term = output_type.term
    if not isinstance(term, JsonSchema):
        _check_text(term, text)
        return cast("T", text)
    read = read_json(text)
    if read.issues:
        raise _refusal(term, text, read.issues)
    try:
        issues = schema_issues(output_type.validator.iter_errors(cast("Any", read.value)))
    except RecursionError:
        issues = [Issue(message="is nested too deeply to be checked", keyword="depth")]
    adapter = output_type.adapter
    if adapter is None:
        if issues:
            raise _refusal(term, text, issues)
        return cast("T", read.value)
    try:
        exactly = read.long_fractions and output_type.reads_decimals
        output = _read_exactly(adapter, text, context, exactly=exactly)
    except ValidationError as error:
        issues += pydantic_issues(error, read.value, issues)
        raise _refusal(term, text, issues) from None
    if issues:
        raise _refusal(term, text, issues)
    return output


def _refusal(schema: JsonSchema, text: str, issues: Sequence[Issue]) -> OutputValidationError:
    """The error, its issues told which keys of their paths are not the schema's but the model's."""
    declared: set[str] = set()
    for _, node in schema.walk():
        properties = node.get("properties") if isinstance(node, dict) else None
        declared.update(properties if isinstance(properties, dict) else ())
    told: list[Issue] = []
    for issue in issues:
        keys = {key for key in issue.path if isinstance(key, str)}
        told.append(replace(issue, undeclared=frozenset(keys - declared)))
    return OutputValidationError(text=text, issues=told)


def _check_text(term: Regex | Choice | Lark | Code, text: str) -> None:
    try:
        text.encode()
        message = term.fault(text)
        if message is None:
            return
    except UnicodeEncodeError:
        message = "holds half a surrogate pair"
    except MatchBudgetError:
        message = "cannot be checked in bounded time"
    found = text if len(text) <= 200 else f"{text[:199]}…"  # noqa: PLR2004 - what an issue shows
    issue = Issue(message=message, found=found, expected=repr(term)[:200], source="grammar")
    raise OutputValidationError(text=text, issues=[issue])


def _read_exactly(adapter: TypeAdapter[T], text: str, context: object, *, exactly: bool) -> T:
    """Let Pydantic read the text.

    Args:
        adapter: Pydantic's reader.
        text: The JSON.
        context: For its validators.
        exactly: Whether long fractions go in as strings: Pydantic reads a number by way of a
            double, and a string digit by digit.
    """
    if exactly:
        written = json.loads(text, parse_float=lambda s: s if len(s) > EXACT_DIGITS else float(s))
        try:
            return adapter.validate_json(json.dumps(written), context=context)
        except ValidationError:
            pass
    return adapter.validate_json(text, context=context)
