"""Short names of types for prompts and errors, and where in a type something cannot be used."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from pydantic import BaseModel
from typing_extensions import is_typeddict
from typing_inspection.introspection import is_union_origin

__all__ = ["find_fault", "type_name"]

_LONGEST = 80


def type_name(spec: object) -> str:
    """A type as a person would write it: `Invoice | None`, `list[Line]`, `Literal['a', 'b']`."""
    name = _name(spec)
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"


def _name(spec: object) -> str:
    if spec is None or spec is type(None):
        return "None"
    if spec is Ellipsis:
        return "..."
    origin, args = get_origin(spec), get_args(spec)
    if origin is Annotated:
        return _name(args[0])
    if origin is Literal:
        return f"Literal[{', '.join(map(repr, args))}]"
    if is_union_origin(origin):
        return " | ".join(map(_name, args))
    if origin is not None and args:
        return f"{_name(origin)}[{', '.join(map(_name, args))}]"
    if isinstance(spec, list):
        return f"[{', '.join(map(_name, spec))}]"
    return getattr(spec, "__name__", None) or str(spec).removeprefix("typing.")


def find_fault(spec: object, is_bad: Callable[[object], bool]) -> tuple[str, object]:
    """Follow a bad type down to the smallest part of it that is bad by itself.

    Args:
        spec: A type that is bad.
        is_bad: Whether a part, taken alone, cannot be used.

    Returns:
        The path to that part, as in `Invoice.lines[].price`, and the part.
    """
    path, here, seen = type_name(spec), spec, list[object]()
    while not any(each is here for each in seen):
        seen.append(here)
        for step, part in _parts(here):
            if is_bad(part):
                path, here = path + step, part
                break
        else:
            break
    return path, here


def _parts(spec: object) -> Iterator[tuple[str, object]]:
    origin, args = get_origin(spec), get_args(spec)
    if origin is Annotated:
        yield "", args[0]
    elif is_union_origin(origin):
        yield from ((f"({_name(arg)})", arg) for arg in args)
    elif origin is Literal:
        return
    elif isinstance(origin, type) and issubclass(origin, Mapping):
        yield from zip(("{key}", "{}"), args, strict=False)
    elif origin is tuple:
        yield from ((f"[{index}]", arg) for index, arg in enumerate(args) if arg is not Ellipsis)
    elif isinstance(origin, type) and issubclass(origin, Iterable):
        yield from (("[]", arg) for arg in args)
    else:
        yield from _fields(spec, origin)


def _fields(spec: object, origin: object) -> Iterator[tuple[str, object]]:
    if isinstance(spec, type) and issubclass(spec, BaseModel):
        for name, field in spec.model_fields.items():
            metadata = tuple(field.metadata)
            annotation: Any = field.annotation
            yield f".{name}", Annotated[annotation, *metadata] if metadata else annotation
        return
    holder = origin or spec
    if isinstance(holder, type) and _has_fields(holder):
        try:
            hints = get_type_hints(holder, include_extras=True)
        except (NameError, TypeError):
            return
        yield from ((f".{name}", hint) for name, hint in hints.items())


def _has_fields(cls: type) -> bool:
    return dataclasses.is_dataclass(cls) or is_typeddict(cls) or hasattr(cls, "_fields")
