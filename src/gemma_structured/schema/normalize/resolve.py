"""Follows references: pointers, anchors, identifiers, dynamic scopes, and a registry of schemas elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from jsonschema_specifications import REGISTRY
from referencing import Registry, Resource
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DynamicAnchor

from gemma_structured.exceptions import SchemaError
from gemma_structured.types import pointer

if TYPE_CHECKING:
    from referencing import Resolver

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
        path: The way to it from the root of the schema.
        prefix: What comes before that path, where it is in another document.
        dialect: The draft in force.
        resolver: What its references are relative to; `None` while no identifier matters.
        dynamic: The base URIs on the way to it, outermost first, each once.
        entered: Whether an identifier of its own is already counted in.
    """

    dialect: Dialect
    path: tuple[str | int, ...] = ()
    prefix: str = ""
    resolver: Resolver[Any] | None = field(default=None, compare=False)
    dynamic: tuple[str, ...] = ()
    entered: bool = field(default=False, compare=False)

    @property
    def pointer(self) -> str:
        """The JSON Pointer to it."""
        return self.prefix + pointer(self.path)

    @property
    def parent(self) -> Place:
        """The place one step up."""
        return replace(self, path=self.path[:-1])

    def at(self, step: str | int) -> Place:
        """The place one step down."""
        return Place(self.dialect, (*self.path, step), self.prefix, self.resolver, self.dynamic)


class Resolution:
    """The references of one schema.

    Args:
        schema: The schema.
    """

    def __init__(self, schema: JsonSchema) -> None:
        registry = schema.registry
        self._schema = schema
        self._document: JsonValue = schema.value
        self._paths: dict[int, tuple[str | int, ...]] | None = None
        self.root = Place(schema.dialect)
        self._registry: Registry[Any] = REGISTRY if registry is None else REGISTRY.combine(registry)
        if registry is not None or _has_identifier(schema.value):
            self.root = self._identified(self.root)

    def _identified(self, place: Place) -> Place:
        """The root's place with a resolver, once references are more than pointers."""
        specification = self._schema.dialect.specification
        resource: Resource[Any] = Resource(contents=self._document, specification=specification)
        uri = resource.id() or ""
        try:
            self._registry = self._registry.with_resource(uri, resource).crawl()
        except TypeError:  # a boolean schema in a draft that has none
            self._document = _without_booleans(self._document)
            resource = Resource(contents=self._document, specification=specification)
            self._registry = self._registry.with_resource(uri, resource).crawl()
        return replace(place, resolver=self._registry.resolver(uri), dynamic=(uri,), entered=True)

    def enter(self, value: dict[str, JsonValue], place: Place) -> Place:
        """The place of a subschema itself: an identifier in it changes what references are relative to."""
        if place.resolver is None or place.entered:
            return place
        resource: Resource[Any] = Resource(
            contents=value, specification=place.dialect.specification
        )
        if resource.id() is None:
            return place
        resolver = place.resolver.in_subresource(resource)
        return replace(place, resolver=resolver, dynamic=_entered(place.dynamic, _base(resolver)))

    def follow(self, ref: str, keyword: str, place: Place) -> tuple[JsonValue, Place]:
        """What a reference at a place leads to, and the place of that.

        Raises:
            SchemaError: It leads nowhere.
        """
        if place.resolver is None:
            found = self._pointed(ref)
            if found is not None:
                return found[0], Place(place.dialect, found[1])
            place = replace(self._identified(self.root), path=place.path, dialect=place.dialect)
        assert place.resolver is not None
        try:
            if keyword == "$ref":
                resolved = self._registry.resolver(_base(place.resolver)).lookup(ref)
                contents, resolver = resolved.contents, resolved.resolver
            else:
                contents, resolver = self._dynamic(ref, keyword, place)
        except (Unresolvable, ValueError):
            raise SchemaError(
                f"The reference {ref!r:.200} leads nowhere.",
                path=place.pointer,
                keyword=keyword,
                hint="Give the schema that it names in a registry; nothing is fetched.",
            ) from None
        base = _base(resolver)
        path = self._path_of(contents)
        if path is not None and self._document is not self._schema.value:
            contents = _at(self._schema.value, path)
        target = Place(
            place.dialect,
            path or (),
            "" if path is not None else f"{base}#{ref.partition('#')[2]}",
            resolver,
            _entered(place.dynamic, base),
            entered=True,
        )
        return contents, target

    def _pointed(self, ref: str) -> tuple[JsonValue, tuple[str | int, ...]] | None:
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

    def _dynamic(self, ref: str, keyword: str, place: Place) -> tuple[JsonValue, Resolver[Any]]:
        """Follow a reference that the schemas on the way to it may redirect."""
        assert place.resolver is not None
        static = self._registry.resolver(_base(place.resolver)).lookup(ref)
        contents, resolver = static.contents, static.resolver
        if not isinstance(contents, dict):
            return contents, resolver
        if keyword == "$recursiveRef":
            for uri in reversed(place.dynamic) if contents.get("$recursiveAnchor") is True else ():
                outer = self._registry.resolver(uri).lookup("#")
                if outer.contents.get("$recursiveAnchor") is not True:
                    break
                contents, resolver = outer.contents, outer.resolver
            return contents, resolver
        name = ref.partition("#")[2]
        if not name or contents.get("$dynamicAnchor") != name:
            return contents, resolver
        for uri in place.dynamic:
            try:
                anchor = self._registry.anchor(uri, name).value
            except Unresolvable:
                continue
            if isinstance(anchor, DynamicAnchor):
                return anchor.resource.contents, self._registry.resolver(uri)
        return contents, resolver

    def _path_of(self, contents: JsonValue) -> tuple[str | int, ...] | None:
        if self._paths is None:
            self._paths = {}
            pending: list[tuple[JsonValue, tuple[str | int, ...]]] = [(self._document, ())]
            while pending:
                value, path = pending.pop()
                if isinstance(value, dict | list):
                    self._paths[id(value)] = path
                    steps = value.items() if isinstance(value, dict) else enumerate(value)
                    pending.extend((child, (*path, step)) for step, child in steps)
        return self._paths.get(id(contents))


def _base(resolver: Resolver[Any]) -> str:
    """The base URI of a resolver, which it tells only to what is looked up from there."""
    scope = next(iter(resolver.lookup(_METASCHEMA).resolver.dynamic_scope()), None)
    return "" if scope is None else scope[0]


def _at(value: JsonValue, path: tuple[str | int, ...]) -> JsonValue:
    for step in path:
        value = value[step]  # type: ignore[index,call-overload] - a path that was just walked
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
