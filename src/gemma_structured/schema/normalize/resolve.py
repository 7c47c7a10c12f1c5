"""Follows references: pointers, anchors, identifiers, dynamic scopes, other schemas."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urljoin

from jsonschema_specifications import REGISTRY  # type: ignore[import-untyped]
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DynamicAnchor

from gemma_structured.exceptions import SchemaError
from gemma_structured.types import pointer

if TYPE_CHECKING:
    from referencing import Registry
    from referencing._core import Resolver

    from gemma_structured.schema.dialect import Dialect
    from gemma_structured.schema.json_schema import JsonSchema
    from gemma_structured.types import JsonValue

__all__ = ["Place", "Resolution"]

_IDENTIFIERS: Final = frozenset(
    {"$id", "id", "$anchor", "$dynamicAnchor", "$recursiveAnchor", "$dynamicRef", "$recursiveRef"}
)
_METASCHEMA: Final = "https://json-schema.org/draft/2020-12/schema"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a subschema stands, and what its references are relative to.

    Attributes:
        dialect: The draft in force.
        path: The way to it from the root of the schema.
        prefix: What comes before that path, where it is in another document.
        base: The URI that references are relative to; `None` while no identifier matters.
        dynamic: The base URIs on the way to it, outermost first, each once.
        entered: Whether an identifier of its own is already counted in.
    """

    dialect: Dialect
    path: tuple[str | int, ...] = ()
    prefix: str = ""
    base: str | None = None
    dynamic: tuple[str, ...] = ()
    entered: bool = False

    @property
    def pointer(self) -> str:
        """The JSON Pointer to it."""
        return self.prefix + pointer(self.path)

    def at(self, step: str | int) -> Place:
        """The place one step down."""
        return Place(self.dialect, (*self.path, step), self.prefix, self.base, self.dynamic)


class Resolution:
    """The references of one schema.

    Args:
        schema: The schema.
    """

    def __init__(self, schema: JsonSchema) -> None:
        self._schema = schema
        self._document: JsonValue = schema.value
        self._paths: dict[int, tuple[str | int, ...]] | None = None
        self.root = Place(schema.dialect)
        if schema.registry is not None or _has_identifier(schema.value):
            self.root = self._identified_root

    @cached_property
    def _registry(self) -> Registry[Any]:
        known = self._schema.registry
        registry: Registry[Any] = REGISTRY if known is None else REGISTRY.combine(known)
        create: Any = self._schema.dialect.specification.create_resource
        try:
            registry = registry.with_resource(self._uri, create(self._document)).crawl()
        except TypeError:  # a boolean schema in a draft that has none
            self._document = _without_booleans(self._document)
            registry = registry.with_resource(self._uri, create(self._document)).crawl()
        return registry

    @cached_property
    def _uri(self) -> str:
        """The URI that the schema gives itself."""
        return self._identifier(self._document, self._schema.dialect) or ""

    @cached_property
    def _identified_root(self) -> Place:
        """The root's place, once references are more than pointers."""
        return Place(self._schema.dialect, base=self._uri, dynamic=(self._uri,), entered=True)

    def _identifier(self, value: JsonValue, dialect: Dialect) -> str | None:
        contents: Any = value
        found = dialect.specification.id_of(contents) if isinstance(value, dict) else None
        return None if found is None else found.rstrip("#")

    def enter(self, value: dict[str, JsonValue], place: Place) -> Place:
        """The place of a subschema itself: its references start from its own identifier."""
        if place.base is None or place.entered:
            return place
        identifier = self._identifier(value, place.dialect)
        if identifier is None:
            return place
        base = urljoin(place.base, identifier)
        return replace(place, base=base, dynamic=_entered(place.dynamic, base))

    def follow(self, ref: str, keyword: str, place: Place) -> tuple[JsonValue, Place]:
        """What a reference at a place leads to, and the place of that.

        Raises:
            SchemaError: It leads nowhere.
        """
        base = place.base
        if base is None:
            found = self._pointed(ref)
            if found is not None:
                return found[0], Place(place.dialect, found[1])
            base = self._uri
        try:
            contents, target = self._look_up(ref, base)
            if keyword != "$ref" and isinstance(contents, dict):
                contents, target = self._redirected(ref, keyword, place, contents, target)
        except (Unresolvable, ValueError):
            raise SchemaError(
                f"The reference {ref!r:.200} leads nowhere.",
                path=place.pointer,
                keyword=keyword,
                hint="Give the schema that it names in a `registry`; nothing is fetched.",
            ) from None
        path = self._path_of(contents)
        if path is not None and self._document is not self._schema.value:
            contents = _at(self._schema.value, path)
        prefix = "" if path is not None else f"{target}#{ref.partition('#')[2]}"
        dynamic = _entered(place.dynamic, target)
        return contents, Place(place.dialect, path or (), prefix, target, dynamic, entered=True)

    def _look_up(self, ref: str, base: str) -> tuple[JsonValue, str]:
        """What a reference leads to, and the base URI there."""
        resolved: Any = self._registry.resolver(base).lookup(ref)
        return resolved.contents, _base(resolved.resolver)

    def _pointed(self, ref: str) -> tuple[JsonValue, tuple[str | int, ...]] | None:
        """Follow a plain pointer from the root; `None` if it is none, or leads nowhere."""
        if ref not in {"#", ""} and not ref.startswith("#/"):
            return None
        found: JsonValue = self._schema.value
        path: list[str | int] = []
        for part in ref[2:].split("/") if len(ref) > 1 else ():
            name = unquote(part).replace("~1", "/").replace("~0", "~")
            if isinstance(found, dict) and name in found:
                found = found[name]
                path.append(name)
            elif isinstance(found, list) and name.isdecimal() and int(name) < len(found):
                found = found[int(name)]
                path.append(int(name))
            else:
                return None
        return found, tuple(path)

    def _redirected(
        self, ref: str, keyword: str, place: Place, contents: dict[str, JsonValue], base: str
    ) -> tuple[JsonValue, str]:
        """Follow a dynamic reference further: the schemas on the way to it may redirect it."""
        found: tuple[JsonValue, str] = contents, base
        if keyword == "$recursiveRef":
            for uri in reversed(place.dynamic) if contents.get("$recursiveAnchor") is True else ():
                outer = self._look_up("#", uri)
                if not isinstance(outer[0], dict) or outer[0].get("$recursiveAnchor") is not True:
                    break
                found = outer
            return found
        name = ref.partition("#")[2]
        if name and contents.get("$dynamicAnchor") == name:
            for uri in place.dynamic:
                try:
                    anchor: Any = self._registry.anchor(uri, name).value
                except Unresolvable:
                    continue
                if isinstance(anchor, DynamicAnchor):
                    redirected: Any = anchor.resource.contents
                    return redirected, uri
        return found

    def _path_of(self, contents: JsonValue) -> tuple[str | int, ...] | None:
        """Where a part of the schema stands in it; `None` if it is none."""
        if self._paths is None:
            self._paths = {}
            pending: list[tuple[JsonValue, tuple[str | int, ...]]] = [(self._document, ())]
            while pending:
                value, path = pending.pop()
                if isinstance(value, dict):
                    self._paths[id(value)] = path
                    pending.extend((child, (*path, step)) for step, child in value.items())
                elif isinstance(value, list):
                    self._paths[id(value)] = path
                    pending.extend((child, (*path, i)) for i, child in enumerate(value))
        return self._paths.get(id(contents))


def _base(resolver: Resolver[Any]) -> str:
    """The base URI of a resolver, which it tells only to what is looked up from there."""
    scope = next(iter(resolver.lookup(_METASCHEMA).resolver.dynamic_scope()), None)
    return "" if scope is None else scope[0]


def _at(value: JsonValue, path: tuple[str | int, ...]) -> JsonValue:
    """The part of a schema at a path that is known to exist."""
    for step in path:
        if isinstance(value, dict):
            value = value[str(step)]
        elif isinstance(value, list):
            value = value[int(step)]
    return value


def _without_booleans(value: JsonValue) -> JsonValue:
    """A copy with an object for each boolean: the same identifiers at the same places."""
    if isinstance(value, bool):
        return {}
    if isinstance(value, dict):
        return {
            key: child if key == "$recursiveAnchor" else _without_booleans(child)
            for key, child in value.items()
        }
    return [_without_booleans(child) for child in value] if isinstance(value, list) else value


def _entered(dynamic: tuple[str, ...], uri: str) -> tuple[str, ...]:
    return dynamic if uri in dynamic else (*dynamic, uri)


def _has_identifier(value: JsonValue) -> bool:
    pending = [value]
    while pending:
        one = pending.pop()
        if isinstance(one, dict):
            if not _IDENTIFIERS.isdisjoint(one) and any(
                isinstance(one.get(name), str | bool) for name in _IDENTIFIERS
            ):
                return True
            pending.extend(one.values())
        elif isinstance(one, list):
            pending.extend(one)
    return False
