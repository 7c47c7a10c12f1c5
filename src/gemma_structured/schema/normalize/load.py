"""Reads a schema of any draft into nodes: one dialect, each reference the name of a definition."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from gemma_structured.exceptions import SchemaError
from gemma_structured.schema.dialect import find_dialect
from gemma_structured.schema.normalize.keywords import COMPANIONS, Reading, read_keyword
from gemma_structured.schema.normalize.node import Node, Origin, Schema
from gemma_structured.schema.normalize.resolve import Place, Resolution

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gemma_structured.schema.json_schema import JsonSchema
    from gemma_structured.schema.normalize.result import Residual
    from gemma_structured.types import JsonValue

__all__ = ["Loader"]

_MAX_DEPTH: Final = 500


@dataclass(frozen=True, slots=True)
class _Definition:
    contents: JsonValue
    place: Place


class Loader:
    """Reads the definitions of a schema as they are asked for, each once.

    Args:
        schema: The schema.
        formats: The formats that are asserted, and what each is called here; others are dropped.
    """

    def __init__(
        self,
        schema: JsonSchema,
        formats: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.formats = formats
        self._resolution = Resolution(schema)
        self._names: dict[tuple[int, str, tuple[str, ...]], str] = {}
        self._definitions: dict[str, _Definition] = {}
        self._loaded: dict[str, Schema] = {}
        self._depth = 0
        self.root = self._define("root", schema.value, self._resolution.root)

    def definition(self, name: str) -> Schema:
        """The schema of a name that a `$ref` in a node holds."""
        found = self._loaded.get(name)
        if found is None:
            known = self._definitions[name]
            found = self._loaded[name] = self.read(known.contents, known.place)
        return found

    def _define(self, name: str, contents: JsonValue, place: Place) -> str:
        key = (id(contents), place.dialect.name, place.dynamic)
        if isinstance(contents, bool):
            key = (int(contents), "", ())
        if key not in self._names:
            unique, number = name, 2
            while unique in self._definitions:
                unique, number = f"{name}_{number}", number + 1
            self._names[key] = unique
            self._definitions[unique] = _Definition(contents, place)
        return self._names[key]

    def read(self, value: JsonValue, place: Place) -> Schema:
        """The nodes of a subschema.

        Raises:
            SchemaError: It is not a schema, or nests too deeply.
        """
        if isinstance(value, bool):
            return value
        if not isinstance(value, dict):
            raise SchemaError("This is not a schema: an object or a boolean.", path=place.pointer)
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise SchemaError(
                f"It nests more than {_MAX_DEPTH} levels deep.",
                path=place.pointer,
                hint="This limit is fixed: define deep parts under `$defs`, and refer to them.",
            )
        try:
            return self._read_object(value, self._resolution.enter(value, place))
        finally:
            self._depth -= 1

    def _read_object(self, value: dict[str, JsonValue], place: Place) -> Schema:
        named = find_dialect(str(value["$schema"])) if "$schema" in value else None
        if named is not None:
            place = replace(place, dialect=named)
        origin = Origin(place.pointer)
        keywords: dict[str, Any] = {}
        lost: list[Residual] = []
        if place.dialect.ref_hides_siblings and isinstance(value.get("$ref"), str):
            value = {"$ref": value["$ref"]}
        known = place.dialect.validator_class.VALIDATORS
        for keyword, argument in value.items():
            # Draft 4 has a boolean beside `minimum`, which its validator reads with that.
            beside = isinstance(argument, bool) and keyword.startswith("exclusive")
            if keyword in known or keyword in COMPANIONS or beside:
                reading = Reading(keyword, argument, value, place, keywords)
                if not read_keyword(self, reading):
                    lost.append(origin.of(keyword))
        return Node(keywords, origin, tuple(lost)) if keywords or lost else True

    def reference(self, ref: str, keyword: str, place: Place) -> str:
        """The name of what a reference at a place leads to.

        Raises:
            SchemaError: It leads nowhere.
        """
        contents, target = self._resolution.follow(ref, keyword, place)
        tail = ref.rstrip("/").rpartition("/")[2].lstrip("#")
        return self._define(_safe(tail) or "root", contents, target)


def _safe(name: str) -> str:
    return "".join(
        char if char.isascii() and (char.isalnum() or char in "_.-") else "_" for char in name
    )
