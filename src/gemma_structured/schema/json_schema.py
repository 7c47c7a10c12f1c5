"""`JsonSchema`: a JSON Schema as a value that can be walked, transformed, resolved and compared."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias, cast

from gemma_structured.exceptions import InputError, SchemaError
from gemma_structured.schema.dialect import DEFAULT_DIALECT, Dialect, children, find_dialect
from gemma_structured.schema.plain_json import MAX_VALUES, plain_json
from gemma_structured.schema.references import References, Schema
from gemma_structured.schema.stack import enough_stack
from gemma_structured.schema.terms import Term
from gemma_structured.schema.vocabularies import custom_dialect
from gemma_structured.types import JsonValue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from referencing import Registry

__all__ = ["FormatMeaning", "JsonSchema", "Path", "Schema"]

Path = tuple[str | int, ...]
"""Keys and indexes from the root of a schema."""

FormatMeaning: TypeAlias = Literal["assertion", "annotation"]
"""Whether a text that is not of its `format` is wrong, or not."""


class JsonSchema(Term[JsonValue]):
    """A JSON Schema: what `gs.JsonSchema({...})` makes, and what every Python type becomes.

    The draft is the one that `$schema` names, 2020-12 without it
    (https://json-schema.org/draft/2020-12/json-schema-core). The schema keeps its own meaning: an
    object without `additionalProperties` is open. The order of `properties` is the order in which a
    model writes them, so two schemas that differ in it are not equal; the order of keywords means
    nothing.

    Args:
        value: The schema, as `json.load` gives it. It is copied.
        registry: Schemas elsewhere that it may refer to by their URIs
            (https://referencing.readthedocs.io/). Nothing is ever fetched.
        formats: Whether the drafts' formats are asserted, in the mask and in validation, or say
            nothing. The drafts leave that open; those that no draft defines never say anything.
        max_values: The most values that it may hold in all, those that stand in several places
            counted each time.

    Raises:
        InputError: `formats` is neither of the two, or `max_values` is less than 1.
        SchemaError: It is not JSON, its metaschema refuses it, a regular expression in it is none,
            a `$ref` leads nowhere, or it applies itself to one value without end. The error's
            `path` is a JSON Pointer to the place.
    """

    __slots__ = ("_canonical", "_dialect", "_formats", "_references", "_registry", "_value")

    @enough_stack()
    def __init__(
        self,
        value: object,
        *,
        registry: Registry[Any] | None = None,
        formats: FormatMeaning = "assertion",
        max_values: int = MAX_VALUES,
    ) -> None:
        from gemma_structured.schema.metaschema import check_schema  # noqa: PLC0415 - a cycle

        if formats not in {"assertion", "annotation"}:
            raise InputError(f'formats is "assertion" or "annotation", not {formats!r:.40}.')
        if not isinstance(cast("object", max_values), int) or max_values < 1:
            raise InputError(f"max_values must be a number of at least 1, not {max_values!r:.40}.")
        plain = plain_json(value, max_values)
        if not isinstance(plain, dict | bool):
            raise SchemaError(
                f"A JSON Schema is an object or a boolean, not a {type(value).__name__}.",
                hint="Pass the decoded schema, as json.load gives it.",
            )
        self._set(plain, _dialect_of(plain, registry), registry, formats)
        check_schema(self)

    def _set(
        self,
        value: Schema,
        dialect: Dialect,
        registry: Registry[Any] | None,
        formats: FormatMeaning,
    ) -> None:
        self._value: Schema = value
        self._registry = registry
        self._dialect = dialect
        self._formats: FormatMeaning = formats
        self._canonical: str | None = None
        self._references: References | None = None

    @classmethod
    def trusted(
        cls,
        value: Schema,
        dialect: Dialect | None = None,
        registry: Registry[Any] | None = None,
        formats: FormatMeaning = "assertion",
    ) -> Self:
        """Wrap a schema that this package has built itself: neither copied nor checked.

        Args:
            value: The schema; the caller gives it away.
            dialect: Its draft, where it is not the one that `$schema` names.
            registry: Schemas elsewhere that it refers to.
            formats: Whether formats are asserted.
        """
        made = cls.__new__(cls)
        cls._set(made, value, dialect or _dialect_of(value, registry), registry, formats)
        return made

    @property
    def value(self) -> Schema:
        """The schema as plain JSON. It is shared: copy it before changing it."""
        return self._value

    @property
    def dialect(self) -> Dialect:
        """The draft that it is written in."""
        return self._dialect

    @property
    def registry(self) -> Registry[Any] | None:
        """Schemas elsewhere that it may refer to."""
        return self._registry

    @property
    def formats(self) -> FormatMeaning:
        """Whether formats are asserted."""
        return self._formats

    @property
    def canonical(self) -> str:
        """Compact JSON with sorted keywords: the same for schemas that are equal."""
        if self._canonical is None:
            self._canonical = json.dumps(
                _sorted_keywords(self._value), ensure_ascii=False, separators=(",", ":")
            )
        return self._canonical

    @property
    def references(self) -> References:
        """What resolves the `$ref`s in it."""
        if self._references is None:
            self._references = References(self._value, self._dialect, self._registry)
        return self._references

    def walk(self) -> Iterator[tuple[Path, Schema]]:
        """Every schema in it with its path, parents first, in the order written.

        Each is given where it stands; a `$ref` is not followed.
        """
        pending: list[tuple[Path, JsonValue]] = [((), self._value)]
        while pending:
            path, schema = pending.pop()
            if isinstance(schema, bool):
                yield path, schema
            elif isinstance(schema, dict):
                yield path, schema
                pending.extend(
                    reversed([((*path, *step), child) for step, child in children(schema)])
                )

    def transform(self, fn: Callable[[Path, Schema], Schema]) -> JsonSchema:
        """Rebuild it bottom-up: `fn` gets each schema's path and the schema with its new children.

        Args:
            fn: Returns what stands there from now on; it may change the dict that it is given.

        Returns:
            The new schema, of the same draft. It is trusted: not checked again.
        """
        return JsonSchema.trusted(
            _transform(self._value, (), fn), self._dialect, self._registry, self._formats
        )

    def resolve(self, ref: str, *, base: Path = ()) -> Schema:
        """The schema that a reference leads to.

        Args:
            ref: A `$ref` or `$dynamicRef`: `#`, `#/$defs/Line`, `#anchor`, or an `$id` inside.
            base: The path of the schema that the reference stands in.

        Raises:
            SchemaError: It leads nowhere, or out of the schema.
        """
        return self.references.resolve(ref, base)

    def __eq__(self, other: object) -> bool:
        return (
            self.canonical == other.canonical
            and self._dialect is other._dialect
            and self._formats == other._formats
            if isinstance(other, JsonSchema)
            else NotImplemented
        )

    def __hash__(self) -> int:
        return hash(self.canonical)

    def __repr__(self) -> str:
        text = self.canonical
        return f"JsonSchema({text if len(text) <= 80 else text[:77] + '...'})"  # noqa: PLR2004


def _dialect_of(value: Schema, registry: Registry[Any] | None) -> Dialect:
    uri = value.get("$schema") if isinstance(value, dict) else None
    if uri is None:
        return DEFAULT_DIALECT
    dialect = None
    if isinstance(uri, str):
        dialect = find_dialect(uri) or custom_dialect(uri, registry)
    if dialect is None:
        raise SchemaError(
            "This draft of JSON Schema is not known.",
            path="/$schema",
            keyword="$schema",
            hint=f"Name a known one, such as {DEFAULT_DIALECT.uri}, leave `$schema` out, "
            "or give its metaschema in the registry.",
        )
    return dialect


def _transform(schema: Schema, path: Path, fn: Callable[[Path, Schema], Schema]) -> Schema:
    if isinstance(schema, bool):
        return fn(path, schema)
    rebuilt: dict[str, Any] = dict(schema)
    for step, child in children(schema):
        if not isinstance(child, dict | bool):
            continue
        new = _transform(child, (*path, *step), fn)
        keyword, *rest = step
        assert isinstance(keyword, str)
        if not rest:
            rebuilt[keyword] = new
            continue
        container: Any = rebuilt[keyword]
        untouched = container is schema[keyword]
        if untouched:
            container = rebuilt[keyword] = container.copy()
        container[rest[0]] = new
    return fn(path, rebuilt)


def _sorted_keywords(schema: Schema) -> Schema:
    def sort(_: Path, node: Schema) -> Schema:
        return dict(sorted(node.items())) if isinstance(node, dict) else node

    return _transform(schema, (), sort)
