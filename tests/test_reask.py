"""The re-ask flow by itself: requests out, responses in, no model and no I/O."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ValidationInfo, field_validator

from gemma_structured.driver import ModelRequest, Task
from gemma_structured.exceptions import (
    GenerationCancelledError,
    IncompleteOutputError,
    OutputValidationError,
    RateLimitError,
)
from gemma_structured.reask import ask
from gemma_structured.schema.output_type import OutputType
from gemma_structured.types import (
    Cancellation,
    Deadline,
    FinishReason,
    ModelResponse,
    Report,
    Result,
    Usage,
)


class Even(BaseModel):
    n: int

    @field_validator("n")
    @classmethod
    def check(cls, value: int, info: ValidationInfo) -> int:
        if value % 2:
            raise ValueError("n must be even")
        if info.context and value in info.context:
            raise ValueError("n is taken")
        return value


TASK = Task(output_type=OutputType.of(Even))


def says(
    text: str,
    *,
    finish_reason: FinishReason | None = "stop",
    constrained: bool = True,
    **options: Any,
) -> ModelResponse:
    usage = Usage(prompt_tokens=10, sampled_tokens=len(text), seconds=1.0)
    return ModelResponse(
        text=text,
        finish_reason=finish_reason,
        usage=usage,
        model_name="m",
        constrained=constrained,
        **options,
    )


class Flow:
    """A flow that is driven by hand."""

    def __init__(self, task: Task[Any] = TASK, cancellation: Cancellation | None = None) -> None:
        self.cancellation = cancellation or Cancellation()
        self.deadline = Deadline.after(100)
        self._flow = ask(task, "doc", deadline=self.deadline, cancellation=self.cancellation)
        self.request: ModelRequest = next(self._flow)

    def send(self, response: ModelResponse) -> ModelRequest | Result[Any]:
        try:
            self.request = self._flow.send(response)
        except StopIteration as stop:
            return stop.value
        return self.request

    def throw(self, error: Exception) -> ModelRequest:
        return self._flow.throw(error)


def test_the_first_request_holds_the_document() -> None:
    """With the call's own deadline and cancellation, as attempt 1 and without issues."""
    flow = Flow()
    assert flow.request.input == "doc"
    assert (flow.request.attempt, flow.request.issues) == (1, ())
    assert flow.request.deadline is flow.deadline
    assert flow.request.cancellation is flow.cancellation


def test_a_result_sums_what_the_attempts_cost() -> None:
    """Usage adds up; the thought and the report are those of the answer that was right."""
    flow = Flow()
    flow.send(says('{"n":1}', thinking="first"))
    report = Report(residual=(("/n", "multipleOf"),))
    result = flow.send(says('{"n":22}', thinking="second", report=report))
    assert isinstance(result, Result)
    assert result.output == Even(n=22)
    assert (result.usage.prompt_tokens, result.usage.sampled_tokens) == (20, 15)
    assert result.usage.seconds == 2.0
    assert [attempt.text for attempt in result.attempts] == ['{"n":1}', '{"n":22}']
    assert isinstance(result.attempts[0].error, OutputValidationError)
    assert result.attempts[1].error is None
    assert (result.thinking, result.report) == ("second", report)


def test_each_request_is_told_the_last_errors_alone() -> None:
    """Issues replace each other, so that the prompt does not grow."""
    flow = Flow()
    seen = []
    for text in ('{"n":1}', '{"m":1}'):
        request = flow.send(says(text))
        assert isinstance(request, ModelRequest)
        seen.append([issue.pointer for issue in request.issues])
    assert seen[0] == ["/n"]
    assert all(pointer != "/n" or "even" not in str(flow.request.issues) for pointer in seen[1])
    assert flow.request.attempt == 3


def test_the_validation_context_reaches_validators() -> None:
    """`context` is Pydantic's own."""
    flow = Flow(Task(output_type=OutputType.of(Even), context={4}))
    request = flow.send(says('{"n":4}'))
    assert isinstance(request, ModelRequest)
    assert "taken" in request.issues[0].message


def test_a_model_s_error_gets_the_attempts_before_it() -> None:
    """Its own come after them."""
    flow = Flow()
    flow.send(says('{"n":1}'))
    with pytest.raises(RateLimitError) as caught:
        flow.throw(RateLimitError("slow", status_code=429))
    assert [attempt.text for attempt in caught.value.attempts] == ['{"n":1}']


def test_another_error_passes_through() -> None:
    """What is no error of the package's is nobody's attempt."""
    flow = Flow()
    with pytest.raises(ZeroDivisionError):
        flow.throw(ZeroDivisionError())


def test_a_cancellation_is_looked_at_between_attempts() -> None:
    """No second request is made, and the error knows of the first."""
    flow = Flow()
    flow.cancellation.cancel()
    with pytest.raises(GenerationCancelledError) as caught:
        flow.send(says('{"n":1}'))
    assert len(caught.value.attempts) == 1
    cancelled = Cancellation()
    cancelled.cancel()
    with pytest.raises(GenerationCancelledError):
        Flow(cancellation=cancelled)


def test_a_cut_answer_under_a_grammar_is_not_asked_for_again() -> None:
    """Its text and its cost are on the error, and not in its message."""
    with pytest.raises(IncompleteOutputError) as caught:
        Flow().send(says('{"n":1', finish_reason="length"))
    error = caught.value
    assert error.text == '{"n":1'
    assert error.usage.sampled_tokens == 6
    assert error.model_name == "m"
    assert '{"n"' not in str(error)
    assert "max_tokens" in str(error)


def test_the_room_doubles_with_each_cut() -> None:
    """Until the attempts are spent."""
    flow = Flow()
    rooms = []
    for count in (5, 20):
        request = flow.send(says("x" * count, finish_reason="length", constrained=False))
        assert isinstance(request, ModelRequest)
        rooms.append(request.max_tokens)
    assert rooms == [10, 40]
    with pytest.raises(IncompleteOutputError) as caught:
        flow.send(says("x" * 40, finish_reason="length", constrained=False))
    assert len(caught.value.attempts) == 3


def test_the_last_attempt_has_them_all() -> None:
    """Each with what was wrong with it."""
    flow = Flow()
    flow.send(says('{"n":1}'))
    flow.send(says('{"n":3}'))
    with pytest.raises(OutputValidationError) as caught:
        flow.send(says('{"n":5}'))
    assert [attempt.text for attempt in caught.value.attempts] == ['{"n":1}', '{"n":3}', '{"n":5}']
    assert all(attempt.issues for attempt in caught.value.attempts)
    assert caught.value.text == '{"n":5}'
