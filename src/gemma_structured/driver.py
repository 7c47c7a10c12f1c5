"""The seam between a generator and a model: what is asked, and what a model must be able to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from gemma_structured.exceptions import InputError
from gemma_structured.schema.bounds import DEFAULT_BOUNDS, Bounds, check_bounds
from gemma_structured.schema.free_text import FREE_TEXT
from gemma_structured.types import Cancellation, Deadline, SamplingParams

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Sequence

    from gemma_structured.messages import Input, Message
    from gemma_structured.schema.output_type import OutputType
    from gemma_structured.tools import ToolOffer
    from gemma_structured.types import Example, Issue, ModelDelta, ModelResponse

__all__ = ["Driver", "ModelRequest", "Responder", "Task"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Task(Generic[T]):
    """What stays the same over many inputs: it is compiled, and its prompt is cached, once.

    Attributes:
        output_type: What is to be written.
        instruction: What to do with each input.
        examples: Inputs with the outputs that are right for them.
        bounds: Bounds on numbers, strings and arrays without their own; `None` for none.
        sampling: How tokens are chosen.
        max_tokens: The most tokens an answer may have, forced ones included; `None` leaves it to
            the model.
        max_attempts: How often the model is asked before `OutputValidationError`.
        timeout: Seconds that one input may take, all attempts together; `None` for no limit.
        context: Handed to Pydantic's validators as `info.context`.
        local_only: Nothing may leave this machine: remote models refuse the task.
        tools: What may be called instead of an answer.
        thinking: Whether the model may think before it answers; a number is the most tokens that
            the thought may have.
        draft: Whether the model writes a draft in plain text before the answer, where it was not
            trained to think.
    """

    output_type: OutputType[T]
    instruction: str | None = None
    examples: tuple[Example[T], ...] = field(default=(), repr=False)
    bounds: Bounds | None = DEFAULT_BOUNDS
    sampling: SamplingParams = field(default_factory=SamplingParams)
    max_tokens: int | None = None
    max_attempts: int = 3
    timeout: float | None = None
    context: object = field(default=None, repr=False)
    local_only: bool = False
    tools: ToolOffer | None = None
    thinking: bool | int = False
    draft: bool = False

    def __post_init__(self) -> None:
        """Refuse options that are none, and budgets with which nothing could be generated."""
        check_bounds(self.bounds)
        if self.max_tokens is not None and self.max_tokens < 1:
            raise InputError(f"max_tokens must be at least 1, not {self.max_tokens}.")
        if self.max_attempts < 1:
            raise InputError(f"max_attempts must be at least 1, not {self.max_attempts}.")
        if self.thinking < 0:
            raise InputError(f"A thought cannot have {self.thinking} tokens.")
        if self.draft and self.thinking:
            raise InputError("A task has a thought or a draft before its answer, not both.")
        Deadline.after(self.timeout)

    @property
    def is_free_text(self) -> bool:
        """Whether the answer may be any text, so that nothing is to be said of its form."""
        return self.output_type is FREE_TEXT

    @property
    def thinking_budget(self) -> int | None:
        """The most tokens of a thought; `None` for no limit but the answer's."""
        return None if isinstance(self.thinking, bool) else self.thinking

    @property
    def thinks(self) -> bool:
        """Whether there may be a thought."""
        return self.thinking is True or (self.thinking_budget or 0) > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """One question to a model.

    Attributes:
        input: The document, or a conversation that ends with the user.
        issues: What was wrong with the last attempt, on a re-ask. The attempt itself is not sent
            again: a history that grows with every attempt costs more than it helps.
        attempt: The number of this attempt, from 1.
        max_tokens: Overrides the task's, after a truncated attempt.
        deadline: When to give up.
        cancellation: Looked at between steps.
    """

    input: Input = field(repr=False)
    issues: tuple[Issue, ...] = ()
    attempt: int = 1
    max_tokens: int | None = None
    deadline: Deadline = field(default_factory=Deadline)
    cancellation: Cancellation = field(default_factory=Cancellation)


class Responder(Protocol):
    """A model with one task: what `Driver.bind` returns and a generator calls."""

    @property
    def model_name(self) -> str:
        """Who answers."""
        ...

    @property
    def concurrency(self) -> int:
        """How many requests are worth having under way at once."""
        ...

    def respond(self, request: ModelRequest) -> ModelResponse:
        """Answer.

        Raises:
            ModelError: There is no usable answer. An answer that is whole but wrong is returned.
        """
        ...

    async def arespond(self, request: ModelRequest) -> ModelResponse:
        """Answer, without blocking the event loop."""
        ...

    def stream(self, request: ModelRequest) -> Generator[ModelDelta | ModelResponse]:
        """Answer piece by piece; the whole response comes last.

        Closing the iterator early ends the work and frees what it held.
        """
        ...

    def astream(self, request: ModelRequest) -> AsyncGenerator[ModelDelta | ModelResponse]:
        """Answer piece by piece, without blocking the event loop."""
        ...

    def prompt(self, request: ModelRequest) -> str:
        """The prompt as it will be sent, control tokens and all."""
        ...

    def messages(self, request: ModelRequest) -> Sequence[Message]:
        """The prompt as the messages that it is made of."""
        ...

    def count_tokens(self, request: ModelRequest) -> int:
        """The prompt's length in tokens (an upper bound where the model cannot be asked)."""
        ...


class Driver(Protocol):
    """What a model does for a generator."""

    def bind(self, task: Task[T]) -> Responder:
        """Prepare for a task. Cheap, and loads nothing: the first request does."""
        ...
