"""What a task on a remote model comes to: its messages, its request, and what its answer says."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from gemma_structured.models.redaction import redacted
from gemma_structured.models.remote_calls import read_turn
from gemma_structured.models.structured_modes import output_form
from gemma_structured.prompting import build_messages
from gemma_structured.remote.call import Call
from gemma_structured.remote.decode import chat_decoder
from gemma_structured.remote.pricing import Quote
from gemma_structured.remote.wire import ChatRequest
from gemma_structured.types import Deadline, ModelResponse

if TYPE_CHECKING:
    from gemma_structured.driver import ModelRequest, Task
    from gemma_structured.messages import Message, ToolCall
    from gemma_structured.models.remote import RemoteModel
    from gemma_structured.remote.completion import Completion
    from gemma_structured.remote.pricing import Pricing
    from gemma_structured.remote.wire import StructuredMode
    from gemma_structured.types import Usage

__all__ = ["RemotePlan"]

_DRAFT: Final = "First write down your thoughts in plain text, then the answer."


@dataclass(frozen=True, slots=True)
class RemotePlan:
    """A task on a remote model, without I/O."""

    model: RemoteModel
    task: Task[Any]

    @property
    def needs_price(self) -> bool:
        """Whether a budget has to reckon with the model's price."""
        return self.model.budget is not None and self.model.budget.has_cost_limit

    def mode(self) -> StructuredMode:
        """How the server is told of the form; not at all where the answer may be another."""
        if self.task.tools is not None or self.task.draft or self.task.is_free_text:
            return "prompt"
        return self.model.modes.choose(self.task.output_type)

    def response(
        self, request: ModelRequest, completion: Completion, usage: Usage
    ) -> ModelResponse:
        """What a completion is to the generator."""
        text = completion.text
        calls: tuple[ToolCall, ...] = ()
        if self.task.tools is not None and completion.finish_reason == "stop":
            text, calls = read_turn(completion, self.task.tools)
        return ModelResponse(
            text=text,
            thinking=completion.thinking,
            tool_calls=calls,
            finish_reason="tool_calls" if calls else completion.finish_reason,
            usage=usage,
            model_name=completion.model_name or self.model.name,
            max_tokens=self.max_tokens(request),
        )

    def max_tokens(self, request: ModelRequest) -> int:
        """The most tokens of the answer, without those of a thought that has its own limit."""
        return request.max_tokens or self.task.max_tokens or self.model.max_tokens

    def deadline(self, request: ModelRequest) -> Deadline:
        """The request's own, or the model's if that is sooner."""
        return min(request.deadline, Deadline.after(self.model.timeout), key=lambda one: one.at)

    def messages(self, request: ModelRequest, mode: StructuredMode = "prompt") -> list[Message]:
        """What is sent, as the redaction hook gives it back."""
        task = self.task
        parts = [task.instruction, _DRAFT if task.draft and task.output_type.is_json else None]
        messages = build_messages(
            request.input,
            task.output_type,
            instruction="\n\n".join(part for part in parts if part) or None,
            examples=task.examples,
            issues=request.issues,
            # A tool's parameters are shown to the model anyway.
            show_schema=mode != "tools" and not task.is_free_text,
        )
        redact, redact_image = self.model.redact, self.model.redact_image
        return [redacted(message, redact, redact_image) for message in messages]

    def chat_request(
        self, request: ModelRequest, mode: StructuredMode, price: Pricing | None
    ) -> ChatRequest:
        """What is asked of the server."""
        model, task = self.model, self.task
        return ChatRequest(
            model=model.name,
            messages=tuple(self.messages(request, mode)),
            max_tokens=self.max_tokens(request) + (task.thinking_budget or 0),
            sampling=task.sampling,
            form=output_form(task.output_type, mode),
            tools=task.tools,
            extra=model.members(
                price=price,
                thinking=task.thinking,
                needs_parameters=mode != "prompt" or task.tools is not None,
            ),
            stream_extra=model.stream_extra,
        )

    def call(
        self,
        request: ModelRequest,
        mode: StructuredMode,
        price: Pricing | None,
        *,
        stream: bool,
        deadline: Deadline,
        failed: Usage,
    ) -> Call[Completion]:
        """The same as the transport takes it, with what it may cost."""
        chat = self.chat_request(request, mode, price)
        quote = None
        if self.model.budget is not None:
            quote = Quote(
                budget=self.model.budget,
                prompt_tokens=chat.max_prompt_tokens,
                max_tokens=chat.max_tokens,
                images=len(chat.images),
                pricing=price or self.model.price,
            )
        return Call(
            decoder=partial(
                chat_decoder,
                answer_in_tool=mode == "tools",
                calls_apart=self.task.tools is not None,
            ),
            body=chat.encode(stream=stream),
            context=self.model.error_context(chat.text),
            deadline=deadline,
            cancellation=request.cancellation,
            quote=quote,
            failed_usage=failed,
        )
