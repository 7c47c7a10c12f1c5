"""From a schema to what a grammar can enforce of it, and what is left over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gemma_structured.exceptions import SchemaError
from gemma_structured.schema.dialect import DEFAULT_DIALECT
from gemma_structured.schema.formats import format_checker
from gemma_structured.schema.json_schema import JsonSchema
from gemma_structured.schema.normalize.emit import Emitter
from gemma_structured.schema.normalize.formats import CLOCK_TIME, FORMATS
from gemma_structured.schema.normalize.graph import Graph
from gemma_structured.schema.normalize.limits import DEFAULT_LIMITS, Limits
from gemma_structured.schema.normalize.load import Loader
from gemma_structured.schema.normalize.node import Node
from gemma_structured.schema.normalize.result import Normalized, Residual
from gemma_structured.schema.normalize.solve import Solver
from gemma_structured.schema.stack import enough_stack

if TYPE_CHECKING:
    from gemma_structured.schema.dialect import Dialect
    from gemma_structured.types import JsonValue

__all__ = ["normalize"]

_OLDER_NAMES: Final = {
    "prefixItems": ("items",),
    "items": ("additionalItems",),
    "enum": ("const",),
    "dependentRequired": ("dependencies",),
    "dependentSchemas": ("dependencies",),
}


@enough_stack()
def normalize(schema: JsonSchema, *, limits: Limits = DEFAULT_LIMITS) -> Normalized:
    """Rewrite a schema into what a grammar enforces, and collect the rest.

    Args:
        schema: A JSON Schema of any draft.
        limits: Where to relax.

    Raises:
        SchemaError: A reference leads nowhere or in a circle, nothing satisfies the schema, or
            it is nested too deeply.
    """
    asserted = _asserted(schema.dialect) if schema.formats == "assertion" else {}
    loader = Loader(schema, asserted)
    solver = Solver(loader, limits, format_checker(DEFAULT_DIALECT))
    graph = Graph(solver.vertex((loader.definition(loader.root),)), solver)
    if graph.root not in graph.alive:
        raise _unsatisfiable(graph, schema)
    emitter = Emitter(graph)
    value = emitter.schema()
    return Normalized(
        schema=JsonSchema.trusted(value, DEFAULT_DIALECT),
        residual=_named(schema, emitter.relaxed),
        unsatisfiable=_dead_ends(graph),
    )


def _asserted(dialect: Dialect) -> dict[str, str]:
    """The formats that are asserted: those of the newest draft, and a draft's own beside them."""
    checked = (
        format_checker(DEFAULT_DIALECT).checkers.keys() | format_checker(dialect).checkers.keys()
    )
    names = {name: name for name in FORMATS if name in checked}
    return names | {"time": CLOCK_TIME} if dialect.name == "draft-03" else names


def _unsatisfiable(graph: Graph, schema: JsonSchema) -> SchemaError:
    reasons = _named(schema, dict.fromkeys(graph.reasons(graph.root)))
    if schema.value is False:
        return SchemaError("Nothing satisfies this schema: it is `false`.")
    if not reasons:
        return SchemaError(
            "Nothing satisfies this schema: every value would have to hold another without end.",
            keyword="$ref",
            hint="Let the recursion end: with an optional property, null, or an empty array.",
        )
    told = " and ".join(f"`{r.keyword}` at {r.pointer or '(root)'}" for r in reasons[:4])
    verb = "contradict each other" if reasons[1:] else "refuses every value"
    return SchemaError(
        f"Nothing satisfies this schema: {told} {verb}.",
        path=reasons[0].pointer,
        keyword=reasons[0].keyword,
    )


def _named(schema: JsonSchema, relaxed: dict[Residual, None]) -> tuple[Residual, ...]:
    """The residual keywords by the names that the schema's draft has for them."""
    found: dict[Residual, None] = {}
    for place in relaxed:
        node = _at(schema.value, place.pointer)
        names = (place.keyword, *_OLDER_NAMES.get(place.keyword, ()))
        keyword = next((n for n in names if isinstance(node, dict) and n in node), place.keyword)
        found[Residual(place.pointer, keyword)] = None
    return tuple(found)


def _at(value: JsonValue, pointer: str) -> JsonValue:
    for part in pointer.split("/")[1:] if pointer.startswith("/") else ():
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict):
            value = value.get(name)
        elif isinstance(value, list) and name.isdecimal() and int(name) < len(value):
            value = value[int(name)]
        else:
            return None
    return value


def _dead_ends(graph: Graph) -> tuple[str, ...]:
    """The subschemas of the original that nothing satisfies though they are not `false`."""
    found: dict[str, None] = {}
    for vertex in graph.options:
        if vertex not in graph.alive and len(vertex.conj) == 1:
            (node,) = vertex.conj
            if isinstance(node, Node) and node.origin.keyword is None:
                found[node.origin.pointer] = None
    return tuple(found)
