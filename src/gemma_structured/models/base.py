"""`Model`: what every model can do for its user, local, remote or scripted."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, Literal, TypedDict, TypeVar, cast, overload

from typing_extensions import TypeForm, Unpack

from gemma_structured.driver import Responder, Task
from gemma_structured.exceptions import InputError
from gemma_structured.generator import Generator
from gemma_structured.schema.bounds import DEFAULT_BOUNDS, Bounds
from gemma_structured.schema.free_text import FREE_TEXT
from gemma_structured.schema.output_type import OutputType
from gemma_structured.telemetry import Origin
from gemma_structured.tools import ToolOffer
from gemma_structured.turns import TurnTaker
from gemma_structured.types import SamplingParams

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from gemma_structured.exceptions import GemmaStructuredError
    from gemma_structured.messages import Input, ToolCall
    from gemma_structured.schema.terms import Term
    from gemma_structured.streaming import AsyncStream, Stream
    from gemma_structured.tools import Tool, ToolChoice
    from gemma_structured.types import Example, Result

__all__ = ["Model", "TaskOptions"]

T = TypeVar("T")


class TaskOptions(TypedDict, Generic[T], total=False):
    """What may be said about a task beside its output type.

    Attributes:
        instruction: What to do with each input.
        examples: Inputs with the outputs that are right for them.
        bounds: Bounds on numbers, strings and arrays without their own; `None` for none.
        temperature: 0 (the default) takes the most likely token.
        top_k: Keep the `k` most likely tokens.
        top_p: Keep the smallest set whose probabilities add up to `p`.
        min_p: Keep tokens at least this share as likely as the most likely one.
        seed: Makes sampling reproducible.
        max_tokens: The most tokens that an answer may have.
        max_attempts: How often the model is asked before `OutputValidationError`; 3 by default.
        timeout: Seconds that one input may take, all attempts together.
        context: Handed to Pydantic's validators as `info.context`.
        local_only: Nothing may leave this machine: remote models refuse, and a `FallbackModel`
            passes them over.
        thinking: Whether the model may think before it answers; a number is the most tokens that
            the thought may have.
        draft: Whether the model writes a draft in plain text before the answer, where it was not
            trained to think.
    """

    instruction: str | None
    examples: Sequence[Example[T]]
    bounds: Bounds | None
    temperature: float
    top_k: int | None
    top_p: float | None
    min_p: float | None
    seed: int | None
    max_tokens: int | None
    max_attempts: int
    timeout: float | None
    context: object
    local_only: bool
    thinking: bool | int
    draft: bool


class Model(ABC):
    """A model that writes typed objects.

    Every method takes an *output type* (a Python type, or a term such as `gs.JsonSchema`) and the
    options of `TaskOptions`. `generate` and its kin are `compile` followed by a call; where many
    inputs share a task, compile once.

    Attributes:
        is_remote: Whether inputs leave this machine.
    """

    is_remote: bool = False

    @property
    @abstractmethod
    def name(self) -> str:
        """What it is called in results and errors."""

    @property
    def origin(self) -> Origin | None:
        """Where its answers come from, for spans and metrics; `None` if it is made of models."""
        return Origin()

    @abstractmethod
    def bind(self, task: Task[T]) -> Responder:
        """Prepare for a task; see `Driver`."""

    @overload
    def compile(self, output_type: Term[T], **options: Unpack[TaskOptions[T]]) -> Generator[T]: ...
    @overload
    def compile(
        self, output_type: TypeForm[T], **options: Unpack[TaskOptions[T]]
    ) -> Generator[T]: ...
    def compile(
        self, output_type: TypeForm[T] | Term[T], **options: Unpack[TaskOptions[T]]
    ) -> Generator[T]:
        """Prepare for many inputs with one task. Loads nothing: the first input does.

        Raises:
            SchemaError: The output type cannot be used; its path says where.
            InputError: An option or an example cannot be used.
        """
        return self._compile(output_type, options)

    def _compile(self, output_type: TypeForm[T] | Term[T], options: TaskOptions[T]) -> Generator[T]:
        return self._generator(_task(_output_type(output_type), options))

    def _generator(self, task: Task[T]) -> Generator[T]:
        """What `compile` gives; a model of several models has a generator of its own."""
        return Generator(self, task)

    @overload
    def generate(
        self, document: Input, output_type: Term[T], **options: Unpack[TaskOptions[T]]
    ) -> Result[T]: ...
    @overload
    def generate(
        self, document: Input, output_type: TypeForm[T], **options: Unpack[TaskOptions[T]]
    ) -> Result[T]: ...
    def generate(
        self,
        document: Input,
        output_type: TypeForm[T] | Term[T],
        **options: Unpack[TaskOptions[T]],
    ) -> Result[T]:
        """Generate one output; see `Generator.__call__`."""
        return self._compile(output_type, options)(document)

    @overload
    async def agenerate(
        self, document: Input, output_type: Term[T], **options: Unpack[TaskOptions[T]]
    ) -> Result[T]: ...
    @overload
    async def agenerate(
        self, document: Input, output_type: TypeForm[T], **options: Unpack[TaskOptions[T]]
    ) -> Result[T]: ...
    async def agenerate(
        self,
        document: Input,
        output_type: TypeForm[T] | Term[T],
        **options: Unpack[TaskOptions[T]],
    ) -> Result[T]:
        """Generate one output without blocking the event loop."""
        return await self._compile(output_type, options).acall(document)

    @overload
    def stream(
        self, document: Input, output_type: Term[T], **options: Unpack[TaskOptions[T]]
    ) -> Stream[T]: ...
    @overload
    def stream(
        self, document: Input, output_type: TypeForm[T], **options: Unpack[TaskOptions[T]]
    ) -> Stream[T]: ...
    def stream(
        self,
        document: Input,
        output_type: TypeForm[T] | Term[T],
        **options: Unpack[TaskOptions[T]],
    ) -> Stream[T]:
        """Generate one output and watch it grow; see `Generator.stream`."""
        return self._compile(output_type, options).stream(document)

    @overload
    def astream(
        self, document: Input, output_type: Term[T], **options: Unpack[TaskOptions[T]]
    ) -> AsyncStream[T]: ...
    @overload
    def astream(
        self, document: Input, output_type: TypeForm[T], **options: Unpack[TaskOptions[T]]
    ) -> AsyncStream[T]: ...
    def astream(
        self,
        document: Input,
        output_type: TypeForm[T] | Term[T],
        **options: Unpack[TaskOptions[T]],
    ) -> AsyncStream[T]:
        """Generate one output and watch it grow, without blocking the event loop."""
        return self._compile(output_type, options).astream(document)

    @overload
    def batch(
        self,
        documents: Iterable[Input],
        output_type: Term[T],
        *,
        errors: Literal["raise"] = "raise",
        concurrency: int | None = None,
        **options: Unpack[TaskOptions[T]],
    ) -> list[Result[T]]: ...
    @overload
    def batch(
        self,
        documents: Iterable[Input],
        output_type: Term[T],
        *,
        errors: Literal["return"],
        concurrency: int | None = None,
        **options: Unpack[TaskOptions[T]],
    ) -> list[Result[T] | GemmaStructuredError]: ...
    @overload
    def batch(
        self,
        documents: Iterable[Input],
        output_type: TypeForm[T],
        *,
        errors: Literal["raise"] = "raise",
        concurrency: int | None = None,
        **options: Unpack[TaskOptions[T]],
    ) -> list[Result[T]]: ...
    @overload
    def batch(
        self,
        documents: Iterable[Input],
        output_type: TypeForm[T],
        *,
        errors: Literal["return"],
        concurrency: int | None = None,
        **options: Unpack[TaskOptions[T]],
    ) -> list[Result[T] | GemmaStructuredError]: ...
    def batch(
        self,
        documents: Iterable[Input],
        output_type: TypeForm[T] | Term[T],
        *,
        errors: Literal["raise", "return"] = "raise",
        concurrency: int | None = None,
        **options: Unpack[TaskOptions[T]],
    ) -> list[Result[T]] | list[Result[T] | GemmaStructuredError]:
        """Generate an output for each input, several at a time; see `Generator.batch`."""
        generator = self._compile(output_type, options)
        if errors == "raise":
            return generator.batch(documents, errors="raise", concurrency=concurrency)
        return generator.batch(documents, errors="return", concurrency=concurrency)

    @overload
    async def abatch(
        self,
        documents: Iterable[Input],
        output_type: Term[T],
        *,
        errors: Literal["raise"] = "raise",
        concurrency: int | None = None,
        **options: Unpack[TaskOptions[T]],
    ) -> list[Result[T]]: ...
    @overload
    async def abatch(
        self,
        documents: Iterable[Input],
        output_type: Term[T],
        *,
        errors: Literal["return"],
        concurrency: int | None = None,
        **options: Unpack[TaskOptions[T]],
    ) -> list[Result[T] | GemmaStructuredError]: ...
    @overload
    async def abatch(
        self,
        documents: Iterable[Input],
        output_type: TypeForm[T],
        *,
        errors: Literal["raise"] = "raise",
        concurrency: int | None = None,
        **options: Unpack[TaskOptions[T]],
    ) -> list[Result[T]]: ...
    @overload
    async def abatch(
        self,
        documents: Iterable[Input],
        output_type: TypeForm[T],
        *,
        errors: Literal["return"],
        concurrency: int | None = None,
        **options: Unpack[TaskOptions[T]],
    ) -> list[Result[T] | GemmaStructuredError]: ...
    async def abatch(
        self,
        documents: Iterable[Input],
        output_type: TypeForm[T] | Term[T],
        *,
        errors: Literal["raise", "return"] = "raise",
        concurrency: int | None = None,
        **options: Unpack[TaskOptions[T]],
    ) -> list[Result[T]] | list[Result[T] | GemmaStructuredError]:
        """Generate an output for each input, without blocking the event loop."""
        generator = self._compile(output_type, options)
        if errors == "raise":
            return await generator.abatch(documents, errors="raise", concurrency=concurrency)
        return await generator.abatch(documents, errors="return", concurrency=concurrency)

    def call_tools(
        self,
        document: Input,
        tools: Iterable[Tool[..., Any] | Callable[..., Any]],
        *,
        tool_choice: ToolChoice = "required",
        parallel: tuple[int, int] = (1, 8),
        **options: Unpack[TaskOptions[str]],
    ) -> list[ToolCall]:
        """Ask which tools are to be called, and do not call them.

        Args:
            document: A text, or a conversation.
            tools: What may be called; functions are made into tools.
            tool_choice: `"required"`, `"auto"` (perhaps none), `"none"`, or the name of one tool.
            parallel: The least and the most calls.
            **options: See `TaskOptions`.

        Returns:
            The calls, their arguments validated and typed. Wrong ones are asked for again.

        Raises:
            OutputValidationError: No attempt validates.
            ModelError: The model gave no usable answer.
            InputError: The document or an option cannot be used.
        """
        offer = ToolOffer.of(tools, choice=tool_choice, parallel=parallel)
        return list(self.turns(FREE_TEXT, offer, **options)(document).calls)

    async def acall_tools(
        self,
        document: Input,
        tools: Iterable[Tool[..., Any] | Callable[..., Any]],
        *,
        tool_choice: ToolChoice = "required",
        parallel: tuple[int, int] = (1, 8),
        **options: Unpack[TaskOptions[str]],
    ) -> list[ToolCall]:
        """Ask which tools are to be called, without blocking the event loop."""
        offer = ToolOffer.of(tools, choice=tool_choice, parallel=parallel)
        turn = await self.turns(FREE_TEXT, offer, **options).acall(document)
        return list(turn.calls)

    def turns(
        self,
        output_type: TypeForm[T] | Term[T],
        offer: ToolOffer,
        **options: Unpack[TaskOptions[T]],
    ) -> TurnTaker[T]:
        """Prepare for the turns of a conversation in which tools may be called.

        Raises:
            SchemaError: The output type or a tool's parameters cannot be used.
            InputError: An option cannot be used.
        """
        task = _task(_output_type(output_type), options)
        return TurnTaker(self, replace(task, tools=offer))


def _output_type(spec: TypeForm[T] | Term[T]) -> OutputType[T]:
    # mypy infers nothing from a union with a TypeForm, hence the overloads above and the cast here.
    return OutputType.of(cast("Term[T]", spec))


def _task(output_type: OutputType[T], options: TaskOptions[T]) -> Task[T]:
    if unknown := options.keys() - TaskOptions.__annotations__.keys():
        raise TypeError(
            f"Unknown options: {', '.join(sorted(unknown))}. "
            f"There are {', '.join(TaskOptions.__annotations__)}."
        )
    return Task(
        output_type=output_type,
        instruction=options.get("instruction"),
        examples=_examples(output_type, options),
        bounds=options.get("bounds", DEFAULT_BOUNDS),
        sampling=SamplingParams(
            temperature=options.get("temperature", 0.0),
            top_k=options.get("top_k"),
            top_p=options.get("top_p"),
            min_p=options.get("min_p"),
            seed=options.get("seed"),
        ),
        max_tokens=options.get("max_tokens"),
        max_attempts=options.get("max_attempts", 3),
        timeout=options.get("timeout"),
        context=options.get("context"),
        local_only=options.get("local_only", False),
        thinking=options.get("thinking", False),
        draft=options.get("draft", False),
    )


def _examples(output_type: OutputType[T], options: TaskOptions[T]) -> tuple[Example[T], ...]:
    """The examples, once each is known to be one: a task that cannot be asked is not made."""
    examples = tuple(options.get("examples", ()))
    for example in examples:
        if not isinstance(cast("object", example.input), str):
            raise InputError(
                f"The input of an example is a text, not {type(example.input).__name__}."
            )
        output_type.dump(example.output, context=options.get("context"))
    return examples
