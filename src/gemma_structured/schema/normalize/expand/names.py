"""`propertyNames`: listed names become properties, others a pattern."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from gemma_structured.schema.normalize.facets import Layer, Objects
from gemma_structured.schema.normalize.node import Node, Origin
from gemma_structured.schema.normalize.strings import StringsError, one_pattern

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gemma_structured.schema.normalize.expand.context import Surroundings
    from gemma_structured.schema.normalize.node import Conj
    from gemma_structured.schema.normalize.shape import Shape

__all__ = ["names"]

_STRING: Final = Node({"type": ("string",)}, Origin(""))
_NEVER: Final[Conj] = (False,)


def names(shape: Shape, around: Surroundings) -> list[Shape]:
    """Rewrite what is said of names; required properties are named even if undeclared."""
    if "object" not in shape.types or shape.values is not None:
        return [shape]
    objects = shape.objects
    undeclared = [name for name in objects.required if name not in objects.named]
    if undeclared:
        named = {**objects.named, **{name: objects.unnamed(name) for name in undeclared}}
        objects = replace(objects, named=named)
        shape = replace(shape, objects=objects)
    if not objects.names:
        return [shape]
    allowed = around.known_shapes((_STRING, *objects.names))
    named = {
        name: _NEVER if _refuses(objects.names, name, around) else conj
        for name, conj in objects.named.items()
    }
    objects = replace(objects, named=named, names=())
    if allowed is None:
        return [shape.relax("propertyNames", objects=objects)]
    lost = any(one.relaxed or one.strings.formats for one in allowed)
    if all(one.values is not None for one in allowed):
        objects = _listed(objects, allowed)
    else:
        try:
            pattern = one_pattern(allowed)
        except StringsError:
            return [shape.relax("propertyNames", objects=objects)]
        layers = (*objects.layers, Layer(((pattern, ()),), _NEVER))
        objects = replace(objects, layers=layers)
    if lost:
        return [shape.relax("propertyNames", objects=objects)]
    return [replace(shape, objects=objects)]


def _refuses(schemas: Conj, name: str, around: Surroundings) -> bool:
    return any(around.evaluator.admits(schema, name) is False for schema in schemas)


def _listed(objects: Objects, allowed: Sequence[Shape]) -> Objects:
    """The object with each listed name a property, and no others."""
    named = dict(objects.named)
    for one in allowed:
        for name in one.values or ():
            if isinstance(name, str) and name not in named:
                named[name] = objects.unnamed(name)
    return replace(objects, named=named, layers=(*objects.layers, Layer((), _NEVER)))
