"""`FallbackModel`: the first of several models that answers."""

from __future__ import annotations

import copy
from contextlib import aclosing, closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from gemma_structured.exceptions import GemmaStructuredError, InputError
from gemma_structured.generator import Generator
from gemma_structured.models.base import Model
from gemma_structured.models.circuit_breaker import CircuitBreaker
from gemma_structured.models.remote import RemoteModel
from gemma_structured.models.turns import RoutedRequest, Rules, Turns, in_turn, with_causes
from gemma_structured.observability import bind
from gemma_structured.reask import ask
from gemma_structured.types import Deadline, ModelResponse

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
    from collections.abc import Generator as GeneratorType
    from typing import Self

    from gemma_structured.driver import ModelRequest, Responder, Task
    from gemma_structured.messages import Input, Message
    from gemma_structured.reask import Flow
    from gemma_structured.types import Cancellation, ModelDelta, Result

__all__ = ["FallbackGenerator", "FallbackModel", "FallbackResponder"]

T = TypeVar("T")


class FallbackModel(Model):
    """Several models as one: each is asked when those before it cannot answer.

    The next model is asked after a `LoadError`, a `ModelBusyError`, a `TransportError`, a
    `DeadlineExceededError`, a rate limit and an error of the server's. A result says which models
    failed before (`Result.skipped`) and counts what they cost.

    Naming a remote model is the consent to send text to it; `local_only=True` withdraws it for one
    call. A stream goes to the next model only before its first piece.

    Args:
        *models: In the order in which they are asked.
        on: Further errors after which the next one is asked, such as `gs.OutputValidationError`.
        accept: A look at each validated result; if it says no, the next model is asked.
        patience: Seconds after which the next model is asked. Unless given, a call with a `timeout`
            gives each model an equal share of the time that is left.
        redact: Sees every text before a remote model does; see `RemoteOptions`.
        breaker_failures: A model that failed so often in a row is spared,
        breaker_seconds: for so long.

    Attributes:
        is_remote: Whether all the models are remote.

    Raises:
        InputError: There are no models, an argument makes no sense, or a remote model of another
            kind than this package's cannot be redacted.
    """

    def __init__(
        self,
        *models: Model,
        on: Iterable[type[GemmaStructuredError]] = (),
        accept: Callable[[Result[object]], bool] | None = None,
        patience: float | None = None,
        redact: Callable[[str], str] | None = None,
        breaker_failures: int = 5,
        breaker_seconds: float = 30.0,
    ) -> None:
        if not models:
            raise InputError("A FallbackModel needs at least one model.")
        if breaker_failures < 1:
            raise InputError(f"breaker_failures must be at least 1, not {breaker_failures}.")
        Deadline.after(patience)
        self.models = tuple(models if redact is None else [_redacted(m, redact) for m in models])
        self.is_remote = all(model.is_remote for model in models)
        self.rules = Rules(on=tuple(on), accept=accept, patience=patience)
        self.breakers = tuple(
            CircuitBreaker(failures=breaker_failures, seconds=breaker_seconds) for _ in models
        )

    def __repr__(self) -> str:
        return f"FallbackModel({', '.join(map(repr, self.models))})"

    @property
    def name(self) -> str:
        """The models' names, in order."""
        return " | ".join(model.name for model in self.models)

    @property
    def origin(self) -> None:
        """None of its own: each model's requests are seen apart."""

    def bind(self, task: Task[T]) -> FallbackResponder:
        """Prepare for a task; see `Driver`.

        Raises:
            InputError: The task is `local_only`, and there is no local model.
        """
        return FallbackResponder(self, task)

    def redacted(self, hook: Callable[[str], str]) -> Self:
        """The same models, with a hook that sees every text before the remote ones do."""
        other = copy.copy(self)
        other.models = tuple(_redacted(model, hook) for model in self.models)
        return other

    def _generator(self, task: Task[T]) -> Generator[T]:
        return FallbackGenerator(self, task)


class FallbackGenerator(Generator[T]):
    """A `Generator` whose inputs go to the next model when one does not answer."""

    def _flow(self, document: Input, cancellation: Cancellation) -> Flow[T]:
        responder = self._responder
        assert isinstance(responder, FallbackResponder)
        turns = responder.turns(Deadline.after(self.task.timeout))

        def ask_one(deadline: Deadline) -> Flow[T]:
            return ask(self.task, document, deadline=deadline, cancellation=cancellation)

        result = yield from in_turn(turns, ask_one)
        return with_causes(result, turns)


class FallbackResponder:
    """A `FallbackModel` with one task; see `Responder`.

    A request of `FallbackGenerator`'s flow says which model it is for. One from elsewhere is taken
    to one model after the other here, where no result is looked at.
    """

    def __init__(self, model: FallbackModel, task: Task[Any]) -> None:
        members = [
            (member, breaker)
            for member, breaker in zip(model.models, model.breakers, strict=True)
            if not (task.local_only and member.is_remote)
        ]
        if not members:
            raise InputError(
                "local_only=True, and all the models are remote.",
                hint="Put a gs.LocalModel first.",
            )
        self._rules = model.rules
        self._responders: Sequence[Responder] = [bind(member, task) for member, _ in members]
        self._breakers = [breaker for _, breaker in members]

    @property
    def model_name(self) -> str:
        """The models' names, in order."""
        return " | ".join(responder.model_name for responder in self._responders)

    @property
    def concurrency(self) -> int:
        """As many requests as the model that takes the most of them."""
        return max(responder.concurrency for responder in self._responders)

    def turns(self, deadline: Deadline) -> Turns:
        """A new document's way through the models."""
        return Turns(
            names=[responder.model_name for responder in self._responders],
            breakers=self._breakers,
            rules=self._rules,
            deadline=deadline,
        )

    def prompt(self, request: ModelRequest) -> str:
        """The first model's prompt."""
        return self._responders[0].prompt(request)

    def messages(self, request: ModelRequest) -> Sequence[Message]:
        """The first model's messages."""
        return self._responders[0].messages(request)

    def count_tokens(self, request: ModelRequest) -> int:
        """The first model's count."""
        return self._responders[0].count_tokens(request)

    def respond(self, request: ModelRequest) -> ModelResponse:
        """Answer; see `Responder`."""
        if isinstance(request, RoutedRequest):
            return self._responders[request.member].respond(request.plain)
        flow = self._one_response(request)
        try:
            routed = next(flow)
            while True:
                try:
                    response = self.respond(routed)
                except GemmaStructuredError as error:
                    routed = flow.throw(error)
                else:
                    routed = flow.send(response)
        except StopIteration as stop:
            answer: ModelResponse = stop.value
            return answer

    async def arespond(self, request: ModelRequest) -> ModelResponse:
        """Answer, without blocking the event loop."""
        if isinstance(request, RoutedRequest):
            return await self._responders[request.member].arespond(request.plain)
        flow = self._one_response(request)
        try:
            routed = next(flow)
            while True:
                try:
                    response = await self.arespond(routed)
                except GemmaStructuredError as error:
                    routed = flow.throw(error)
                else:
                    routed = flow.send(response)
        except StopIteration as stop:
            answer: ModelResponse = stop.value
            return answer

    def stream(self, request: ModelRequest) -> GeneratorType[ModelDelta | ModelResponse]:
        """Answer piece by piece."""
        if isinstance(request, RoutedRequest):
            with closing(self._responders[request.member].stream(request.plain)) as pieces:
                for piece in pieces:
                    request.note(piece)
                    yield piece
            return
        flow = self._one_response(request)
        routed: ModelRequest | None = next(flow)
        while routed is not None:
            try:
                with closing(self.stream(routed)) as pieces:
                    for piece in pieces:
                        if isinstance(piece, ModelResponse):
                            routed = None
                            yield _last(flow, piece)
                        else:
                            yield piece
            except GemmaStructuredError as error:
                routed = flow.throw(error)

    async def astream(self, request: ModelRequest) -> AsyncGenerator[ModelDelta | ModelResponse]:
        """Answer piece by piece, without blocking the event loop."""
        if isinstance(request, RoutedRequest):
            async with aclosing(self._responders[request.member].astream(request.plain)) as pieces:
                async for piece in pieces:
                    request.note(piece)
                    yield piece
            return
        flow = self._one_response(request)
        routed: ModelRequest | None = next(flow)
        while routed is not None:
            try:
                async with aclosing(self.astream(routed)) as pieces:
                    async for piece in pieces:
                        if isinstance(piece, ModelResponse):
                            routed = None
                            yield _last(flow, piece)
                        else:
                            yield piece
            except GemmaStructuredError as error:
                routed = flow.throw(error)

    def _one_response(
        self, request: ModelRequest
    ) -> GeneratorType[ModelRequest, ModelResponse, ModelResponse]:
        turns = self.turns(request.deadline)

        def ask_one(
            deadline: Deadline,
        ) -> GeneratorType[ModelRequest, ModelResponse, ModelResponse]:
            response = yield replace(request, deadline=deadline)
            return response

        response = yield from in_turn(turns, ask_one)
        return replace(response, usage=turns.usage + response.usage)


def _last(
    flow: GeneratorType[ModelRequest, ModelResponse, ModelResponse], response: ModelResponse
) -> ModelResponse:
    """End a flow with the response that it waits for."""
    try:
        flow.send(response)
    except StopIteration as stop:
        answer: ModelResponse = stop.value
        return answer
    raise AssertionError  # pragma: no cover  (it has asked for one response)


def _redacted(model: Model, hook: Callable[[str], str]) -> Model:
    if isinstance(model, RemoteModel | FallbackModel):
        return model.redacted(hook)
    if model.is_remote:
        raise InputError(f"{model.name} is remote, and this package cannot redact what it sends.")
    return model
