"""Asking until the answer validates: attempts as data, without I/O.

`ask` is one flow for sync and async, local and remote, streamed and not: it yields a request, is
sent the response, and returns the result.
"""

from __future__ import annotations

from collections.abc import Generator as GeneratorType
from dataclasses import replace
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from gemma_structured.driver import ModelRequest
from gemma_structured.exceptions import (
    GemmaStructuredError,
    IncompleteOutputError,
    OutputValidationError,
)
from gemma_structured.observability import log_reask
from gemma_structured.parsing.repair import Extracted, extract_json, extract_text
from gemma_structured.parsing.validate import validate
from gemma_structured.types import Attempt, ModelResponse, Result

if TYPE_CHECKING:
    from gemma_structured.driver import Task
    from gemma_structured.messages import Input
    from gemma_structured.types import Cancellation, Deadline

__all__ = ["Flow", "ask"]

T = TypeVar("T")

Flow: TypeAlias = GeneratorType[ModelRequest, ModelResponse, Result[T]]
"""Yields requests, is sent responses (or has the model's error thrown in), returns the result."""


def ask(
    task: Task[T], document: Input, *, deadline: Deadline, cancellation: Cancellation
) -> Flow[T]:
    """Ask for one output.

    A wrong answer is asked for again with what was wrong with it. A cut one is asked for again with
    twice the room where the user set no `max_tokens`; a local model's is not, since a grammar that
    it did not come to the end of once, it will not the second time.

    Args:
        task: What is asked for.
        document: About what.
        deadline: For all attempts together.
        cancellation: Looked at between attempts, and by the model between steps.

    Yields:
        The next request.

    Returns:
        The validated result.

    Raises:
        OutputValidationError: No attempt validates.
        IncompleteOutputError: The last attempt was cut.
        GemmaStructuredError: What the model raised. Earlier attempts are on every error.
    """
    attempts: list[Attempt] = []
    request = ModelRequest(input=document, deadline=deadline, cancellation=cancellation)
    while True:
        try:
            cancellation.check()
            response = yield request
        except GemmaStructuredError as error:
            error.attempts = (*attempts, *error.attempts)
            raise
        try:
            answer = _read(task, response)
            output = validate(task.output_type, answer.text, context=task.context)
        except (OutputValidationError, IncompleteOutputError) as error:
            attempts.append(_attempt(response, error=error))
            error.attempts = tuple(attempts)
            if len(attempts) >= task.max_attempts or not _worth_asking_again(task, response):
                raise
            log_reask(response.model_name, len(attempts), error)
            request = _next(request, response, error)
        else:
            attempts.append(_attempt(response, repaired=answer.repaired))
            return Result(
                output=output,
                text=answer.text,
                usage=reduce(add, (attempt.usage for attempt in attempts)),
                finish_reason=response.finish_reason or "stop",
                model_name=response.model_name,
                attempts=tuple(attempts),
                thinking=response.thinking,
                report=response.report,
                precision=response.precision,
            )


def _read(task: Task[T], response: ModelResponse) -> Extracted:
    """The answer's text, which no grammar may have held; a cut one is an error."""
    if response.finish_reason == "length":
        raise IncompleteOutputError(
            f"The answer was cut after {response.usage.completion_tokens} tokens.",
            text=response.text,
            usage=response.usage,
            hint="Raise `max_tokens`, or bound the strings and arrays of the output type.",
            model_name=response.model_name,
        )
    if response.constrained:
        return Extracted(response.text)
    read = extract_json if task.output_type.is_json else extract_text
    return read(response.text, finish_reason=response.finish_reason)


def _worth_asking_again(task: Task[T], response: ModelResponse) -> bool:
    if response.finish_reason != "length":
        return True
    return task.max_tokens is None and not response.constrained


def _next(
    request: ModelRequest,
    response: ModelResponse,
    error: OutputValidationError | IncompleteOutputError,
) -> ModelRequest:
    again = replace(request, attempt=request.attempt + 1)
    if isinstance(error, OutputValidationError):
        return replace(again, issues=error.issues)
    # A server may say nothing of the tokens, or count fewer than it could have written.
    had = max(response.usage.completion_tokens, response.max_tokens or 1)
    return replace(again, max_tokens=2 * had)


def _attempt(
    response: ModelResponse,
    *,
    error: OutputValidationError | IncompleteOutputError | None = None,
    repaired: bool = False,
) -> Attempt:
    return Attempt(
        model_name=response.model_name,
        text=response.text,
        finish_reason=response.finish_reason,
        usage=response.usage,
        issues=error.issues if isinstance(error, OutputValidationError) else (),
        error=error,
        repaired=repaired,
    )
