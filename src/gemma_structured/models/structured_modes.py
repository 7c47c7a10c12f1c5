"""How a server is told of the output's form: what is asked for, and what it turned out to take."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from gemma_structured.exceptions import InputError
from gemma_structured.remote.errors import UnsupportedParameterError, WhitespaceFloodError
from gemma_structured.remote.wire import OutputForm
from gemma_structured.schema.code import Code
from gemma_structured.schema.json_schema import JsonSchema
from gemma_structured.schema.terms import Choice, Lark, Regex

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gemma_structured.exceptions import GemmaStructuredError
    from gemma_structured.remote.wire import StructuredMode
    from gemma_structured.schema.output_type import OutputType
    from gemma_structured.types import JsonValue

__all__ = ["ModeLadder", "Structured", "output_form"]

Structured: TypeAlias = Literal[
    "auto", "prompt", "json_schema", "json_object", "tools", "structured_outputs"
]
"""`auto` begins with what the server enforces, and goes down to the prompt where it is refused."""


class ModeLadder:
    """The modes of one model, the strictest first, and which of them its server has refused.

    What is refused once is not tried again: the memory is the model's, shared by all its calls.
    """

    def __init__(self, structured: Structured, auto: Sequence[StructuredMode]) -> None:
        self._modes: tuple[StructuredMode, ...]
        self._modes = tuple(auto) if structured == "auto" else (structured,)
        self._refused: set[StructuredMode] = set()
        self._lock = threading.Lock()

    def choose(self, output_type: OutputType[Any]) -> StructuredMode:
        """The strictest mode that is left and can say this output type."""
        is_json = output_type.is_json
        for mode in self._modes:
            can_say = is_json or mode == "structured_outputs"
            if mode not in self._refused and can_say:
                return mode
        return "prompt"

    def refuse(self, mode: StructuredMode, error: GemmaStructuredError) -> bool:
        """Say whether another mode is to be tried after an error, and remember the refusal."""
        is_refusal = isinstance(error, UnsupportedParameterError | WhitespaceFloodError)
        if not is_refusal or mode == "prompt" or len(self._modes) == 1:
            return False
        with self._lock:
            self._refused.add(mode)
        return True


def output_form(output_type: OutputType[Any], mode: StructuredMode) -> OutputForm:
    """The form of an output type in a mode.

    Raises:
        InputError: The mode is `tools` and the output is no object, which arguments must be.
    """
    kind: Literal["json", "regex", "choice", "grammar"] = "json"
    source: JsonValue = None
    match output_type.term:
        case JsonSchema() as schema:
            source = schema.value
        case Regex(pattern=pattern):
            kind, source = "regex", pattern
        case Choice(options=options):
            kind, source = "choice", list(options)
        case Lark(source=grammar):
            kind, source = "grammar", grammar
        case Code() as code:
            kind, source = "grammar", code.lark.source
    if mode == "tools" and not _is_object(source):
        raise InputError(
            f"structured='tools' needs an output type that is an object, and {output_type.name} is "
            "not.",
            hint="Use structured='json_schema' or 'prompt', or put the value into a field.",
        )
    return OutputForm(
        mode=mode,
        name=output_type.name,
        kind=kind,
        source=source,
        description=output_type.description,
    )


def _is_object(schema: JsonValue) -> bool:
    if not isinstance(schema, dict):
        return False
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference.startswith("#/$defs/"):
        definitions = schema.get("$defs")
        name = reference.removeprefix("#/$defs/")
        return isinstance(definitions, dict) and _is_object(definitions.get(name))
    return schema.get("type") == "object"
