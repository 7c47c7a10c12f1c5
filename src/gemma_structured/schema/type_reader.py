"""Reads what a user gives as an output type: a term, or a Python type through Pydantic."""

from __future__ import annotations

import inspect
from typing import Any, cast

from pydantic import TypeAdapter
from pydantic.errors import PydanticUserError
from pydantic_core import SchemaError as CoreSchemaError

from gemma_structured.exceptions import SchemaError
from gemma_structured.schema.code import Code
from gemma_structured.schema.finite import check_finite
from gemma_structured.schema.json_schema import JsonSchema
from gemma_structured.schema.outlines_types import from_outlines
from gemma_structured.schema.terms import Choice, Lark, Regex
from gemma_structured.schema.type_names import find_fault, type_name
from gemma_structured.schema.type_schema import TypeSchemaGenerator
from gemma_structured.schema.typed_dicts import with_modern_typed_dicts

__all__ = ["read_term", "read_type"]

_SHOWN_OPTIONS = 5
_FAILURES = (
    AttributeError,
    CoreSchemaError,
    ImportError,
    NameError,
    PydanticUserError,
    TypeError,
    ValueError,
)


def read_term(spec: object) -> tuple[JsonSchema | Regex | Choice | Lark | Code, str] | None:
    """The term that was given, ours or outlines', with a name; `None` for a Python type.

    Raises:
        SchemaError: It cannot be used.
    """
    term = (
        spec if isinstance(spec, JsonSchema | Regex | Choice | Lark | Code) else from_outlines(spec)
    )
    if term is None:
        return None
    if isinstance(term, JsonSchema):
        check_finite(term)
        title = term.value.get("title") if isinstance(term.value, dict) else None
        return term, title if isinstance(title, str) and title.strip() else "JSON value"
    if isinstance(term, Choice):
        shown = ", ".join(map(repr, term.options[:_SHOWN_OPTIONS]))
        more = len(term.options) - _SHOWN_OPTIONS
        return term, f"Choice({shown}{f' and {more} more' if more > 0 else ''})"
    return term, type(term).__name__


def read_type(spec: object) -> tuple[JsonSchema, str, TypeAdapter[Any]]:
    """The schema, name and adapter of a Python type.

    Raises:
        SchemaError: Something in it cannot be read from JSON; the path says what.
    """
    if isinstance(spec, str):
        raise SchemaError(
            f"A string is not a type: {spec!r:.60}.", hint="Pass the class itself, not its name."
        )
    if isinstance(spec, dict):
        raise SchemaError(
            "A dict is not a type.", hint="A JSON Schema is given as JsonSchema({...})."
        )
    if inspect.isroutine(spec):
        raise SchemaError(
            f"The function {type_name(spec)} is not an output type.",
            hint="To let a model call it, make it a tool.",
        )
    modern = with_modern_typed_dicts(spec)
    try:
        adapter, schema = _adapt(modern)
    except SchemaError as error:
        raise _located(modern, error) from None
    check_finite(schema)
    return schema, type_name(spec), adapter


def _adapt(spec: object) -> tuple[TypeAdapter[Any], JsonSchema]:
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(cast("Any", spec))
        generated = adapter.json_schema(mode="validation", schema_generator=TypeSchemaGenerator)
    except SchemaError:
        raise
    except RecursionError:
        raise SchemaError("The type is nested too deeply, or has no end.") from None
    except _FAILURES as error:
        raise SchemaError(_reason(error), hint=_hint(error)) from None
    return adapter, JsonSchema(generated)


def _located(spec: object, error: SchemaError) -> SchemaError:
    """The same error with the path to the part of the type that is at fault."""
    if error.path:
        return error

    def is_bad(part: object) -> bool:
        try:
            _adapt(part)
        except SchemaError:
            return True
        return False

    path, part = find_fault(spec, is_bad)
    try:
        _adapt(part)
    except SchemaError as inner:
        error = inner
    return SchemaError(error.message, path=path, keyword=error.keyword, hint=error.hint)


def _reason(error: Exception) -> str:
    text = str(error).split("For further information", maxsplit=1)[0]
    text = text.split("Set `arbitrary_types_allowed", maxsplit=1)[0]
    return f"This type cannot be read from JSON: {' '.join(text.split()):.300}"


def _hint(error: Exception) -> str:
    text = str(error)
    if isinstance(error, NameError) or "not fully defined" in text:
        return "Define every class that it names first, or call model_rebuild()."
    if isinstance(error, ImportError):
        return "Install what Pydantic asks for."
    if "look-around" in text or "backreference" in text:
        return "Set ConfigDict(regex_engine='python-re'), or write the pattern without them."
    if "regex parse error" in text:
        return "Correct the regular expression."
    return "Use types that JSON can express, or give the type __get_pydantic_core_schema__."
