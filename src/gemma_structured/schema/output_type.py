"""`OutputType`: what a model is asked for, be it a Python type or a term."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, cast, overload

from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypeForm, TypeVar

from gemma_structured.exceptions import InputError
from gemma_structured.schema.encode import input_form
from gemma_structured.schema.json_schema import JsonSchema
from gemma_structured.schema.output_type_cache import OutputTypeCache
from gemma_structured.schema.property_order import in_declared_order
from gemma_structured.schema.terms import Choice, Lark, Regex, Term
from gemma_structured.schema.type_reader import read_term, read_type
from gemma_structured.schema.validator import compile_validator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jsonschema.protocols import Validator

    from gemma_structured.schema.code import Code

__all__ = ["OutputType"]

T = TypeVar("T")
S = TypeVar("S")

_MAX_EXAMPLE_ISSUES = 3
_MAX_REFERENCES = 8


class OutputType(Term[T], Generic[T]):
    """What a model is asked for; `T` is what the answer becomes. Made by `OutputType.of`.

    Of a Python type, fields are asked for in the order in which they are declared, by the name that
    validation reads (the validation alias, where there is one). Fields with a default may be left
    out by the model; computed fields are not asked for.
    """

    __slots__ = ("_adapter", "_decimals", "_name", "_term", "_validator")

    def __init__(
        self,
        term: JsonSchema | Regex | Choice | Lark | Code,
        *,
        name: str,
        adapter: TypeAdapter[T] | None = None,
    ) -> None:
        self._term = term
        self._name = name
        self._adapter = adapter
        self._validator: Validator | None = None
        self._decimals: bool | None = None

    @overload
    @classmethod
    def of(cls, spec: Term[S]) -> OutputType[S]: ...
    @overload
    @classmethod
    def of(cls, spec: TypeForm[S]) -> OutputType[S]: ...
    @classmethod
    def of(cls, spec: TypeForm[S] | Term[S]) -> OutputType[S]:
        """The output type of a Python type or a term; the same one for the same type.

        Args:
            spec: A Python type (a Pydantic model, dataclass, TypedDict, NamedTuple, Enum, Literal,
                union, container, scalar, `Annotated` of these), a `JsonSchema`, `Regex`, `Choice`,
                `Lark` or `Code`, a term of outlines, or an `OutputType`.

        Raises:
            SchemaError: It cannot be used; `path` says where in it.
        """
        given: object = spec
        if isinstance(given, OutputType):
            return cast("OutputType[S]", given)
        found = _CACHE.get(given)
        if found is None:
            found = _CACHE.put(given, _read(given))
        return cast("OutputType[S]", found)

    @property
    def name(self) -> str:
        """A short name, for prompts and messages: `Invoice | None`."""
        return self._name

    @property
    def term(self) -> JsonSchema | Regex | Choice | Lark | Code:
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
    def reads_decimals(self) -> bool:
        """Whether a `Decimal` is somewhere in the Python type."""
        if self._decimals is None:
            self._decimals = self._adapter is not None and _holds_decimal(self._adapter.core_schema)
        return self._decimals

    @property
    def description(self) -> str | None:
        """What the type says about itself: its docstring, or the schema's `description`."""
        if not isinstance(self._term, JsonSchema):
            return None
        node = self._term.value
        for _ in range(_MAX_REFERENCES):
            if not isinstance(node, dict):
                break
            text, ref = node.get("description"), node.get("$ref")
            if isinstance(text, str):
                return text
            if not isinstance(ref, str):
                break
            node = self._term.resolve(ref)
        return None

    @property
    def validator(self) -> Validator:
        """The compiled validator of its JSON Schema.

        Raises:
            TypeError: It is not JSON but text.
        """
        if self._validator is None:
            if not isinstance(self._term, JsonSchema):
                raise TypeError(f"{self.name} is text and has no JSON Schema.")
            self._validator = compile_validator(self._term)
        return self._validator

    def dump(self, value: T, *, context: object = None) -> str:
        """Write an example value as a model is to write it: compact, keys in declared order.

        Args:
            value: An instance of the type (or what validates as one).
            context: Handed to Pydantic's validators as `info.context`.

        Returns:
            Compact JSON that has been validated, or the text itself.

        Raises:
            InputError: The value is not one of this type.
        """
        if not isinstance(self._term, JsonSchema):
            if not isinstance(value, str) or not self._term.matches(value):
                raise InputError(f"An example for {self.name} is not a text that it allows.")
            return value
        refusal: InputError | None = None
        for plain_form in self._forms():
            try:
                return self._dump_json(plain_form(value), self._term, context)
            except (ValueError, TypeError, RecursionError) as error:
                refusal = refusal or self._refusal(error)
        assert refusal is not None, "there is at least one form"
        raise refusal

    def _forms(self) -> Iterator[Callable[[T], Any]]:
        """The ways to write a value, the likeliest first."""
        yield input_form
        if self.reads_decimals:
            yield partial(input_form, decimals_as_strings=True)
        yield partial(input_form, only_set=True)
        if self._adapter is not None:
            yield partial(
                self._adapter.dump_python,
                mode="json",
                by_alias=True,
                round_trip=True,
                warnings="error",
            )

    def _dump_json(self, plain: Any, schema: JsonSchema, context: object) -> str:
        for error in self.validator.iter_errors(plain):
            where = "/".join(map(str, error.absolute_path)) or "its root"
            raise InputError(f"at {where} it breaks {error.validator!r}")
        plain = in_declared_order(plain, schema, self.validator)
        text = json.dumps(plain, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        text.encode()
        if self._adapter is not None:
            self._adapter.validate_json(text, context=context)
        return text

    def _refusal(self, error: Exception) -> InputError:
        if isinstance(error, InputError):
            reason = error.message
        elif isinstance(error, ValidationError):
            reason = "; ".join(
                f"{'.'.join(map(str, each['loc'])) or 'value'}: {each['msg']}"
                for each in error.errors(include_input=False, include_url=False)[
                    :_MAX_EXAMPLE_ISSUES
                ]
            )
        elif isinstance(error, RecursionError):
            reason = "it is nested too deeply, or contains itself"
        else:
            reason = "something in it has no JSON form"
        return InputError(
            f"An example for {self.name} is not valid: {reason}.",
            hint="Give an instance of the output type.",
        )

    def __repr__(self) -> str:
        return f"OutputType({self.name})"


def _read(spec: object) -> OutputType[Any]:
    term = read_term(spec)
    if term is not None:
        return OutputType(term[0], name=term[1])
    schema, name, adapter = read_type(spec)
    return OutputType(schema, name=name, adapter=adapter)


def _holds_decimal(core_schema: object) -> bool:
    pending: list[object] = [core_schema]
    while pending:
        here = pending.pop()
        if isinstance(here, dict):
            if here.get("type") == "decimal":
                return True
            pending.extend(here.values())
        elif isinstance(here, list | tuple):
            pending.extend(here)
    return False


_CACHE: OutputTypeCache[OutputType[Any]] = OutputTypeCache()
