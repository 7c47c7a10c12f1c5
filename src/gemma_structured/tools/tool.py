"""`Tool`: a function that a model may ask for."""

from __future__ import annotations

import inspect
import json
import re
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, cast, overload

from gemma_structured.exceptions import InputError, SchemaError
from gemma_structured.parsing.validate import validate
from gemma_structured.schema.function import FunctionSchema
from gemma_structured.schema.json_schema import JsonSchema
from gemma_structured.schema.output_type import OutputType
from gemma_structured.tools.context import ToolContext

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gemma_structured.messages import ToolCall
    from gemma_structured.types import JsonValue

__all__ = ["Tool", "as_tool", "tool"]

P = ParamSpec("P")
R = TypeVar("R")

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Tool(Generic[P, R]):
    """A function that a model may ask for. Made by `tool` or `Tool.from_schema`.

    Calling it calls the function itself, as if it were not decorated.

    Attributes:
        name: What the model calls it.
        description: What the model is told that it does.
        arguments: The type of its arguments: a JSON object.
        timeout: Seconds that one call may take; `None` for no limit.
        concurrent: Whether its calls may run beside others of the same turn.
        needs_approval: Whether a person is to be asked before each call.
        is_async: Whether calling it gives an awaitable.
    """

    def __init__(
        self,
        function: Callable[P, R],
        schema: FunctionSchema,
        *,
        name: str | None = None,
        description: str | None = None,
        timeout: float | None = None,
        concurrent: bool = False,
        needs_approval: bool = False,
    ) -> None:
        self.name = _checked_name(schema.name if name is None else name)
        self.description = schema.description if description is None else description
        self.arguments = schema.arguments
        self.timeout = timeout
        self.concurrent = concurrent
        self.needs_approval = needs_approval
        self.is_async = schema.is_async
        self._function = function
        self._schema = schema
        self.__name__ = self.name
        self.__doc__ = getattr(function, "__doc__", None)
        self.__wrapped__ = function
        if timeout is not None and not timeout > 0:
            raise InputError(f"A tool's timeout is a number of seconds > 0, not {timeout}.")

    @classmethod
    def from_schema(
        cls,
        name: str,
        schema: Mapping[str, JsonValue] | JsonSchema,
        call: Callable[[dict[str, Any]], R],
        *,
        description: str = "",
        timeout: float | None = None,
        concurrent: bool = False,
        needs_approval: bool = False,
    ) -> Tool[[dict[str, Any]], R]:
        """A tool from the JSON Schema of its arguments.

        Args:
            name: What the model calls it.
            schema: A schema of objects. Without `additionalProperties: false` a model may add
                members to them.
            call: Takes the arguments as one dict that the schema has validated; async or not.
            description: What the model is told that it does.
            timeout: Seconds that one call may take.
            concurrent: Whether its calls may run beside others of the same turn.
            needs_approval: Whether a person is to be asked before each call.

        Raises:
            SchemaError: The schema cannot be used, or is not one of objects.
            InputError: The name is none that models and servers take.
        """
        parsed = schema if isinstance(schema, JsonSchema) else JsonSchema(schema)
        if not _is_of_objects(parsed):
            raise SchemaError(
                f"The arguments of {name} are an object.", hint='Give the schema "type": "object".'
            )
        function_schema = FunctionSchema(
            name=name,
            description=description,
            arguments=cast("OutputType[dict[str, Any]]", OutputType(parsed, name=name)),
            context_parameter=None,
            positional_only=(_WHOLE,),
            is_async=inspect.iscoroutinefunction(call),
        )
        return Tool(
            call,
            function_schema,
            timeout=timeout,
            concurrent=concurrent,
            needs_approval=needs_approval,
        )

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function itself."""
        return self._function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"Tool({self.name!r})"

    @property
    def parameters(self) -> JsonSchema:
        """The JSON Schema of its arguments."""
        term = self.arguments.term
        assert isinstance(term, JsonSchema)
        return term

    def validate(self, written: Mapping[str, JsonValue]) -> dict[str, Any]:
        """Written arguments as values of the types that the parameters have.

        Raises:
            OutputValidationError: They are not what the tool takes; `issues` says where.
            InputError: They are not JSON.
        """
        try:
            text = json.dumps(written, ensure_ascii=False, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise InputError(f"The arguments of {self.name} are not JSON: {error}.") from None
        return validate(self.arguments, text)

    def invoke(self, call: ToolCall, context: object = None) -> R:
        """Call the function with a call's validated arguments; see `tools.dispatch`."""
        if self._schema.positional_only == (_WHOLE,):
            return cast("Callable[[object], R]", self._function)(dict(call.arguments))
        positions, keywords = self._schema.bind(
            call.arguments, ToolContext(value=context, call=call)
        )
        return cast("Callable[..., R]", self._function)(*positions, **keywords)


_WHOLE = "*"
"""Stands for arguments that are given as one dict; no parameter has such a name."""


@overload
def tool(function: Callable[P, R], /) -> Tool[P, R]: ...
@overload
def tool(
    *,
    name: str | None = None,
    description: str | None = None,
    timeout: float | None = None,
    concurrent: bool = False,
    needs_approval: bool = False,
) -> Callable[[Callable[P, R]], Tool[P, R]]: ...
def tool(
    function: Callable[P, R] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    timeout: float | None = None,
    concurrent: bool = False,
    needs_approval: bool = False,
) -> Tool[P, R] | Callable[[Callable[P, R]], Tool[P, R]]:
    """Make a tool of a typed function, async or not.

    The arguments' schema comes from the signature, what they mean from the docstring (Google,
    NumPy or Sphinx style). A parameter of type `gs.ToolContext` is not shown to the model.

    Args:
        function: The function; left out where options are given.
        name: What the model calls it; the function's name unless told.
        description: What it does; the docstring's unless told.
        timeout: Seconds that one call may take.
        concurrent: Whether its calls may run beside others of the same turn: it changes nothing
            that they depend on, and can be called from several threads at once.
        needs_approval: Whether a person is to be asked before each call.

    Raises:
        SchemaError: A parameter has no type, or one that cannot be used.
        InputError: The name is none that models and servers take.
    """

    def make(function: Callable[P, R]) -> Tool[P, R]:
        return Tool(
            function,
            FunctionSchema.of(function, context_type=ToolContext),
            name=name,
            description=description,
            timeout=timeout,
            concurrent=concurrent,
            needs_approval=needs_approval,
        )

    return make if function is None else make(function)


def as_tool(given: Tool[..., Any] | Callable[..., Any]) -> Tool[..., Any]:
    """A tool, or a function made into one.

    Raises:
        InputError: It is neither.
        SchemaError: The function cannot be a tool.
    """
    if isinstance(given, Tool):
        return cast("Tool[..., Any]", given)
    if not callable(given):
        raise InputError(f"A tool is a function or a gs.Tool, not a {type(given).__name__}.")
    return tool(given)


def _checked_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise InputError(
            f"{name!r:.80} cannot be a tool's name.",
            hint="Use up to 64 letters, digits, underscores and hyphens (ASCII).",
        )
    return name


def _is_of_objects(schema: JsonSchema) -> bool:
    node: object = schema.value
    for _ in range(8):
        if not isinstance(node, dict):
            return False
        reference = node.get("$ref")
        if not isinstance(reference, str):
            return node.get("type") == "object" or "properties" in node
        node = schema.resolve(reference)
    return False
