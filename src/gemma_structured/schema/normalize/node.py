"""The schemas that the passes work on: one dialect, and where each part came from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from gemma_structured.schema.normalize.result import Residual

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Conj", "Node", "Origin", "Schema", "all_of", "any_of", "make"]


class Origin(NamedTuple):
    """Where a node comes from.

    Attributes:
        pointer: The subschema of the original schema, as a JSON Pointer.
        keyword: The keyword that the node was made from; `None` if it stands there itself.
    """

    pointer: str
    keyword: str | None = None

    def of(self, keyword: str) -> Residual:
        """What to name if one of the node's keywords cannot be enforced."""
        return Residual(self.pointer, self.keyword or keyword)


class Node(dict[str, Any]):
    """A schema object of draft 2020-12 without annotations, identifiers and definitions.

    A `$ref` in it holds the bare name of a definition. Equality is that of the keywords; identity
    is what the normaliser remembers its work by, so nodes are not changed once they are in use.

    Attributes:
        origin: Where it comes from.
        relaxed: Keywords of the original schema that it stands for without saying all they say.
    """

    __slots__ = ("origin", "relaxed")

    def __init__(
        self,
        keywords: Mapping[str, Any],
        origin: Origin,
        relaxed: tuple[Residual, ...] = (),
    ) -> None:
        super().__init__(keywords)
        self.origin = origin
        self.relaxed = relaxed

    def without(self, *keywords: str) -> Node:
        """The same node less some keywords."""
        kept = {key: value for key, value in self.items() if key not in keywords}
        return Node(kept, self.origin, self.relaxed)

    def with_conditions(self, *conditions: Schema) -> Node:
        """The same node, and all of some more schemas."""
        return Node(
            {**self, "allOf": [*self.get("allOf", ()), *conditions]}, self.origin, self.relaxed
        )


Schema: TypeAlias = "Node | bool"
Conj: TypeAlias = "tuple[Schema, ...]"
"""Schemas that must all hold, in the order in which they are written."""


def make(origin: Origin, relaxed: Iterable[Residual] = (), /, **keywords: Any) -> Node:
    """A node from keywords that are Python names."""
    return Node(keywords, origin, tuple(relaxed))


def any_of(options: Iterable[Schema], origin: Origin) -> Schema:
    """What satisfies at least one of the options."""
    kept: list[Schema] = []
    for option in options:
        if option is True or option == {}:
            return True
        if option is not False:
            kept.append(option)
    if len(kept) > 1:
        return Node({"anyOf": kept}, origin)
    return kept[0] if kept else False


def all_of(conditions: Iterable[Schema], origin: Origin) -> Schema:
    """What satisfies all the conditions."""
    kept: list[Schema] = []
    for condition in conditions:
        if condition is False:
            return False
        if condition is not True and condition != {}:
            kept.append(condition)
    if len(kept) > 1:
        return Node({"allOf": kept}, origin)
    return kept[0] if kept else True
