"""Takes conjunctions apart: plain keywords on one side, choices on the other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from gemma_structured.exceptions import SchemaError
from gemma_structured.schema.normalize.node import Conj, Node, Schema
from gemma_structured.schema.normalize.passes import NODE_PASSES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gemma_structured.schema.normalize.passes.context import Context
    from gemma_structured.schema.normalize.result import Residual

__all__ = ["Apart", "Parts", "ReturnError", "circular"]

_COMBINING: Final = frozenset({"allOf", "anyOf", "$ref"})


class ReturnError(Exception):
    """A subschema is asked for while it is being taken apart."""


@dataclass(slots=True)
class Parts:
    """A conjunction taken apart.

    Attributes:
        flat: Nodes of plain keywords, in the order in which they are written.
        choices: The options of each choice, and the node that it stands in.
        relaxed: Keywords of the original schema that all this does not say all of.
    """

    flat: list[Node] = field(default_factory=list)
    choices: list[tuple[Node, list[Schema]]] = field(default_factory=list)
    relaxed: list[Residual] = field(default_factory=list)


class Apart:
    """Runs the passes over nodes and follows their conditions and references, each node once.

    Args:
        context: What the passes may ask.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._open: set[int] = set()
        self._plain: dict[int, tuple[Node, Schema]] = {}
        self._flat: dict[int, tuple[Node, Node]] = {}

    def target(self, conj: Conj) -> Schema | None:
        """Where a lone reference leads; `None` if the conjunction is more than that.

        Raises:
            SchemaError: It leads back to itself.
        """
        seen: set[str] = set()
        schema: Schema = conj[0] if len(conj) == 1 else True
        while isinstance(schema, Node) and schema.keys() == {"$ref"}:
            if schema["$ref"] in seen:
                raise circular(schema)
            seen.add(schema["$ref"])
            schema = self._context.definition(schema["$ref"])
        return schema if seen else None

    def parts(self, conj: Conj) -> Parts | None:
        """The parts of a conjunction; `None` if nothing satisfies it.

        Raises:
            SchemaError: A reference leads back to itself without a step into a value.
        """
        found = Parts()
        pending: list[tuple[Schema, tuple[int, ...]]] = [(schema, ()) for schema in reversed(conj)]
        seen: set[int] = set()
        while pending:
            given, chain = pending.pop()
            schema = self._without_logic(given) if isinstance(given, Node) else given
            if schema is False:
                return None
            if id(schema) in chain:
                raise circular(schema)
            if schema is True or id(schema) in seen:
                continue
            seen.add(id(schema))
            found.relaxed += schema.relaxed
            if not schema:
                continue
            if _COMBINING.isdisjoint(schema):
                found.flat.append(schema)
            else:
                pending.extend(reversed(list(self._inner(schema, chain, found))))
        return found

    def _inner(
        self, node: Node, chain: tuple[int, ...], found: Parts
    ) -> Iterator[tuple[Schema, tuple[int, ...]]]:
        """The conditions and references of a node, as they are written; choices are put away."""
        told = False
        chain = (*chain, id(node))
        for keyword, argument in node.items():
            if keyword == "allOf":
                yield from ((condition, chain) for condition in argument)
            elif keyword == "$ref":
                yield self._context.definition(argument), chain
            elif keyword == "anyOf":
                found.choices.append((node, argument))
            elif not told:
                told = True
                yield self._flat_part(node), chain

    def _flat_part(self, node: Node) -> Node:
        if id(node) not in self._flat:
            combining = not _COMBINING.isdisjoint(node)
            self._flat[id(node)] = (node, node.without(*_COMBINING) if combining else node)
        return self._flat[id(node)][1]

    def _without_logic(self, node: Node) -> Schema:
        """The node after the passes: plain keywords, conditions, choices and references."""
        if id(node) not in self._plain:
            if id(node) in self._open:
                raise ReturnError
            self._open.add(id(node))
            try:
                self._plain[id(node)] = (node, self._rewritten(node))
            finally:
                self._open.discard(id(node))
        return self._plain[id(node)][1]

    def _rewritten(self, node: Node) -> Schema:
        schema: Schema = node
        for keywords, rewrite in NODE_PASSES:
            if isinstance(schema, Node) and not keywords.isdisjoint(schema):
                schema = rewrite(schema, self._context)
        return schema


def circular(schema: Schema) -> SchemaError:
    """What to raise where a reference leads back to where it stands."""
    return SchemaError(
        "It refers to itself without a step into a value, so that it says nothing.",
        path=schema.origin.pointer if isinstance(schema, Node) else "",
        keyword="$ref",
        hint="Break the circle of references.",
    )
