"""Writes a Python value as the JSON that would be read back as it: input, not output, form."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, cast

from pydantic import AliasChoices, AliasPath, BaseModel, RootModel, Secret, SecretBytes, SecretStr
from pydantic_core import to_jsonable_python

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from gemma_structured.types import JsonValue

__all__ = ["input_form"]


def input_form(value: object) -> JsonValue:
    """The JSON value that a type's validation would read this value from.

    It differs from Pydantic's serialisation, which is the output form: fields have their validation
    aliases, secrets are shown, computed fields and custom serialisers play no part.

    Raises:
        ValueError: Something in it has no JSON form (`PydanticSerializationError` is one).
    """
    if value is None or isinstance(value, bool):
        return value
    for kinds, write in _WRITERS:
        if isinstance(value, kinds):
            return write(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _dataclass(value)
    return cast("JsonValue", to_jsonable_python(value))


def _model(model: BaseModel) -> JsonValue:
    config = model.model_config
    by_alias = config.get("validate_by_alias", True)
    written = {
        _name(name, field, by_alias=by_alias): input_form(getattr(model, name))
        for name, field in type(model).model_fields.items()
    }
    extra = model.__pydantic_extra__ or {}
    return written | {key: input_form(item) for key, item in extra.items()}


def _dataclass(value: Any) -> JsonValue:
    infos: dict[str, FieldInfo] = getattr(value, "__pydantic_fields__", {})
    return {
        _name(field.name, infos.get(field.name), by_alias=True): input_form(
            getattr(value, field.name)
        )
        for field in dataclasses.fields(value)
        if field.init
    }


def _name(name: str, field: FieldInfo | None, *, by_alias: bool) -> str:
    alias = field.validation_alias if field is not None and by_alias else None
    if isinstance(alias, str):
        return alias
    choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
    for choice in choices:
        if isinstance(choice, str):
            return choice
        if isinstance(choice, AliasPath) and len(choice.path) == 1:
            return str(choice.path[0])
    return name


def _key(key: object) -> str:
    plain = input_form(key)
    if isinstance(plain, str):
        return plain
    if isinstance(plain, bool):
        return "true" if plain else "false"
    return str(plain)


def _decimal(value: Decimal) -> JsonValue:
    """A number if it says the same, a string if it would lose digits."""
    if not value.is_finite():
        raise ValueError("an infinite decimal is not a JSON number")
    if value == value.to_integral_value() and value.adjusted() < 18:  # noqa: PLR2004 - digits
        return int(value)
    number = float(value)
    return number if Decimal(repr(number)) == value else format(value, "f")


def _list(value: Any) -> JsonValue:
    return [input_form(item) for item in value]


def _mapping(value: Mapping[object, object]) -> JsonValue:
    return {_key(key): input_form(item) for key, item in value.items()}


_WRITERS: Final[tuple[tuple[type | tuple[type, ...], Callable[[Any], JsonValue]], ...]] = (
    (Enum, lambda member: input_form(member.value)),
    ((str, int, float), to_jsonable_python),
    (Decimal, _decimal),
    (RootModel, lambda model: input_form(model.root)),
    (BaseModel, _model),
    ((Secret, SecretStr, SecretBytes), lambda secret: input_form(secret.get_secret_value())),
    (Mapping, _mapping),
    ((list, tuple, set, frozenset), _list),
)
