"""For each keyword of one type: the values of that type that fail it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from gemma_structured.schema.normalize.node import Node, Origin, Schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gemma_structured.schema.normalize.result import Residual

__all__ = ["FAILING", "Failure"]


class Failure(NamedTuple):
    """Makes the nodes of failing values.

    Attributes:
        owner: The type that the keyword speaks of.
        reason: The keyword of the original schema to name where a node is inexact.
    """

    owner: str
    reason: Residual

    def exactly(self, **keywords: Any) -> Node:
        """The values of the type with these keywords: just those that fail."""
        return Node({"type": (self.owner,), **keywords}, Origin(*self.reason))

    def at_most(self, **keywords: Any) -> Node:
        """The values of the type with these keywords: those that fail, and some that do not."""
        return Node({"type": (self.owner,), **keywords}, Origin(*self.reason), (self.reason,))

    def refused(self, schema: Schema) -> Schema:
        """What does not satisfy a child; it is taken apart when it is reached."""
        return (
            not schema if isinstance(schema, bool) else Node({"not": schema}, Origin(*self.reason))
        )

    def absent(self, name: str) -> dict[str, Any]:
        """Keywords of an object without a property."""
        return {"properties": {name: False}}


def _minimum(argument: Any, _node: Node, fails: Failure) -> Iterator[Node]:
    yield fails.exactly(exclusiveMaximum=argument)


def _maximum(argument: Any, _node: Node, fails: Failure) -> Iterator[Node]:
    yield fails.exactly(exclusiveMinimum=argument)


def _exclusive_minimum(argument: Any, _node: Node, fails: Failure) -> Iterator[Node]:
    yield fails.exactly(maximum=argument)


def _exclusive_maximum(argument: Any, _node: Node, fails: Failure) -> Iterator[Node]:
    yield fails.exactly(minimum=argument)


def _fewer(counting: str) -> Callable[[Any, Node, Failure], Iterator[Node]]:
    def failing(argument: int, _node: Node, fails: Failure) -> Iterator[Node]:
        if argument > 0:
            yield fails.exactly(**{counting: argument - 1})

    return failing


def _more(counting: str) -> Callable[[Any, Node, Failure], Iterator[Node]]:
    def failing(argument: int, _node: Node, fails: Failure) -> Iterator[Node]:
        yield fails.exactly(**{counting: argument + 1})

    return failing


def _some(_argument: Any, _node: Node, fails: Failure) -> Iterator[Node]:
    yield fails.at_most()


def _unique_items(argument: Any, _node: Node, fails: Failure) -> Iterator[Node]:
    if argument:
        yield fails.at_most(minItems=2)


def _items(argument: Schema, node: Node, fails: Failure) -> Iterator[Node]:
    """An item beyond the first ones fails."""
    prefix = len(node.get("prefixItems", ()))
    if argument is False:
        yield fails.exactly(minItems=prefix + 1)
    elif argument is not True and not prefix:
        yield fails.exactly(contains=fails.refused(argument))
    elif argument is not True:
        yield fails.at_most(minItems=prefix + 1)


def _prefix_items(argument: list[Schema], _node: Node, fails: Failure) -> Iterator[Node]:
    for index, schema in enumerate(argument):
        if schema is not True:
            first = [True] * index
            yield fails.exactly(prefixItems=[*first, fails.refused(schema)], minItems=index + 1)


def _contains(argument: Schema, node: Node, fails: Failure) -> Iterator[Node]:
    least, most = node.get("minContains", 1), node.get("maxContains")
    if least == 1:
        yield fails.exactly(items=fails.refused(argument))
    elif least > 1:
        yield fails.exactly(contains=argument, minContains=0, maxContains=least - 1)
    if most is not None:
        yield fails.exactly(contains=argument, minContains=most + 1)


def _properties(argument: dict[str, Schema], _node: Node, fails: Failure) -> Iterator[Node]:
    for name, schema in argument.items():
        if schema is not True:
            yield fails.exactly(required=[name], properties={name: fails.refused(schema)})


def _required(argument: list[str], _node: Node, fails: Failure) -> Iterator[Node]:
    for name in argument:
        yield fails.exactly(**fails.absent(name))


def _additional(argument: Schema, _node: Node, fails: Failure) -> Iterator[Node]:
    """Some property fails; which one cannot be said without listing all."""
    if argument is not True:
        yield fails.at_most(minProperties=1)


def _pattern_properties(argument: dict[str, Schema], _node: Node, fails: Failure) -> Iterator[Node]:
    if any(schema is not True for schema in argument.values()):
        yield fails.at_most(minProperties=1)


def _dependent_required(
    argument: dict[str, list[str]], _node: Node, fails: Failure
) -> Iterator[Node]:
    for name, needed in argument.items():
        for other in needed:
            if other != name:
                yield fails.exactly(required=[name], **fails.absent(other))


FAILING: Final[dict[str, tuple[str, Callable[[Any, Node, Failure], Iterator[Node]]]]] = {
    "minimum": ("number", _minimum),
    "maximum": ("number", _maximum),
    "exclusiveMinimum": ("number", _exclusive_minimum),
    "exclusiveMaximum": ("number", _exclusive_maximum),
    "multipleOf": ("number", _some),
    "minLength": ("string", _fewer("maxLength")),
    "maxLength": ("string", _more("minLength")),
    "format": ("string", _some),
    "x-gemma-lark": ("string", _some),
    "x-gemma-code": ("string", _some),
    "minItems": ("array", _fewer("maxItems")),
    "maxItems": ("array", _more("minItems")),
    "uniqueItems": ("array", _unique_items),
    "items": ("array", _items),
    "prefixItems": ("array", _prefix_items),
    "contains": ("array", _contains),
    "unevaluatedItems": ("array", _some),
    "required": ("object", _required),
    "properties": ("object", _properties),
    "patternProperties": ("object", _pattern_properties),
    "additionalProperties": ("object", _additional),
    "propertyNames": ("object", _additional),
    "minProperties": ("object", _fewer("maxProperties")),
    "maxProperties": ("object", _more("minProperties")),
    "dependentRequired": ("object", _dependent_required),
    "unevaluatedProperties": ("object", _some),
}
"""By keyword: the type that it speaks of, and the nodes of that type's values that fail it."""
