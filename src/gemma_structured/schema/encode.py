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

_INTEGER_DIGITS: Final = 18


def input_form(
    value: object, *, decimals_as_strings: bool = False, only_set: bool = False
) -> JsonValue:
    """The JSON value that a type's validation would read this value from.

    It differs from Pydantic's serialisation, which is the output form: fields have their validation
    aliases, secrets are shown, computed fields and custom serialisers play no part.

    Args:
        value: The value.
        decimals_as_strings: Whether a `Decimal` is written as a string though a number would do.
        only_set: Whether fields that hold a default are left out: it need not be valid itself.

    Raises:
        ValueError: Something in it has no JSON form (`PydanticSerializationError` is one).
    """
    return _Writer(decimals_as_strings=decimals_as_strings, only_set=only_set).write(value)


class _Writer:
    def __init__(self, *, decimals_as_strings: bool, only_set: bool) -> None:
        self._decimals_as_strings = decimals_as_strings
        self._only_set = only_set
        self._by_kind: tuple[tuple[Any, Callable[[Any], JsonValue]], ...] = (
            (Enum, lambda member: self.write(member.value)),
            ((str, int, float), to_jsonable_python),
            (Decimal, self._decimal),
            (RootModel, lambda model: self.write(model.root)),
            (BaseModel, self._model),
            (
                (Secret, SecretStr, SecretBytes),
                lambda secret: self.write(secret.get_secret_value()),
            ),
            (Mapping, self._mapping),
            ((list, tuple, set, frozenset), lambda items: [self.write(item) for item in items]),
        )

    def write(self, value: object) -> JsonValue:
        if value is None or isinstance(value, bool):
            return value
        for kinds, write in self._by_kind:
            if isinstance(value, kinds):
                return write(value)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return self._dataclass(value)
        return cast("JsonValue", to_jsonable_python(value))

    def _model(self, model: BaseModel) -> JsonValue:
        by_alias = model.model_config.get("validate_by_alias", True)
        written = {
            _name(name, field, by_alias=by_alias): self.write(getattr(model, name))
            for name, field in type(model).model_fields.items()
            if not self._only_set or name in model.model_fields_set
        }
        extra = model.__pydantic_extra__ or {}
        return written | {key: self.write(item) for key, item in extra.items()}

    def _dataclass(self, value: Any) -> JsonValue:
        infos: dict[str, FieldInfo] = getattr(value, "__pydantic_fields__", {})
        return {
            _name(field.name, infos.get(field.name), by_alias=True): self.write(
                getattr(value, field.name)
            )
            for field in dataclasses.fields(value)
            if field.init and not (self._only_set and _holds_default(value, field))
        }

    def _mapping(self, value: Mapping[object, object]) -> JsonValue:
        return {self._key(key): self.write(item) for key, item in value.items()}

    def _key(self, key: object) -> str:
        plain = self.write(key)
        if isinstance(plain, bool):
            return "true" if plain else "false"
        return plain if isinstance(plain, str) else str(plain)

    def _decimal(self, value: Decimal) -> JsonValue:
        """A number if it says the same, a string if it would lose digits."""
        if not value.is_finite():
            raise ValueError("an infinite decimal is not a JSON number")
        if self._decimals_as_strings:
            return format(value, "f")
        if value == value.to_integral_value() and value.adjusted() < _INTEGER_DIGITS:
            return int(value)
        number = float(value)
        return number if Decimal(repr(number)) == value else format(value, "f")


def _holds_default(value: Any, field: dataclasses.Field[Any]) -> bool:
    made = field.default_factory
    default = field.default if made is dataclasses.MISSING else made()
    return default is not dataclasses.MISSING and getattr(value, field.name) == default


def _name(name: str, field: FieldInfo | None, *, by_alias: bool) -> str:
    """The key by which validation reads a field."""
    alias = field.validation_alias if field is not None and by_alias else None
    if isinstance(alias, str):
        return alias
    for choice in alias.choices if isinstance(alias, AliasChoices) else [alias]:
        if isinstance(choice, str):
            return choice
        if isinstance(choice, AliasPath) and len(choice.path) == 1:
            return str(choice.path[0])
    return name
