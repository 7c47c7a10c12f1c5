"""Finds schemas that no finite value satisfies, before a model is asked for one.

A schema has a finite instance if one can be built from schemas that have one: the least fixed point
over all schemas of a document. Constraints are taken one at a time, so what is said to have none
really has none; contradictions between keywords are not looked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gemma_structured.exceptions import SchemaError
from gemma_structured.schema.dialect import children
from gemma_structured.types import JsonValue, pointer

if TYPE_CHECKING:
    from gemma_structured.schema.json_schema import JsonSchema, Path, Schema

__all__ = ["check_finite"]

_TYPES: Final = ("null", "boolean", "number", "integer", "string", "array", "object")


def check_finite(schema: JsonSchema) -> None:
    """Refuse a schema without a finite instance.

    Raises:
        SchemaError: With the path of the innermost schema that cannot be satisfied.
    """
    known = _FiniteSchemas(schema)
    if not known.holds(schema.value):
        path, reason, hint = known.blame()
        raise SchemaError(reason, path=pointer(path), hint=hint)


class _FiniteSchemas:
    """The schemas of a document that are known to have a finite instance."""

    def __init__(self, schema: JsonSchema) -> None:
        self._schema = schema
        self._paths: dict[int, Path] = {
            id(node): path for path, node in schema.walk() if isinstance(node, dict)
        }
        self._targets: dict[int, Schema | None] = {}
        self._finite: set[int] = set()
        self._settle()

    def holds(self, node: JsonValue) -> bool:
        """Whether a schema has a finite instance."""
        if isinstance(node, dict):
            return id(node) in self._finite or id(node) not in self._paths
        return node is not False

    def blame(self) -> tuple[Path, str, str]:
        """The path of the first schema on the way down that is at fault itself, why, and advice."""
        node: JsonValue = self._schema.value
        if node is False:
            return (), "The schema is `false`: no value satisfies it.", "Say what it is to allow."
        seen = set[int]()
        while isinstance(node, dict) and id(node) not in seen:
            seen.add(id(node))
            path = self._paths.get(id(node), ())
            below = self._unmet(node)
            if below is None:
                return path, "No value satisfies this schema.", "Let its keywords allow one."
            if isinstance(below, bool):
                return (
                    path,
                    "A value is required here that is forbidden.",
                    "Allow it or leave it out.",
                )
            node = below
        return (
            self._paths.get(id(node), ()),
            "A value of this recursive schema would have to contain itself without end.",
            "Make the recursion optional (a list, `| None`), or give the value a type.",
        )

    def _settle(self) -> None:
        """Go through all schemas, and again through those that need one newly known as finite."""
        pending: list[dict[str, JsonValue]] = []
        for _, node in self._schema.walk():
            if isinstance(node, dict):
                pending.append(node)
                target = self._target(node)
                if isinstance(target, dict) and id(target) not in self._paths:
                    self._paths[id(target)] = ()
                    pending.append(target)
        needed_by: dict[int, list[dict[str, JsonValue]]] = {}
        for node in pending:
            for part in (self._target(node), *(child for _, child in children(node))):
                if isinstance(part, dict):
                    needed_by.setdefault(id(part), []).append(node)
        while pending:
            node = pending.pop()
            if id(node) not in self._finite and self._has_instance(node):
                pending += needed_by.get(id(node), ())

    def _has_instance(self, node: dict[str, JsonValue]) -> bool:
        if self._in_place(node) and any(self._of_type(node, kind) for kind in _types(node)):
            self._finite.add(id(node))
            return True
        return False

    def _in_place(self, node: dict[str, JsonValue]) -> bool:
        """Whether what else must hold of the same value can hold."""
        target = self._target(node)
        if target is not None and not self.holds(target):
            return False
        if self._hides_siblings(node):
            return True
        if node.get("enum") == [] or node.get("not") in ({}, True):
            return False
        all_of, any_of, one_of = (node.get(name) for name in ("allOf", "anyOf", "oneOf"))
        return (
            (not isinstance(all_of, list) or all(map(self.holds, all_of)))
            and (not isinstance(any_of, list) or any(map(self.holds, any_of)))
            and (not isinstance(one_of, list) or any(map(self.holds, one_of)))
        )

    def _of_type(self, node: dict[str, JsonValue], kind: str) -> bool:
        if self._hides_siblings(node) or "enum" in node or "const" in node:
            return True
        if kind == "object":
            return all(self._property(node, name) for name in _required(node))
        if kind == "array":
            return all(map(self.holds, self._needed_items(node)))
        return True

    def _property(self, node: dict[str, JsonValue], name: str) -> bool:
        properties = node.get("properties")
        if isinstance(properties, dict) and name in properties:
            return self.holds(properties[name])
        if node.get("patternProperties"):
            return True
        return self.holds(node.get("additionalProperties", True))

    def _needed_items(self, node: dict[str, JsonValue]) -> list[JsonValue]:
        """The schemas that some item of the shortest array must satisfy."""
        least = node.get("minItems", 0)
        least = int(least) if isinstance(least, int | float) else 0
        items = node.get("items", True)
        first = node.get("prefixItems", items if isinstance(items, list) else [])
        prefix = first if isinstance(first, list) else []
        rest = node.get("additionalItems", True) if isinstance(items, list) else items
        needed = list(prefix[:least])
        if least > len(prefix):
            needed.append(rest)
        if "contains" in node and node.get("minContains", 1) != 0:
            needed.append(node["contains"])
        return needed

    def _unmet(self, node: dict[str, JsonValue]) -> JsonValue:
        """A schema below that has no instance and that this one needs; `None` for none."""
        target = self._target(node)
        if target is not None and not self.holds(target):
            return target
        candidates: list[JsonValue] = []
        for name in ("allOf", "anyOf", "oneOf"):
            branches = node.get(name)
            candidates += branches if isinstance(branches, list) else []
        properties = node.get("properties")
        if isinstance(properties, dict):
            candidates += [properties[name] for name in _required(node) if name in properties]
        candidates += self._needed_items(node)
        return next((each for each in candidates if not self.holds(each)), None)

    def _target(self, node: dict[str, JsonValue]) -> Schema | None:
        if id(node) not in self._targets:
            ref = node.get("$ref")
            path = self._paths.get(id(node), ())
            self._targets[id(node)] = (
                self._schema.resolve(ref, base=path) if isinstance(ref, str) else None
            )
        return self._targets[id(node)]

    def _hides_siblings(self, node: dict[str, JsonValue]) -> bool:
        return "$ref" in node and self._schema.dialect.ref_hides_siblings


def _types(node: dict[str, JsonValue]) -> list[str]:
    kinds = node.get("type", list(_TYPES))
    named = kinds if isinstance(kinds, list) else [kinds]
    return [kind for kind in named if isinstance(kind, str)]


def _required(node: dict[str, JsonValue]) -> list[str]:
    required = node.get("required", [])
    return (
        [name for name in required if isinstance(name, str)] if isinstance(required, list) else []
    )
