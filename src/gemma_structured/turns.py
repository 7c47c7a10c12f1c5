"""Turns: a model answers, or asks for tools to be called. Wrong calls are asked for again."""

from __future__ import annotations

from collections.abc import Generator as GeneratorType
from contextlib import aclosing, closing
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

from gemma_structured.driver import ModelRequest
from gemma_structured.exceptions import (
    GemmaStructuredError,
    IncompleteOutputError,
    OutputValidationError,
    TransportError,
)
from gemma_structured.messages import AssistantMessage
from gemma_structured.observability import bind, log_reask
from gemma_structured.parsing.repair import extract_json
from gemma_structured.parsing.validate import validate
from gemma_structured.types import Attempt, Cancellation, Deadline, ModelResponse

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

    from gemma_structured.driver import Driver, Task
    from gemma_structured.messages import Input, ToolCall
    from gemma_structured.types import FinishReason, ModelDelta, Usage

__all__ = ["Turn", "TurnFlow", "TurnTaker", "ask_turn"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn(Generic[T]):
    """What a model said in one turn: calls, or an answer.

    Attributes:
        output: The validated answer; `None` where there are calls.
        text: What it said, beside the calls.
        thinking: The thought before.
        calls: The calls, their arguments validated and typed.
        usage: What all the attempts cost.
        attempts: Every attempt, the last one being the right one.
        model_name: Who answered.
        finish_reason: Why it stopped.
    """

    output: T | None
    text: str
    thinking: str | None
    calls: tuple[ToolCall, ...]
    usage: Usage
    attempts: tuple[Attempt, ...]
    model_name: str
    finish_reason: FinishReason

    @property
    def message(self) -> AssistantMessage:
        """The turn as a message of a conversation."""
        return AssistantMessage(self.text, self.thinking, self.calls)


TurnFlow: TypeAlias = GeneratorType[ModelRequest, ModelResponse, Turn[T]]
"""Yields requests, is sent responses (or has the model's error thrown in), returns the turn."""


def ask_turn(
    task: Task[T], conversation: Input, *, deadline: Deadline, cancellation: Cancellation
) -> TurnFlow[T]:
    """Ask for one turn.

    Args:
        task: What is asked for, and what may be called.
        conversation: So far.
        deadline: For all attempts together.
        cancellation: Looked at between attempts, and by the model between steps.

    Yields:
        The next request.

    Returns:
        The validated turn.

    Raises:
        OutputValidationError: No attempt validates.
        IncompleteOutputError: The last attempt was cut.
        GemmaStructuredError: What the model raised. Earlier attempts are on every error.
    """
    attempts: list[Attempt] = []
    request = ModelRequest(input=conversation, deadline=deadline, cancellation=cancellation)
    while True:
        try:
            cancellation.check()
            response = yield request
        except OutputValidationError as error:
            # The model's text holds what begins as a call and is none.
            attempts.extend(error.attempts)
            error.attempts = tuple(attempts)
            if request.attempt >= task.max_attempts:
                raise
            log_reask("The model", request.attempt, error)
            request = replace(request, attempt=request.attempt + 1, issues=error.issues)
            continue
        except GemmaStructuredError as error:
            error.attempts = (*attempts, *error.attempts)
            raise
        try:
            read = _read(task, response)
        except (OutputValidationError, IncompleteOutputError) as error:
            attempts.append(_attempt(response, error))
            error.attempts = tuple(attempts)
            if isinstance(error, IncompleteOutputError) or len(attempts) >= task.max_attempts:
                raise
            log_reask(response.model_name, len(attempts), error)
            request = replace(request, attempt=request.attempt + 1, issues=error.issues)
        else:
            attempts.append(_attempt(response, None))
            calls, output = read
            return Turn(
                output=output,
                text=response.text,
                thinking=response.thinking,
                calls=calls,
                usage=reduce(add, (attempt.usage for attempt in attempts)),
                attempts=tuple(attempts),
                model_name=response.model_name,
                finish_reason="tool_calls" if calls else response.finish_reason or "stop",
            )


def _read(task: Task[T], response: ModelResponse) -> tuple[tuple[ToolCall, ...], T | None]:
    """The validated calls, or the validated answer."""
    if response.finish_reason == "length":
        raise IncompleteOutputError(
            f"The turn was cut after {response.usage.completion_tokens} tokens.",
            text=response.text,
            usage=response.usage,
            hint="Raise `max_tokens`, or bound the strings and arrays of the tools' parameters.",
            model_name=response.model_name,
        )
    calls = task.tools.validate(response.tool_calls) if task.tools is not None else ()
    if calls:
        return calls, None
    text = response.text
    if task.output_type.is_json and not response.constrained:
        text = extract_json(text, finish_reason=response.finish_reason).text
    return (), validate(task.output_type, text, context=task.context)


def _attempt(response: ModelResponse, error: GemmaStructuredError | None) -> Attempt:
    return Attempt(
        model_name=response.model_name,
        text=response.text,
        finish_reason=response.finish_reason,
        usage=response.usage,
        issues=error.issues if isinstance(error, OutputValidationError) else (),
        error=error,
    )


class TurnTaker(Generic[T]):
    """A model with one task; each call is one turn of a conversation. Thread-safe."""

    def __init__(self, driver: Driver, task: Task[T]) -> None:
        self.task = task
        self._responder = bind(driver, task)

    def __call__(self, conversation: Input, cancellation: Cancellation | None = None) -> Turn[T]:
        """Take one turn; see `ask_turn` for what it raises."""
        flow = self._flow(conversation, cancellation or Cancellation())
        try:
            request = next(flow)
            while True:
                try:
                    response = self._responder.respond(request)
                except GemmaStructuredError as error:
                    request = flow.throw(error)
                else:
                    request = flow.send(response)
        except StopIteration as stop:
            turn: Turn[T] = stop.value
            return turn

    async def acall(self, conversation: Input, cancellation: Cancellation | None = None) -> Turn[T]:
        """Take one turn without blocking the event loop."""
        flow = self._flow(conversation, cancellation or Cancellation())
        try:
            request = next(flow)
            while True:
                try:
                    response = await self._responder.arespond(request)
                except GemmaStructuredError as error:
                    request = flow.throw(error)
                else:
                    request = flow.send(response)
        except StopIteration as stop:
            turn: Turn[T] = stop.value
            return turn

    def stream(
        self, conversation: Input, cancellation: Cancellation | None = None
    ) -> Generator[ModelDelta | Turn[T]]:
        """Take one turn piece by piece; the whole turn comes last."""
        flow = self._flow(conversation, cancellation or Cancellation())
        try:
            request = next(flow)
            while True:
                response: ModelResponse | None = None
                try:
                    with closing(self._responder.stream(request)) as pieces:
                        for piece in pieces:
                            if isinstance(piece, ModelResponse):
                                response = piece
                            else:
                                yield piece
                except GemmaStructuredError as error:
                    request = flow.throw(error)
                else:
                    request = flow.send(_whole(response))
        except StopIteration as stop:
            turn: Turn[T] = stop.value
            yield turn

    async def astream(
        self, conversation: Input, cancellation: Cancellation | None = None
    ) -> AsyncGenerator[ModelDelta | Turn[T]]:
        """Take one turn piece by piece, without blocking the event loop."""
        flow = self._flow(conversation, cancellation or Cancellation())
        try:
            request = next(flow)
            while True:
                response: ModelResponse | None = None
                try:
                    async with aclosing(self._responder.astream(request)) as pieces:
                        async for piece in pieces:
                            if isinstance(piece, ModelResponse):
                                response = piece
                            else:
                                yield piece
                except GemmaStructuredError as error:
                    request = flow.throw(error)
                else:
                    request = flow.send(_whole(response))
        except StopIteration as stop:
            turn: Turn[T] = stop.value
            yield turn

    def prompt(self, conversation: Input) -> str:
        """Exactly what will be sent, control tokens and all."""
        return self._responder.prompt(ModelRequest(input=conversation))

    def _flow(self, conversation: Input, cancellation: Cancellation) -> TurnFlow[T]:
        deadline = Deadline.after(self.task.timeout)
        return ask_turn(self.task, conversation, deadline=deadline, cancellation=cancellation)


def _whole(response: ModelResponse | None) -> ModelResponse:
    if response is None:
        raise TransportError("The model's stream ended without a response.")
    return response
