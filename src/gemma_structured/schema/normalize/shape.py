"""A conjunction without alternatives: its types, and what it says of the values of each."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Protocol, Self, TypeVar

from gemma_structured.schema.normalize.facets import (
    Arrays,
    Contains,
    Layer,
    Numbers,
    Objects,
    Strings,
    exact,
    together,
)
from gemma_structured.schema.normalize.kinds import ALL_TYPES, atoms, value_key
from gemma_structured.schema.normalize.node import Conj, Node, Schema

if TYPE_CHECKING:
    from gemma_structured.schema.normalize.result import Residual
    from gemma_structured.types import JsonValue

__all__ = ["Shape", "read_shape"]

_ANY_NUMBER: Final = Numbers()
_ANY_STRING: Final = Strings()
_ANY_ARRAY: Final = Arrays()
_ANY_OBJECT: Final = Objects(named={})


class _Facet(Protocol):
    def meet(self, other: Self, /) -> Self: ...


F = TypeVar("F", bound=_Facet)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A conjunction without alternatives.

    Attributes:
        types: Which types of values it admits.
        values: The only values it admits, where they are listed.
        excluded: Values that it does not admit.
        conj: The nodes that it was read from; listed values have been held to those that are gone.
        sources: By keyword, where in the original schema it stands.
        relaxed: Keywords of the original schema that it no longer says all of.
    """

    types: frozenset[str] = ALL_TYPES
    values: tuple[JsonValue, ...] | None = None
    excluded: tuple[JsonValue, ...] = ()
    numbers: Numbers = _ANY_NUMBER
    strings: Strings = _ANY_STRING
    arrays: Arrays = _ANY_ARRAY
    objects: Objects = _ANY_OBJECT
    conj: Conj = ()
    sources: dict[str, tuple[Residual, ...]] = field(default_factory=dict)
    relaxed: tuple[Residual, ...] = ()

    def meet(self, other: Shape) -> Shape:
        """What is in both; values are to be looked through anew."""
        sources = dict(self.sources)
        for keyword, places in other.sources.items():
            known = sources.get(keyword, ())
            sources[keyword] = (*known, *(place for place in places if place not in known))
        return Shape(
            types=self.types & other.types,
            values=_common(self.values, other.values),
            excluded=(*self.excluded, *other.excluded),
            numbers=_met(self.numbers, other.numbers, _ANY_NUMBER),
            strings=_met(self.strings, other.strings, _ANY_STRING),
            arrays=_met(self.arrays, other.arrays, _ANY_ARRAY),
            objects=_met(self.objects, other.objects, _ANY_OBJECT),
            conj=together(self.conj, other.conj),
            sources=sources,
            relaxed=tuple(dict.fromkeys((*self.relaxed, *other.relaxed))),
        )

    def relax(self, *keywords: str, **changes: Any) -> Shape:
        """The same shape with something left out, and with the keywords named that said it."""
        named = [place for keyword in keywords for place in self.sources.get(keyword, ())]
        named = named or [place for places in self.sources.values() for place in places]
        relaxed = tuple(dict.fromkeys((*self.relaxed, *named)))
        return replace(self, relaxed=relaxed, **changes)


def _met(one: F, two: F, anything: F) -> F:
    """What is in both facets; most often one of them says nothing."""
    if one is anything or two is anything:
        return two if one is anything else one
    return one.meet(two)


def _common(
    one: tuple[JsonValue, ...] | None, two: tuple[JsonValue, ...] | None
) -> tuple[JsonValue, ...] | None:
    if one is None or two is None:
        return two if one is None else one
    keys = set(map(value_key, two))
    return tuple(value for value in one if value_key(value) in keys)


def read_shape(node: Node) -> Shape:
    """The shape of a node: of all its keywords but those that combine schemas."""
    literal = node.get("not")
    return Shape(
        types=atoms(node["type"]) if "type" in node else ALL_TYPES,
        values=tuple(node["enum"]) if "enum" in node else None,
        excluded=tuple(literal.get("enum", ())) if isinstance(literal, Node) else (),
        numbers=_numbers(node) if not _NUMBERS.isdisjoint(node) else _ANY_NUMBER,
        strings=_strings(node, literal),
        arrays=_arrays(node) if not _ARRAYS.isdisjoint(node) else _ANY_ARRAY,
        objects=_objects(node) if not _OBJECTS.isdisjoint(node) else _ANY_OBJECT,
        conj=(node,),
        sources={keyword: (node.origin.of(keyword),) for keyword in node},
    )


_NUMBERS: Final = frozenset(
    {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}
)
_ARRAYS: Final = frozenset(
    {"prefixItems", "items", "minItems", "maxItems", "uniqueItems", "contains"}
)
_OBJECTS: Final = frozenset(
    {"properties", "patternProperties", "additionalProperties", "propertyNames", "required"}
    | {"minProperties", "maxProperties"}
)


def _numbers(node: Node) -> Numbers:
    closed = Numbers(
        low=exact(node["minimum"]) if "minimum" in node else None,
        high=exact(node["maximum"]) if "maximum" in node else None,
        step=exact(node["multipleOf"]) if "multipleOf" in node else None,
    )
    low, high = node.get("exclusiveMinimum"), node.get("exclusiveMaximum")
    opened = Numbers(
        low=None if low is None else exact(low),
        low_open=low is not None,
        high=None if high is None else exact(high),
        high_open=high is not None,
    )
    return closed.meet(opened)


def _strings(node: Node, literal: object) -> Strings:
    refused = literal.get("pattern") if isinstance(literal, Node) else None
    if refused is None and not {"minLength", "maxLength", "pattern", "format"} & node.keys():
        return _ANY_STRING
    return Strings(
        least=node.get("minLength", 0),
        most=node.get("maxLength"),
        patterns=(node["pattern"],) if "pattern" in node else (),
        refused=() if refused is None else (refused,),
        formats=(node["format"],) if "format" in node else (),
    )


def _arrays(node: Node) -> Arrays:
    contains: tuple[Contains, ...] = ()
    if "contains" in node:
        least, most = node.get("minContains", 1), node.get("maxContains")
        contains = (Contains(_conj(node["contains"]), least, most),)
    return Arrays(
        prefix=tuple(_conj(schema) for schema in node.get("prefixItems", ())),
        rest=_conj(node.get("items", True)),
        least=node.get("minItems", 0),
        most=node.get("maxItems"),
        unique=node.get("uniqueItems", False) is True,
        contains=contains,
    )


def _objects(node: Node) -> Objects:
    patterns = tuple((p, _conj(schema)) for p, schema in node.get("patternProperties", {}).items())
    layer = Layer(patterns, _conj(node.get("additionalProperties", True)))
    named: dict[str, Conj] = {}
    for name, schema in node.get("properties", {}).items():
        named[name] = together(_conj(schema), layer.matching(name) or ())
    return Objects(
        named=named,
        layers=(layer,) if patterns or layer.rest else (),
        required=tuple(node.get("required", ())),
        least=node.get("minProperties", 0),
        most=node.get("maxProperties"),
        names=_conj(node.get("propertyNames", True)),
    )


def _conj(schema: Schema) -> Conj:
    return () if schema is True or schema == {} else (schema,)
