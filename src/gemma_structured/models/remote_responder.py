"""One task on a remote model: messages → wire → transport → response, blocking and not."""

from __future__ import annotations

import time
from contextlib import aclosing, closing
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from gemma_structured.exceptions import GemmaStructuredError, InputError
from gemma_structured.models.redaction import redacted
from gemma_structured.models.structured_modes import output_form
from gemma_structured.prompting import build_messages
from gemma_structured.remote.call import Call, Whole
from gemma_structured.remote.decode import chat_decoder
from gemma_structured.remote.pricing import Quote
from gemma_structured.remote.wire import ChatRequest
from gemma_structured.types import Deadline, ModelResponse, Usage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

    from gemma_structured.driver import ModelRequest, Task
    from gemma_structured.messages import Message
    from gemma_structured.models.remote import RemoteModel
    from gemma_structured.remote.completion import Completion
    from gemma_structured.remote.pricing import Pricing
    from gemma_structured.remote.wire import StructuredMode
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

    def response(self, completion: Completion, call: Call[Completion]) -> ModelResponse:
        usage = replace(
            call.failed_usage + completion.usage,
            seconds=time.monotonic() - self.start,
            seconds_to_first_token=self.first,
        )
        return ModelResponse(
            text=completion.text,
            thinking=completion.thinking,
            finish_reason=completion.finish_reason,
            usage=usage,
            model_name=completion.model_name or call.context.model_name or "",
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
        self._task = task
        output_form(task.output_type, model.modes.choose(task.output_type))

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
            f"[{type(message).__name__.removesuffix('Message').lower()}]\n{message.text}"
            for message in self._messages(request)
        )

    def count_tokens(self, request: ModelRequest) -> int:
        """An upper bound of the prompt's tokens."""
        return self._chat_request(request, self._mode(), None).max_prompt_tokens

    def _pieces(
        self, request: ModelRequest, *, stream: bool
    ) -> Generator[ModelDelta | ModelResponse]:
        self._model.check_ready()
        failed, clock = Usage(), _Clock(start=time.monotonic())
        deadline = self._deadline(request)
        while True:
            mode = self._mode()
            price = self._model.price_bound(deadline) if self._needs_price else None
            call = self._call(request, mode, price, stream=stream, deadline=deadline, failed=failed)
            try:
                with closing(self._model.transport.exchange(call)) as pieces:
                    for piece in pieces:
                        if isinstance(piece, Whole):
                            yield clock.response(piece.value, call)
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
        deadline = self._deadline(request)
        while True:
            mode = self._mode()
            price = await self._model.aprice_bound(deadline) if self._needs_price else None
            call = self._call(request, mode, price, stream=stream, deadline=deadline, failed=failed)
            try:
                async with aclosing(self._model.async_transport.exchange(call)) as pieces:
                    async for piece in pieces:
                        if isinstance(piece, Whole):
                            yield clock.response(piece.value, call)
                        else:
                            clock.note_piece()
                            yield piece
            except GemmaStructuredError as error:
                if not self._model.modes.refuse(mode, error) or clock.first is not None:
                    raise
                failed = call.failed_usage
            else:
                return

    @property
    def _needs_price(self) -> bool:
        return self._model.budget is not None and self._model.budget.has_cost_limit

    def _mode(self) -> StructuredMode:
        return self._model.modes.choose(self._task.output_type)

    def _deadline(self, request: ModelRequest) -> Deadline:
        """The request's own, or the model's if that is sooner."""
        return min(request.deadline, Deadline.after(self._model.timeout), key=lambda one: one.at)

    def _messages(self, request: ModelRequest, mode: StructuredMode = "prompt") -> list[Message]:
        messages = build_messages(
            request.input,
            self._task.output_type,
            instruction=self._task.instruction,
            examples=self._task.examples,
            issues=request.issues,
            show_schema=mode != "tools",  # a tool's parameters are shown to the model anyway
        )
        redact = self._model.redact
        return messages if redact is None else [redacted(message, redact) for message in messages]

    def _chat_request(
        self, request: ModelRequest, mode: StructuredMode, price: Pricing | None
    ) -> ChatRequest:
        model, task = self._model, self._task
        return ChatRequest(
            model=model.name,
            messages=tuple(self._messages(request, mode)),
            max_tokens=request.max_tokens or task.max_tokens or model.max_tokens,
            sampling=task.sampling,
            form=output_form(task.output_type, mode),
            extra=model.members(mode, price),
            stream_extra=model.stream_extra,
        )

    def _call(
        self,
        request: ModelRequest,
        mode: StructuredMode,
        price: Pricing | None,
        *,
        stream: bool,
        deadline: Deadline,
        failed: Usage,
    ) -> Call[Completion]:
        chat = self._chat_request(request, mode, price)
        quote = None
        if self._model.budget is not None:
            quote = Quote(
                budget=self._model.budget,
                prompt_tokens=chat.max_prompt_tokens,
                max_tokens=chat.max_tokens,
                pricing=price or self._model.price,
            )
        return Call(
            decoder=partial(chat_decoder, answer_in_tool=mode == "tools"),
            body=chat.encode(stream=stream),
            context=self._model.error_context(chat.text),
            deadline=deadline,
            cancellation=request.cancellation,
            quote=quote,
            failed_usage=failed,
        )
