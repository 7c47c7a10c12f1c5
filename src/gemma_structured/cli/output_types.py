"""Which output type is meant: `app.models:Invoice`, or a file with a JSON Schema."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

from gemma_structured.exceptions import InputError
from gemma_structured.schema.json_schema import JsonSchema
from gemma_structured.schema.output_type import OutputType

__all__ = ["from_reference", "from_schema_file", "from_type"]


def from_reference(reference: str) -> OutputType[Any]:
    """The output type that `module:name`, or the path of a JSON Schema file, stands for.

    Raises:
        InputError: There is no such thing.
        SchemaError: It cannot be used.
    """
    if ":" in reference and not Path(reference).exists():
        return from_type(reference)
    return from_schema_file(Path(reference))


def from_type(reference: str) -> OutputType[Any]:
    """The Python type that `module:name` stands for; modules in the current folder count.

    Raises:
        InputError: There is no such module or name.
        SchemaError: The type cannot be used.
    """
    module_name, _, name = reference.partition(":")
    if not module_name or not name:
        raise InputError(
            f"{reference!r} is no type.", hint="Write module:Type, as app.models:Invoice."
        )
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        found: object = importlib.import_module(module_name)
    except Exception as error:
        raise InputError(
            f"The module {module_name} cannot be imported: {type(error).__name__}: {error}"
        ) from error
    for part in name.split("."):
        if not hasattr(found, part):
            raise InputError(f"{module_name} has no {name}.")
        found = getattr(found, part)
    return _of(found)


def _of(spec: Any) -> OutputType[Any]:
    """`OutputType.of` of what only turns out at run time to be a type."""
    made: OutputType[Any] = OutputType.of(spec)
    return made


def from_schema_file(path: Path) -> OutputType[Any]:
    """The values that a JSON Schema in a file describes.

    Raises:
        InputError: The file cannot be read or is not JSON.
        SchemaError: The schema cannot be used.
    """
    try:
        schema = json.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise InputError(f"The schema {path} cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"The schema {path} is not JSON: {error}") from None
    return OutputType.of(JsonSchema(schema))
