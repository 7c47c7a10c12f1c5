"""`inspect`: what a mask enforces of an output type, what it cannot, what could be better."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gemma_structured.schema.bounds import DEFAULT_BOUNDS, Bounds, bound, check_bounds
from gemma_structured.schema.json_schema import JsonSchema
from gemma_structured.schema.normalize import normalize
from gemma_structured.schema.normalize.advice import Advice, advise
from gemma_structured.schema.normalize.size import Size, size
from gemma_structured.schema.output_type import OutputType
from gemma_structured.schema.terms import Choice, Regex

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gemma_structured.schema.normalize import Residual
    from gemma_structured.types import JsonValue

__all__ = ["Inspection", "inspect"]

_SHOWN = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What is known of an output type before a model writes any of it. Printed, it is a table.

    Attributes:
        name: The type's name.
        schema: What the grammar enforces; `None` if the output is text and not JSON.
        bounds: The default bounds that were put in: pointer, keyword, value.
        residual: The keywords that validation checks and the mask does not, in the original schema.
        unsatisfiable: Subschemas that nothing satisfies, so that they are never written.
        size: Characters of the shortest and of the longest answer.
        advice: What could be better.
    """

    name: str
    schema: JsonSchema | None
    bounds: tuple[tuple[str, str, JsonValue], ...] = ()
    residual: tuple[Residual, ...] = ()
    unsatisfiable: tuple[str, ...] = ()
    size: Size
    advice: tuple[Advice, ...] = ()

    @property
    def exact(self) -> bool:
        """Whether the mask alone enforces the type's schema, the default bounds aside."""
        return not self.residual

    def rows(self) -> Iterator[tuple[str, str, str]]:
        """What there is to tell: a heading, a place (empty for the whole), and the words."""
        yield "mask", "", "exact" if self.exact else "relaxed: validation checks the rest"
        most = "no limit" if self.size.most is None else f"{self.size.most:,}"
        yield "size", "", f"{self.size.least:,} to {most} characters"
        for place, keyword in self.residual:
            yield "validated", place or "(root)", keyword
        for place in self.unsatisfiable:
            yield "never written", place or "(root)", "nothing satisfies it"
        for place, keyword, value in self.bounds:
            yield "bounded", place or "(root)", f"{keyword} {json.dumps(value)}"
        for place, message in self.advice:
            yield "advice", place or "(root)", message

    def __str__(self) -> str:
        """A table in plain text; of many rows of a kind, the first ones."""
        rows: list[tuple[str, str, str]] = []
        counts: dict[str, int] = {}
        for row in self.rows():
            counts[row[0]] = counts.get(row[0], 0) + 1
            if counts[row[0]] <= _SHOWN:
                rows.append(row)
        rows += [
            (heading, "…", f"and {count - _SHOWN} more")
            for heading, count in counts.items()
            if count > _SHOWN
        ]
        widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
        lines = (
            f"{heading:<{widths[0]}}  {place:<{widths[1]}}  {words}".rstrip()
            for heading, place, words in rows
        )
        return "\n".join([self.name, *lines])


def inspect(output_type: Any, *, bounds: Bounds | None = DEFAULT_BOUNDS) -> Inspection:
    """Look at an output type the way a local model will enforce it. Nothing is loaded.

    Args:
        output_type: What `generate` takes: a type, a `JsonSchema`, a `Regex`, `Choice`,
            `Lark` or `Code`.
        bounds: The bounds that are put on what has none; `None` for none.

    Raises:
        InputError: The bounds are neither `Bounds` nor `None`.
        SchemaError: It cannot be used, or nothing satisfies it; the error says where and why.
    """
    check_bounds(bounds)
    output: OutputType[Any] = OutputType.of(output_type)
    term = output.term
    if not isinstance(term, JsonSchema):
        return Inspection(name=output.name, schema=None, size=_text_size(term))
    bounded, added = bound(term, bounds)
    normalized = normalize(bounded)
    return Inspection(
        name=output.name,
        schema=normalized.schema,
        bounds=added,
        residual=normalized.residual,
        unsatisfiable=normalized.unsatisfiable,
        size=size(normalized.schema.value),
        advice=advise(term),
    )


def _text_size(term: object) -> Size:
    if isinstance(term, Choice):
        return Size(min(map(len, term.options)), max(map(len, term.options)))
    if isinstance(term, Regex):
        found = size({"type": "string", "pattern": f"^(?:{term.pattern})$"})
        return Size(found.least - 2, None if found.most is None else found.most - 2)
    return Size(0, None)
