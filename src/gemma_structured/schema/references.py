"""Resolves the references inside one schema: pointers, anchors and embedded `$id`s."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from jsonschema_specifications import REGISTRY  # type: ignore[import-untyped]
from referencing.exceptions import Unresolvable

from gemma_structured.exceptions import SchemaError
from gemma_structured.types import JsonValue, pointer

if TYPE_CHECKING:
    from referencing import Registry
    from referencing._core import Resolver

    from gemma_structured.schema.dialect import Dialect

__all__ = ["References", "Schema"]

Schema = dict[str, JsonValue] | bool
"""A schema as plain JSON."""


class References:
    """The references of one schema. Metaschemas of known drafts resolve, nothing is fetched."""

    __slots__ = ("_dialect", "_root", "_value")

    def __init__(
        self, value: Schema, dialect: Dialect, registry: Registry[Any] | None = None
    ) -> None:
        self._value = value
        self._dialect = dialect
        resource: Any = dialect.specification.create_resource(value)
        known = REGISTRY if registry is None else REGISTRY.combine(registry)
        self._root: Resolver[Any] = known.resolver_with_root(resource)

    def resolve(self, ref: str, base: tuple[str | int, ...] = (), keyword: str = "$ref") -> Schema:
        """The schema that a reference in the schema at `base` leads to.

        Args:
            ref: The reference.
            base: Where it stands.
            keyword: The keyword that it is the value of, to name in an error.

        Raises:
            SchemaError: It leads nowhere, or out of the schema.
        """
        found = self._pointed(ref) if not base else None
        if found is None:
            try:
                found = self._resolver_at(base).lookup(ref).contents
            except Unresolvable:
                raise self._error(ref, base, keyword) from None
        if not isinstance(found, dict | bool):
            raise SchemaError(
                f"{ref!r:.200} leads to something that is not a schema.",
                path=pointer((*base, keyword)),
                keyword=keyword,
            )
        return found

    def _pointed(self, ref: str) -> JsonValue:
        """Follow a plain pointer from the root; `None` where the whole machinery is needed."""
        if not ref.startswith("#") or (ref != "#" and not ref.startswith("#/")):
            return None
        found: JsonValue = self._value
        for part in ref[2:].split("/") if ref != "#" else ():
            name = unquote(part).replace("~1", "/").replace("~0", "~")
            if isinstance(found, dict) and name in found:
                found = found[name]
                if isinstance(found, dict) and ("$id" in found or "id" in found):
                    return None
            else:
                return None
        return found

    def _resolver_at(self, base: tuple[str | int, ...]) -> Resolver[Any]:
        """The resolver of a place: an `$id` on the way changes what references are relative to."""
        resolver = self._root
        here: Any = self._value
        for part in base:
            here = here[part]
            if isinstance(here, dict) and isinstance(here.get("$id", here.get("id")), str):
                resource = self._dialect.specification.create_resource(here)
                resolver = resolver.in_subresource(resource)
        return resolver

    def _error(self, ref: str, base: tuple[str | int, ...], keyword: str) -> SchemaError:
        local = ref.startswith("#")
        hint = (
            "Define what it names, under `$defs` for example."
            if local
            else "Schemas elsewhere are not fetched: put it under `$defs`, or in a `registry`."
        )
        return SchemaError(
            f"The reference {ref!r:.200} leads nowhere.",
            path=pointer((*base, keyword)),
            keyword=keyword,
            hint=hint,
        )
