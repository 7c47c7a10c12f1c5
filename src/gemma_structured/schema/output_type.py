"""`OutputType`: what a model is asked for, be it a Python type or a term."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Generic, cast, overload

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError
from pydantic_core import to_jsonable_python
from typing_extensions import TypeForm, TypeVar

from gemma_structured.exceptions import InputError, SchemaError
from gemma_structured.schema.json_schema import JsonSchema
from gemma_structured.schema.terms import Choice, Lark, Regex, Term
from gemma_structured.schema.type_schema import TypeSchemaGenerator
from gemma_structured.schema.validator import compile_validator

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

__all__ = ["OutputType"]

T = TypeVar("T")
S = TypeVar("S")


class OutputType(Term[T], Generic[T]):
    """What a model is asked for. Make one with `OutputType.of`."""

    __slots__ = ("_adapter", "_name", "_term", "_validator")

    def __init__(
        self,
        term: JsonSchema | Regex | Choice | Lark,
        *,
        name: str,
        adapter: TypeAdapter[T] | None = None,
    ) -> None:
        self._term = term
        self._name = name
        self._adapter = adapter
        self._validator: Validator | None = None

    @overload
    @classmethod
    def of(cls, spec: Term[S]) -> OutputType[S]: ...
    @overload
    @classmethod
    def of(cls, spec: TypeForm[S]) -> OutputType[S]: ...
    @classmethod
    def of(cls, spec: TypeForm[S] | Term[S]) -> OutputType[S]:
        """The output type of a Python type or a term.

        Raises:
            SchemaError: It cannot be used; `path` says where in it.
        """
        given: object = spec
        if isinstance(given, OutputType):
            return cast("OutputType[S]", given)
        if isinstance(given, JsonSchema | Regex | Choice | Lark):
            return cast("OutputType[S]", OutputType(given, name=type(given).__name__))
        try:
            adapter: TypeAdapter[Any] = TypeAdapter(given)
            schema = adapter.json_schema(mode="validation", schema_generator=TypeSchemaGenerator)
        except (PydanticUserError, TypeError) as error:
            raise SchemaError(f"{given!r:.100} cannot be used: {error}") from None
        return OutputType(
            JsonSchema(schema), name=getattr(given, "__name__", str(given)), adapter=adapter
        )

    @property
    def name(self) -> str:
        """A short name, for prompts."""
        return self._name

    @property
    def term(self) -> JsonSchema | Regex | Choice | Lark:
        """What the text must be."""
        return self._term

    @property
    def is_json(self) -> bool:
        """Whether the text is JSON; otherwise the text itself is the value."""
        return isinstance(self._term, JsonSchema)

    @property
    def adapter(self) -> TypeAdapter[T] | None:
        """What turns the JSON into the Python value; `None` for terms."""
        return self._adapter

    @property
    def description(self) -> str | None:
        """What the type says about itself."""
        value = self._term.value if isinstance(self._term, JsonSchema) else None
        described = value.get("description") if isinstance(value, dict) else None
        return described if isinstance(described, str) else None

    @property
    def validator(self) -> Validator:
        """The compiled validator of its JSON Schema."""
        assert isinstance(self._term, JsonSchema)
        if self._validator is None:
            self._validator = compile_validator(self._term)
        return self._validator

    def dump(self, value: T) -> str:
        """Write an example value as a model would.

        Raises:
            InputError: The value is not one of this type.
        """
        if not isinstance(self._term, JsonSchema):
            if not isinstance(value, str) or not self._term.matches(value):
                raise InputError(f"An example for {self.name} does not match it.")
            return value
        if self._adapter is None:
            plain = value
        else:
            try:
                plain = to_jsonable_python(
                    self._adapter.dump_python(value, mode="json", by_alias=True)
                )
                self._adapter.validate_python(value)
            except ValidationError as error:
                raise InputError(f"An example for {self.name} is not valid: {error}") from None
        for error in self.validator.iter_errors(plain):  # type: ignore[arg-type]
            raise InputError(f"An example for {self.name} is not valid: {error.message:.200}")
        return json.dumps(plain, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
