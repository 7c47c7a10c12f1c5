"""`gemma-structured schema`: what a type asks for, as a JSON Schema."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from gemma_structured.cli.exit_codes import ExitCode
from gemma_structured.cli.reporting import out, say
from gemma_structured.exceptions import InputError
from gemma_structured.grammar.spec import Grammar
from gemma_structured.schema.bounds import DEFAULT_BOUNDS
from gemma_structured.schema.inspect import inspect
from gemma_structured.schema.json_schema import JsonSchema

if TYPE_CHECKING:
    from gemma_structured.schema.output_type import OutputType
    from gemma_structured.types import JsonValue

__all__ = ["examine_schema", "show_schema"]


def show_schema(output_type: OutputType[Any], *, grammar: bool) -> ExitCode:
    """Print the schema; with `grammar` as the mask enforces it, and what it leaves, on stderr.

    Raises:
        InputError: The type is text (a regex, a choice, a Lark grammar), which has no JSON Schema.
        SchemaError: Nothing can satisfy it.
    """
    if not isinstance(output_type.term, JsonSchema):
        raise InputError(f"{output_type.name} is text: it has no JSON Schema.")
    if not grammar:
        _print_json(output_type.term.value)
        return ExitCode.OK
    enforced, report = Grammar.for_output_type(output_type, DEFAULT_BOUNDS)
    _print_json(json.loads(enforced.source))
    for pointer, keyword, value in report.bounds:
        say(f"{pointer or '(root)'}: {keyword} {value} is put in, since it has no bound of its own")
    for pointer, keyword in report.residual:
        say(f"{pointer or '(root)'}: {keyword} is checked by validation, not by the mask")
    if report.exact:
        say("The mask enforces all of it.")
    return ExitCode.OK


def examine_schema(output_type: OutputType[Any]) -> ExitCode:
    """Print what is known of a type before a model writes any of it; JSON Lines into a pipe.

    Raises:
        SchemaError: Nothing can satisfy it.
    """
    rows = inspect(output_type).rows()
    if not sys.stdout.isatty():
        for kind, place, message in rows:
            finding = {"kind": kind, "place": place, "message": message}
            print(json.dumps(finding, ensure_ascii=False))  # noqa: T201 - for pipes
        return ExitCode.OK
    table = Table(title=Text(output_type.name, style="bold"), title_justify="left")
    for heading in ("kind", "place", "message"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    out().print(table)
    return ExitCode.OK


def _print_json(value: JsonValue) -> None:
    written = json.dumps(value, ensure_ascii=False, indent=2)
    if sys.stdout.isatty():
        out().print(Syntax(written, "json", word_wrap=True, background_color="default"))
    else:
        print(written)  # noqa: T201 - for pipes
