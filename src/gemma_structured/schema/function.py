"""A function's signature and docstring → the JSON Schema of its arguments."""

from __future__ import annotations

import functools
import inspect
import typing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, NotRequired, cast, get_args, get_origin

import typing_extensions
from pydantic import Field
from pydantic_core import PydanticSerializationError, to_jsonable_python

from gemma_structured.exceptions import SchemaError
from gemma_structured.schema.docstrings import read_docstring
from gemma_structured.schema.output_type import OutputType

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gemma_structured.types import JsonValue

__all__ = ["FunctionSchema"]

_NAMED = {
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.KEYWORD_ONLY,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionSchema:
    """How a model calls a function.

    Attributes:
        name: The function's own name.
        description: What its docstring says that it does.
        arguments: A closed JSON object with a member for each parameter, in their order. Those that
            have a default may be left out.
        context_parameter: The parameter that the caller fills and the model does not see.
        positional_only: The parameters that take no keyword.
        is_async: Whether calling it gives an awaitable.
    """

    name: str
    description: str
    arguments: OutputType[dict[str, Any]]
    context_parameter: str | None
    positional_only: tuple[str, ...]
    is_async: bool

    @classmethod
    def of(
        cls, function: Callable[..., object], *, context_type: type | None = None
    ) -> FunctionSchema:
        """Read a function.

        Every parameter needs a type that can be an output type. Its description is, in this order,
        that of a `pydantic.Field` in its annotation, a bare string or `Doc` in its `Annotated`, or
        the docstring's.

        Args:
            function: A function, method, `functools.partial` or callable object, async or not.
            context_type: The type whose parameter the caller fills; at most one may have it.

        Raises:
            SchemaError: A parameter has no type, one that cannot be used or cannot be resolved, or
                is `*args` or `**kwargs`. The path is the parameter's name.
        """
        name = _name(function)
        hints = _hints(function, name)
        docs = read_docstring(_documented(function).__doc__)
        members: dict[str, Any] = {}
        context: str | None = None
        positional: list[str] = []
        for parameter in _parameters(function):
            hint = _checked_hint(parameter, hints)
            if context_type is not None and _is_context(hint, context_type):
                if context is not None:
                    raise SchemaError(
                        f"Only one parameter may be a {context_type.__name__}.", path=parameter.name
                    )
                context = parameter.name
                continue
            if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
                positional.append(parameter.name)
            members[parameter.name] = _member(parameter, hint, docs.parameters)
        make: Any = typing_extensions.TypedDict  # its functional form takes names at run time
        return cls(
            name=name,
            description=docs.description,
            arguments=cast("OutputType[dict[str, Any]]", OutputType.of(make(name, members))),
            context_parameter=context,
            positional_only=tuple(positional),
            is_async=_is_async(function),
        )

    def bind(
        self, arguments: Mapping[str, object], context: object = None
    ) -> tuple[list[object], dict[str, object]]:
        """Validated arguments as the function takes them: by position, and by keyword.

        A positional-only parameter that is left out ends those given by position: the function's
        default stands for it, and it can have no later one.
        """
        keywords = dict(arguments)
        if self.context_parameter is not None:
            keywords[self.context_parameter] = context
        positions: list[object] = []
        for name in self.positional_only:
            if name not in keywords:
                break
            positions.append(keywords.pop(name))
        return positions, keywords


def _name(function: Callable[..., object]) -> str:
    while isinstance(function, functools.partial):
        function = function.func
    return str(getattr(function, "__name__", type(function).__name__))


def _documented(function: Callable[..., object]) -> Callable[..., object]:
    """The function whose docstring and annotations speak of its parameters."""
    while isinstance(function, functools.partial):
        function = function.func
    if inspect.isroutine(function) or inspect.isclass(function):
        return function
    return cast("Callable[..., object]", type(function).__call__)


def _is_async(function: Callable[..., object]) -> bool:
    return inspect.iscoroutinefunction(_documented(function))


def _hints(function: Callable[..., object], name: str) -> dict[str, Any]:
    documented = _documented(function)
    owner = documented.__init__ if inspect.isclass(documented) else documented
    try:
        return typing_extensions.get_type_hints(owner, include_extras=True)
    except (NameError, TypeError, AttributeError) as error:
        raise SchemaError(
            f"The annotations of {name} cannot be resolved: {error}.",
            path=name,
            hint="Define or import the types at the top of the module, outside TYPE_CHECKING.",
        ) from error


def _parameters(function: Callable[..., object]) -> list[inspect.Parameter]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError) as error:
        raise SchemaError(
            f"{function!r:.100} has no signature: {error}.", hint="Wrap it in a function."
        ) from error
    preset = function.keywords if isinstance(function, functools.partial) else {}
    return [parameter for parameter in parameters if parameter.name not in preset]


def _checked_hint(parameter: inspect.Parameter, hints: Mapping[str, Any]) -> Any:
    if parameter.kind not in _NAMED:
        raise SchemaError(
            "A tool cannot take *args or **kwargs: a model must know what to give.",
            path=parameter.name,
            hint="Use a `list` or a `dict` parameter.",
        )
    if parameter.name not in hints:
        raise SchemaError("The parameter has no type.", path=parameter.name, hint="Annotate it.")
    return hints[parameter.name]


def _is_context(hint: Any, context_type: type) -> bool:
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    origin = get_origin(hint) or hint
    return isinstance(origin, type) and issubclass(origin, context_type)


def _member(parameter: inspect.Parameter, hint: Any, described: Mapping[str, str]) -> Any:
    """The type of one argument, with what is known about it, required unless it has a default."""
    said = described.get(parameter.name)
    inner, *metadata = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    for each in metadata:
        text = each if isinstance(each, str) else getattr(each, "documentation", None)
        said = text if isinstance(text, str) else said
        said = getattr(each, "description", None) or said
    kept = [each for each in metadata if not isinstance(each, str)]
    extra: dict[str, Any] = {}
    if parameter.default is not inspect.Parameter.empty:
        shown, value = _json_default(parameter.default)
        extra = {"default": value} if shown else {}
    if said or extra:
        kept.append(Field(description=said, json_schema_extra=extra or None))
    try:
        member = Annotated[(inner, *kept)] if kept else inner
        OutputType.of(cast("Any", member))
    except SchemaError as error:
        raise SchemaError(
            error.message.removeprefix(f"{error.path or '(root)'}: "),
            path=f"{parameter.name}{error.path}",
            keyword=error.keyword,
            hint=error.hint,
        ) from error
    if parameter.default is inspect.Parameter.empty:
        return typing.cast("Any", member)
    return cast("Any", NotRequired)[member]


def _json_default(default: object) -> tuple[bool, JsonValue]:
    """Whether a default can be shown to a model, and its JSON form."""
    try:
        return True, cast("JsonValue", to_jsonable_python(default, by_alias=True))
    except (PydanticSerializationError, ValueError, RecursionError):
        return False, None
