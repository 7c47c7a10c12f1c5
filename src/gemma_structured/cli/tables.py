"""Results for people: a table of objects, and an object beside its text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from gemma_structured.types import JsonValue

__all__ = ["beside", "object_table"]

_MAX_COLUMNS = 8
"""Objects with more fields than this are shown as JSON, since columns would be too narrow."""


def object_table(rows: Sequence[tuple[str, JsonValue]]) -> Table:
    """Objects as a table: a column a field where all have the same few fields, else their JSON."""
    fields = _common_fields([value for _, value in rows])
    table = Table(show_lines=not fields)
    table.add_column("document", style="bold", overflow="fold")
    for field in fields or ["object"]:
        table.add_column(Text(field), overflow="fold")
    for path, value in rows:
        if fields and isinstance(value, dict):
            table.add_row(Text(path), *(Text(_cell(value[field])) for field in fields))
        else:
            table.add_row(Text(path), _json(value))
    return table


def beside(text: str, value: JsonValue, *, title: str, caption: str) -> Table:
    """A text and the object that was read from it, in two columns."""
    table = Table(
        title=Text(title, style="bold"),
        caption=Text(caption, style="dim"),
        title_justify="left",
        caption_justify="left",
        expand=True,
    )
    table.add_column("text", ratio=8, overflow="fold")
    table.add_column("object", ratio=5, overflow="fold")
    table.add_row(Text(text.rstrip()), _json(value))
    return table


def _common_fields(values: Sequence[JsonValue]) -> list[str]:
    keys = [list(value) if isinstance(value, dict) else [] for value in values]
    same = bool(keys) and all(each == keys[0] for each in keys)
    return keys[0] if same and len(keys[0]) <= _MAX_COLUMNS else []


def _cell(value: JsonValue) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _json(value: JsonValue) -> RenderableType:
    written = json.dumps(value, ensure_ascii=False, indent=2)
    return Syntax(written, "json", word_wrap=True, background_color="default")
