"""Rebuilds `typing.TypedDict` classes, which Pydantic refuses before Python 3.12."""

from __future__ import annotations

import sys
import types
import typing
from typing import (
    Annotated,
    Any,
    NotRequired,
    Required,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import typing_extensions
from typing_extensions import ReadOnly
from typing_inspection.introspection import is_union_origin

__all__ = ["with_modern_typed_dicts"]


def with_modern_typed_dicts(spec: object) -> object:
    """The type with each `typing.TypedDict` in it as a `typing_extensions.TypedDict`.

    Both are plain `dict`s at run time. From Python 3.12 on the type is returned as it is.
    """
    if sys.version_info >= (3, 12):
        return spec
    return _modern(spec, {})


def _modern(spec: Any, done: dict[object, Any]) -> Any:
    if isinstance(spec, type) and typing.is_typeddict(spec):
        old_kind = type(spec).__module__ == "typing"
        return _rebuilt(spec, done) if old_kind else spec
    args = get_args(spec)
    origin = get_origin(spec)
    if not args or origin is typing.Literal:
        return spec
    if origin is Annotated:
        return Annotated[_modern(args[0], done), *args[1:]]
    new = tuple(_modern(arg, done) for arg in args)
    if all(mine is theirs for mine, theirs in zip(new, args, strict=True)):
        return spec
    if is_union_origin(origin):
        return Union[new]  # noqa: UP007 - of a tuple that is known at run time
    if isinstance(spec, types.GenericAlias):
        return types.GenericAlias(typing.cast("type", origin), new)
    return spec.copy_with(new) if hasattr(spec, "copy_with") else spec


def _rebuilt(old: Any, done: dict[object, Any]) -> Any:
    if old in done:
        return done[old]
    make: Any = typing_extensions.TypedDict
    new = make(old.__name__, {})
    done[old] = new
    fields: dict[str, Any] = {}
    required: set[str] = set()
    for name, hint in get_type_hints(old, include_extras=True).items():
        kind, needed = _without_qualifiers(hint, needed=name in old.__required_keys__)
        fields[name] = _modern(kind, done)
        if needed:
            required.add(name)
    new.__annotations__ = fields
    new.__required_keys__ = frozenset(required)
    new.__optional_keys__ = frozenset(fields.keys() - required)
    for attribute in ("__doc__", "__module__", "__qualname__", "__pydantic_config__"):
        if hasattr(old, attribute):
            setattr(new, attribute, getattr(old, attribute))
    return new


def _without_qualifiers(hint: Any, *, needed: bool) -> tuple[Any, bool]:
    origin = get_origin(hint)
    while origin in {Required, NotRequired, ReadOnly}:
        if origin is not ReadOnly:
            needed = origin is Required
        hint = get_args(hint)[0]
        origin = get_origin(hint)
    return hint, needed
