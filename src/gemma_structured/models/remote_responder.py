"""One task on a remote model, sent and received: blocking and not, whole and streamed."""

from __future__ import annotations

import time
from contextlib import aclosing, closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from gemma_structured.exceptions import GemmaStructuredError, InputError
from gemma_structured.messages import UserMessage
from gemma_structured.models.remote_plan import RemotePlan
from gemma_structured.models.structured_modes import output_form
from gemma_structured.remote.call import Whole
from gemma_structured.types import ModelResponse, Usage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

    from gemma_structured.driver import ModelRequest, Task
    from gemma_structured.messages import Message
    from gemma_structured.models.remote import RemoteModel
    from gemma_structured.types import ModelDelta

__all__ = ["RemoteResponder"]


@dataclass(slots=True, kw_only=True)
class _Clock:
    """Times one request."""

    start: float
    first: float | None = None

    def note_piece(self) -> None:
        if self.first is None:
            self.first = time.monotonic() - self.start

    def usage(self, usage: Usage, *, stream: bool) -> Usage:
        return replace(
            usage,
            seconds=time.monotonic() - self.start,
            seconds_to_first_token=self.first if stream else None,
        )


class RemoteResponder:
    """A `RemoteModel` with one task; see `Responder`."""

    def __init__(self, model: RemoteModel, task: Task[Any]) -> None:
        if task.local_only:
            raise InputError(
                f"local_only=True, and {model.name} is a remote model.",
                hint="Put a local model beside it with gs.FallbackModel.",
            )
        self._model = model
        self._plan = RemotePlan(model, task)
        output_form(task.output_type, self._plan.mode())

    @property
    def model_name(self) -> str:
        """What the server calls the model."""
        return self._model.name

    @property
    def concurrency(self) -> int:
        """How many requests the model's limits let be under way at once."""
        return self._model.server.max_concurrency

    def respond(self, request: ModelRequest) -> ModelResponse:
        """Answer; see `Responder`."""
        with closing(self._pieces(request, stream=False)) as pieces:
            for piece in pieces:
                if isinstance(piece, ModelResponse):
                    return piece
        raise AssertionError  # pragma: no cover  (the pieces end with the response or an error)

    async def arespond(self, request: ModelRequest) -> ModelResponse:
        """Answer, without blocking the event loop."""
        async with aclosing(self._apieces(request, stream=False)) as pieces:
            async for piece in pieces:
                if isinstance(piece, ModelResponse):
                    return piece
        raise AssertionError  # pragma: no cover  (the pieces end with the response or an error)

    def stream(self, request: ModelRequest) -> Generator[ModelDelta | ModelResponse]:
        """Answer piece by piece."""
        return self._pieces(request, stream=True)

    def astream(self, request: ModelRequest) -> AsyncGenerator[ModelDelta | ModelResponse]:
        """Answer piece by piece, without blocking the event loop."""
        return self._apieces(request, stream=True)

    def prompt(self, request: ModelRequest) -> str:
        """The messages as they will be sent, each under its role."""
        return "\n\n".join(
            f"[{type(message).__name__.removesuffix('Message').lower()}]\n{_shown(message)}"
            for message in self.messages(request)
        )

    def messages(self, request: ModelRequest) -> list[Message]:
        """The messages as they will be sent."""
        return self._plan.messages(request, self._plan.mode())

    def count_tokens(self, request: ModelRequest) -> int:
        """An upper bound of the prompt's tokens."""
        return self._plan.chat_request(request, self._plan.mode(), None).max_prompt_tokens

    def _pieces(
        self, request: ModelRequest, *, stream: bool
    ) -> Generator[ModelDelta | ModelResponse]:
        self._model.check_ready()
        failed, clock = Usage(), _Clock(start=time.monotonic())
        deadline = self._plan.deadline(request)
        while True:
            mode = self._plan.mode()
            price = self._model.price_bound(deadline) if self._plan.needs_price else None
            call = self._plan.call(
                request, mode, price, stream=stream, deadline=deadline, failed=failed
            )
            try:
                with closing(self._model.transport.exchange(call)) as pieces:
                    for piece in pieces:
                        if isinstance(piece, Whole):
                            usage = clock.usage(
                                call.failed_usage + piece.value.usage, stream=stream
                            )
                            yield self._plan.response(request, piece.value, usage)
                        else:
                            clock.note_piece()
                            yield piece
            except GemmaStructuredError as error:
                if not self._model.modes.refuse(mode, error) or clock.first is not None:
                    raise
                failed = call.failed_usage
            else:
                return

    async def _apieces(
        self, request: ModelRequest, *, stream: bool
    ) -> AsyncGenerator[ModelDelta | ModelResponse]:
        self._model.check_ready()
        failed, clock = Usage(), _Clock(start=time.monotonic())
        deadline = self._plan.deadline(request)
        while True:
            mode = self._plan.mode()
            price = await self._model.aprice_bound(deadline) if self._plan.needs_price else None
            call = self._plan.call(
                request, mode, price, stream=stream, deadline=deadline, failed=failed
            )
            try:
                async with aclosing(self._model.async_transport.exchange(call)) as pieces:
                    async for piece in pieces:
                        if isinstance(piece, Whole):
                            usage = clock.usage(
                                call.failed_usage + piece.value.usage, stream=stream
                            )
                            yield self._plan.response(request, piece.value, usage)
                        else:
                            clock.note_piece()
                            yield piece
            except GemmaStructuredError as error:
                if not self._model.modes.refuse(mode, error) or clock.first is not None:
                    raise
                failed = call.failed_usage
            else:
                return


def _shown(message: Message) -> str:
    """A message for those who look at it: its texts, and where its images stand."""
    if not isinstance(message, UserMessage):
        return message.text
    return "\n\n".join(map(str, message.parts))
