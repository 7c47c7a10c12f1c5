"""Which schemas of a document speak alone of a value, so that a bound may be added to them.

Where several schemas hold of one value (`allOf`, `$ref` with siblings, `if`, …), a bound added to
one of them could contradict, or loosen, what another says. Such schemas share a scope, and a bound
is added in a scope only if nothing in it bounds that kind of value itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from gemma_structured.exceptions import SchemaError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gemma_structured.schema.json_schema import JsonSchema, Path
    from gemma_structured.types import JsonValue

__all__ = ["OWN_BOUNDS", "Scopes"]

Node = dict[str, "JsonValue"]

OWN_BOUNDS: Final = {
    "string": frozenset({"minLength", "maxLength", "pattern", "format", "enum", "const"}),
    "number": frozenset(
        {
            "minimum",
            "maximum",
            "exclusiveMinimum",
            "exclusiveMaximum",
            "multipleOf",
            "divisibleBy",
            "enum",
            "const",
        }
    ),
    "array": frozenset({"minItems", "maxItems", "minContains", "enum", "const"}),
}
"""The keywords by which a schema bounds each kind of value itself."""

_ANNOTATIONS: Final = frozenset(
    {
        "$anchor",
        "$comment",
        "$defs",
        "$dynamicAnchor",
        "$id",
        "$recursiveAnchor",
        "$schema",
        "$vocabulary",
        "contentEncoding",
        "contentMediaType",
        "contentSchema",
        "default",
        "definitions",
        "deprecated",
        "description",
        "discriminator",
        "examples",
        "id",
        "readOnly",
        "title",
        "writeOnly",
    }
)
_BRANCHES: Final = frozenset({"$ref", "$dynamicRef", "$recursiveRef", "allOf", "anyOf", "oneOf"})
_DYNAMIC: Final = frozenset({"$dynamicRef", "$recursiveRef"})
_UNTOUCHED: Final = ("not", "if", "contains", "propertyNames")
_ONE_CHILD: Final = (
    "additionalItems",
    "additionalProperties",
    "items",
    "unevaluatedItems",
    "unevaluatedProperties",
)


class _Context(NamedTuple):
    """How a schema is reached: in a shared scope or alone, and whether it must stay as it is."""

    scope: int | None
    untouched: bool


class Scopes:
    """The scopes of a document.

    Args:
        schema: The document; only what can apply to an instance is looked at.
    """

    def __init__(self, schema: JsonSchema) -> None:
        self._schema = schema
        self._paths: dict[int, Path] = {
            id(node): path for path, node in schema.walk() if isinstance(node, dict)
        }
        self._contexts: dict[int, set[_Context]] = {}
        self._parents: list[int] = []
        self._bounded: dict[int, set[str]] = {}
        root = schema.value
        dynamic = any(
            isinstance(node, dict) and _DYNAMIC & node.keys() for _, node in schema.walk()
        )
        if isinstance(root, dict):
            self._visit(root, _Context(self._new_scope() if dynamic else None, untouched=False))

    def free(self, node: Node, kind: str) -> bool:
        """Whether a bound for a kind of value may be added to a schema."""
        contexts = self._contexts.get(id(node))
        if not contexts or any(context.untouched for context in contexts):
            return False
        return all(
            context.scope is None or kind not in self._bounded[self._find(context.scope)]
            for context in contexts
        )

    def alone(self, node: Node) -> bool:
        """Whether a schema may be changed and shares its value with no other."""
        contexts = self._contexts.get(id(node), set())
        return bool(contexts) and all(
            context.scope is None and not context.untouched for context in contexts
        )

    def _visit(self, root: Node, context: _Context) -> None:
        pending: list[tuple[JsonValue, _Context]] = [(root, context)]
        while pending:
            node, here = pending.pop()
            if not isinstance(node, dict) or id(node) not in self._paths:
                continue
            if here.scope is None and _speakers(node) > 1:
                here = _Context(self._new_scope(), here.untouched)
            here = self._enter(node, here)
            seen = self._contexts.setdefault(id(node), set())
            if here in seen:
                continue
            seen.add(here)
            pending += self._below(node, here)

    def _enter(self, node: Node, context: _Context) -> _Context:
        """Join the scopes in which a schema is reached, and note what it bounds there."""
        if context.scope is None:
            return context
        known = next(
            (each.scope for each in self._contexts.get(id(node), ()) if each.scope is not None),
            context.scope,
        )
        scope = self._join(known, context.scope)
        bounded = self._bounded[scope]
        bounded.update(kind for kind, keywords in OWN_BOUNDS.items() if keywords & node.keys())
        return _Context(known, context.untouched)

    def _below(self, node: Node, context: _Context) -> Iterator[tuple[JsonValue, _Context]]:
        here = context
        if "$ref" in node and self._schema.dialect.ref_hides_siblings:
            yield from ((target, here) for target in self._targets(node))
            return
        yield from ((target, here) for target in self._targets(node))
        for keyword in ("allOf", "anyOf", "oneOf"):
            yield from ((branch, here) for branch in _list(node.get(keyword)))
        yield from ((node[keyword], here) for keyword in ("then", "else") if keyword in node)
        for keyword in ("dependentSchemas", "dependencies"):
            yield from ((each, here) for each in _dict(node.get(keyword)).values())
        yield from (
            (node[keyword], _Context(here.scope, untouched=True))
            for keyword in _UNTOUCHED
            if keyword in node
        )
        yield from self._children(node, here)

    def _children(self, node: Node, context: _Context) -> Iterator[tuple[JsonValue, _Context]]:
        below = context
        overlapping = len(_dict(node.get("patternProperties"))) + bool(node.get("properties")) > 1
        if below.scope is None and (overlapping or "contains" in node):
            below = _Context(self._new_scope(), context.untouched)
            if "contains" in node:
                yield node["contains"], _Context(below.scope, untouched=True)
        for keyword in ("properties", "patternProperties"):
            yield from ((child, below) for child in _dict(node.get(keyword)).values())
        for keyword in ("prefixItems", "items"):
            yield from ((child, below) for child in _list(node.get(keyword)))
        yield from ((node[keyword], below) for keyword in _ONE_CHILD if keyword in node)

    def _targets(self, node: Node) -> Iterator[JsonValue]:
        for keyword in ("$ref", *_DYNAMIC):
            ref = node.get(keyword)
            if isinstance(ref, str):
                try:
                    yield self._schema.resolve(ref, base=self._paths[id(node)])
                except SchemaError:
                    continue

    def _new_scope(self) -> int:
        scope = len(self._parents)
        self._parents.append(scope)
        self._bounded[scope] = set()
        return scope

    def _find(self, scope: int) -> int:
        while self._parents[scope] != scope:
            self._parents[scope] = self._parents[self._parents[scope]]
            scope = self._parents[scope]
        return scope

    def _join(self, one: int, other: int) -> int:
        first, second = self._find(one), self._find(other)
        if first != second:
            self._parents[second] = first
            self._bounded[first] |= self._bounded.pop(second)
        return first


def _speakers(node: Node) -> int:
    """How many parts of a schema say something about the value itself."""
    own = node.keys() - _ANNOTATIONS - _BRANCHES
    parts = bool(own) + len(own & {"not", "if", "dependentSchemas", "dependencies"})
    parts += sum(keyword in node for keyword in _BRANCHES - {"allOf"})
    return parts + len(_list(node.get("allOf")))


def _list(value: JsonValue) -> list[JsonValue]:
    return value if isinstance(value, list) else []


def _dict(value: JsonValue) -> dict[str, JsonValue]:
    return value if isinstance(value, dict) else {}
