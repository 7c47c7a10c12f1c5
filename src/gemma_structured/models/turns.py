"""Asking one model after the other, as data, without I/O: what the re-ask flow is to attempts."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Generator as GeneratorType
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from gemma_structured.driver import ModelRequest
from gemma_structured.exceptions import (
    APIStatusError,
    DeadlineExceededError,
    FallbackError,
    GemmaStructuredError,
    GenerationCancelledError,
    LoadError,
    ModelBusyError,
    ModelError,
    OutputValidationError,
    RateLimitError,
    TransportError,
)
from gemma_structured.observability import logger
from gemma_structured.telemetry import error_type
from gemma_structured.types import Deadline, ModelResponse, Result, Usage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gemma_structured.models.circuit_breaker import CircuitBreaker
    from gemma_structured.types import ModelDelta

__all__ = ["RoutedRequest", "Rules", "Turns", "in_turn", "is_unavailable"]

R = TypeVar("R")

Flow: TypeAlias = GeneratorType[ModelRequest, ModelResponse, R]


class NotAcceptedError(ModelError):
    """The predicate over the result said no."""


def is_unavailable(error: GemmaStructuredError) -> bool:
    """Whether a model could not answer, whatever it was asked: always a reason to ask another."""
    if isinstance(error, APIStatusError):
        return error.retryable or error.status_code >= 500 or isinstance(error, RateLimitError)  # noqa: PLR2004
    return isinstance(
        error, LoadError | ModelBusyError | TransportError | DeadlineExceededError | FallbackError
    )


@dataclass(slots=True)
class Progress:
    """Whether the user has seen a piece of an answer, after which no other model is asked."""

    started: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutedRequest(ModelRequest):
    """A request to one of several models.

    Attributes:
        plain: The request as that model gets it.
        member: Which model, by number.
        progress: Where the first piece of its answer is noted.
    """

    plain: ModelRequest
    member: int
    progress: Progress

    def note(self, piece: ModelDelta | ModelResponse) -> None:
        """Note that the user sees a piece of the answer."""
        if not isinstance(piece, ModelResponse):
            self.progress.started = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """When the next model is asked.

    Attributes:
        on: Errors that are a reason, beside those of `is_unavailable`.
        accept: A look at the result; what it does not accept is a reason.
        patience: Seconds after which the next model is asked; an equal share of the time that is
            left unless given.
    """

    on: tuple[type[GemmaStructuredError], ...] = ()
    accept: Callable[[Result[object]], bool] | None = None
    patience: float | None = None

    def fall_over(self, error: GemmaStructuredError) -> bool:
        """Whether an error is a reason to ask the next model."""
        if isinstance(error, GenerationCancelledError):
            return False
        return is_unavailable(error) or isinstance(error, (NotAcceptedError, *self.on))


@dataclass(slots=True, kw_only=True)
class Turns:
    """The models that one document is taken to, and why those before did not answer.

    Attributes:
        names: The models' names.
        breakers: One a model, shared by all documents.
        rules: When the next one is asked.
        deadline: For all of them together.
        causes: Why each model that was passed over did not answer.
        progress: Whether the user has seen a piece of an answer.
    """

    names: Sequence[str]
    breakers: Sequence[CircuitBreaker]
    rules: Rules
    deadline: Deadline
    causes: list[ModelError] = field(default_factory=list[ModelError])
    progress: Progress = field(default_factory=Progress)

    def __iter__(self) -> Iterator[int]:
        """The models to ask, in order; all of them where breakers would spare every one."""
        tried = False
        for member, (name, breaker) in enumerate(zip(self.names, self.breakers, strict=True)):
            if wait := breaker.enter():
                self.causes.append(
                    ModelBusyError(
                        f"Spared because it kept failing; it is asked again in {wait:.0f} s.",
                        model_name=name,
                    )
                )
                continue
            tried = True
            yield member
        if not tried:
            self.causes.clear()
            yield from range(len(self.names))

    @property
    def usage(self) -> Usage:
        """What the models that were passed over have cost."""
        usages = [attempt.usage for cause in self.causes for attempt in cause.attempts]
        return sum(usages, Usage())

    def deadline_of(self, member: int) -> Deadline | None:
        """When the next model is asked; `None` if there is no time left for this one.

        The last one has all the time that is left.
        """
        if self.deadline.remaining <= 0:
            self.breakers[member].leave()
            self.causes.append(
                DeadlineExceededError(
                    "Not asked: there was no time left.", model_name=self.names[member]
                )
            )
            return None
        later = len(self.names) - member - 1
        if not later:
            return self.deadline
        patience = self.rules.patience
        share = self.deadline.remaining / (later + 1) if patience is None else patience
        return Deadline.after(max(0.0, min(share, self.deadline.remaining)))

    def failed(self, member: int, error: GemmaStructuredError) -> None:
        """Note why a model did not answer.

        Raises:
            GemmaStructuredError: The error itself, if it is no reason to ask the next, or if the
                user has seen a piece of the answer.
        """
        if isinstance(error, ModelError):
            error.model_name = error.model_name or self.names[member]
        if self.progress.started or not self.rules.fall_over(error):
            earlier = [attempt for cause in self.causes for attempt in cause.attempts]
            error.attempts = (*earlier, *error.attempts)
            raise error
        logger.info("%s did not answer (%s)", self.names[member], error_type(error))
        self.causes.append(_as_model_error(error, self.names[member]))

    def tell(self, member: int, error: GemmaStructuredError | None) -> None:
        """Tell a model's breaker how a call ended."""
        if error is None or isinstance(error, OutputValidationError | NotAcceptedError):
            self.breakers[member].succeed()
        elif is_unavailable(error):
            self.breakers[member].fail()
        else:
            self.breakers[member].leave()


def in_turn(turns: Turns, ask_one: Callable[[Deadline], Flow[R]]) -> Flow[R]:
    """Ask one model after the other until one answers.

    Args:
        turns: Which models.
        ask_one: The flow for one of them, given its deadline.

    Yields:
        The next request, a `RoutedRequest`.

    Returns:
        What the flow of the model that answered returned.

    Raises:
        FallbackError: None did.
        GemmaStructuredError: One failed in a way that is no reason to ask the next.
    """
    for member in turns:
        deadline = turns.deadline_of(member)
        if deadline is None:
            continue
        ended = False
        try:
            result = yield from _routed(ask_one(deadline), member, turns.progress)
            _check_accepted(result, turns.rules)
        except GemmaStructuredError as error:
            ended = True
            turns.tell(member, error)
            turns.failed(member, error)
        else:
            ended = True
            turns.tell(member, None)
            return result
        finally:
            if not ended:  # cancelled, or the predicate itself failed
                turns.breakers[member].leave()
    raise FallbackError("No model answered.", turns.causes)


def _routed(flow: Flow[R], member: int, progress: Progress) -> Flow[R]:
    """The same flow, its requests addressed to a model."""
    try:
        request = next(flow)
        while True:
            plain = {each.name: getattr(request, each.name) for each in fields(ModelRequest)}
            routed = RoutedRequest(**plain, plain=request, member=member, progress=progress)
            try:
                response = yield routed
            except GemmaStructuredError as error:
                request = flow.throw(error)
            else:
                request = flow.send(response)
    except StopIteration as stop:
        result: R = stop.value
        return result


def _check_accepted(result: object, rules: Rules) -> None:
    if rules.accept is None or not isinstance(result, Result) or rules.accept(result):
        return
    raise NotAcceptedError(
        "The result validates, and `accept` did not accept it.",
        attempts=result.attempts,
        model_name=result.model_name,
    )


def _as_model_error(error: GemmaStructuredError, name: str) -> ModelError:
    if isinstance(error, ModelError):
        return error
    wrapped = ModelError(str(error), attempts=error.attempts, model_name=name)
    wrapped.__cause__ = error
    return wrapped


def with_causes(result: Result[R], turns: Turns) -> Result[R]:
    """A result that says who was asked before, and counts what that cost."""
    earlier = [attempt for cause in turns.causes for attempt in cause.attempts]
    return replace(
        result,
        skipped=tuple(turns.causes),
        attempts=(*earlier, *result.attempts),
        usage=turns.usage + result.usage if earlier else result.usage,
    )
