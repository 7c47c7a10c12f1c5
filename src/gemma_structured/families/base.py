"""What a model family knows: how messages become its prompt, and what its answers look like.

Rendering goes through the chat template that ships with the checkpoint, which is the truth about
its format. What people wrote (instructions, examples, documents, tools' descriptions and returns)
never passes through the template and is never parsed for control tokens: the template sees a
placeholder for each text, and the texts are encoded apart, as text.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from gemma_structured.exceptions import InputError
from gemma_structured.families.declarations import declare
from gemma_structured.families.prompted import PromptedCalls, describe_tools
from gemma_structured.families.slots import Slots
from gemma_structured.families.template_messages import MessageWriter, without_calls
from gemma_structured.messages import SystemMessage, ToolMessage, UserMessage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gemma_structured.families.call_format import CallFormat
    from gemma_structured.families.turn import ThoughtMarks
    from gemma_structured.messages import Message
    from gemma_structured.tools import Tool, ToolOffer
    from gemma_structured.types import JsonValue

__all__ = ["ChatTokenizer", "Family", "RenderedPrompt"]


class ChatTokenizer(Protocol):
    """The part of a tokenizer that rendering needs."""

    @property
    def bos_token(self) -> str:
        """The token that begins every sequence, by name; empty if there is none."""
        ...

    def apply_chat_template(
        self, messages: Sequence[Mapping[str, JsonValue]], **variables: object
    ) -> str:
        """Render messages (`role`, `content`) up to where the assistant's answer begins.

        Raises:
            InputError: The template refuses these messages.
        """
        ...

    def encode_template(self, text: str) -> list[int]:
        """Trusted text to ids: names of control tokens become those tokens."""
        ...

    def encode(self, text: str) -> list[int]:
        """Untrusted text to ids, none of them a control token."""
        ...

    def token_id(self, name: str) -> int | None:
        """The id of a token by its name, if there is one."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedPrompt:
    """A prompt as it is sent.

    Attributes:
        text: With its control tokens by name.
        token_ids: What the model reads.
        fixed_length: How many of the first tokens do not depend on the last message.
    """

    text: str = field(repr=False)
    token_ids: tuple[int, ...] = field(repr=False)
    fixed_length: int


class Family:
    """A family whose checkpoints bring a chat template. Others override what differs.

    Attributes:
        name: What users see.
        model_types: The `model_type`s of transformers configurations that belong to it.
        has_system_role: Whether its template takes a system message. Otherwise the system's text
            goes before the first user's.
        call_formats: The forms in which its models were trained to write calls.
        thought: How its models mark a thought; `None` if they have none.
        thinking_variable: What its template calls the switch for thinking, where it has one.
        arguments_as_text: Whether its template takes the arguments of past calls as JSON text.
        structured_returns: Whether its template takes what tools returned as values.
    """

    name: ClassVar[str] = "chat"
    model_types: ClassVar[frozenset[str]] = frozenset()
    has_system_role: ClassVar[bool] = True
    call_formats: ClassVar[tuple[CallFormat, ...]] = ()
    thought: ClassVar[ThoughtMarks | None] = None
    thinking_variable: ClassVar[str | None] = None
    arguments_as_text: ClassVar[bool] = False
    structured_returns: ClassVar[bool] = False

    def call_format(self, tokenizer: ChatTokenizer) -> CallFormat:
        """The form of calls that a model with these tokens was trained on, or prompted JSON."""
        for form in self.call_formats:
            if form.is_native_to(tokenizer):
                return form
        return PromptedCalls()

    def layout(
        self,
        messages: Sequence[Mapping[str, JsonValue]],
        tokenizer: ChatTokenizer,
        *,
        tools: Sequence[Mapping[str, JsonValue]] = (),
        thinking: bool = False,
    ) -> str:
        """Messages (`role`, `content`) to the prompt's text, with the checkpoint's template.

        Raises:
            InputError: The template refuses these messages.
        """
        variables: dict[str, Any] = {"tools": [dict(tool) for tool in tools]} if tools else {}
        if self.thinking_variable is not None:
            variables[self.thinking_variable] = thinking
        text = tokenizer.apply_chat_template(messages, **variables)
        return self.finish_prompt(text, thinking=thinking)

    def finish_prompt(self, text: str, *, thinking: bool) -> str:
        """What the template wrote, made to end where the answer or the thought begins."""
        del thinking
        return text

    def render(
        self,
        messages: Sequence[Message],
        tokenizer: ChatTokenizer,
        *,
        offer: ToolOffer | None = None,
        thinking: bool = False,
    ) -> RenderedPrompt:
        """Render a conversation that ends with the user or with tools' returns.

        The tools are declared by the checkpoint's template, or before the conversation where it
        does not declare any.

        Args:
            messages: The conversation.
            tokenizer: The checkpoint's.
            offer: What may be called.
            thinking: Whether there is to be a thought.

        Raises:
            InputError: The conversation ends otherwise or holds an image, the template refuses it,
                or a text cannot be encoded.
        """
        if not messages or not isinstance(messages[-1], UserMessage | ToolMessage):
            raise InputError("A prompt must end with a user's message or with tools' returns.")
        if any(isinstance(message, UserMessage) and message.images for message in messages):
            raise InputError(
                "A local model reads text only, and there is an image.",
                hint="Ask a remote model that takes images, such as gs.OpenRouterModel.",
            )
        form = self.call_format(tokenizer)
        if isinstance(form, PromptedCalls):
            told = messages
            if offer is not None and offer.callable_tools:
                told = _before(messages, describe_tools(offer, form.example))
            return self._render(without_calls(told, form), tokenizer, (), thinking=thinking)[0]
        tools = offer.callable_tools if offer is not None else ()
        rendered, declares = self._render(messages, tokenizer, tools, thinking=thinking)
        if declares or offer is None:
            return rendered
        told = _before(messages, describe_tools(offer))
        return self._render(told, tokenizer, (), thinking=thinking)[0]

    def _render(
        self,
        messages: Sequence[Message],
        tokenizer: ChatTokenizer,
        tools: Sequence[Tool[..., Any]],
        *,
        thinking: bool,
    ) -> tuple[RenderedPrompt, bool]:
        """The prompt, and whether the template has declared the tools in it."""
        slots = Slots()
        descriptions: set[int] = set()
        declared: list[dict[str, JsonValue]] = []
        for tool in tools:
            descriptions.add(slots.count)
            declared.append(declare(tool, slots))
        writer = MessageWriter(
            slots,
            arguments_as_text=self.arguments_as_text,
            structured_returns=self.structured_returns,
        )
        mapped = self._map_roles(messages)
        written = [each for message in mapped[:-1] for each in writer.write(message)]
        last = slots.count
        written += writer.write(mapped[-1])
        if isinstance(messages[-1], UserMessage):  # a system's text may stand before its own
            last = slots.count - len(messages[-1].texts)
        text, ids = "", list[int]()
        fixed_length: int | None = None
        laid_out = self.layout(written, tokenizer, tools=declared, thinking=thinking)
        for piece, slot in slots.split(laid_out):
            if slot is not None and slot >= last and fixed_length is None:
                fixed_length = len(ids)
            ids += tokenizer.encode_template(piece) if slot is None else tokenizer.encode(piece)
            text += piece
        prompt = RenderedPrompt(text=text, token_ids=tuple(ids), fixed_length=fixed_length or 0)
        return prompt, descriptions <= slots.seen

    def _map_roles(self, messages: Sequence[Message]) -> list[Message]:
        """Give the system's text to the first user where the family has no system role."""
        if self.has_system_role:
            return list(messages)
        system = [message.text for message in messages if isinstance(message, SystemMessage)]
        others: list[Message] = [m for m in messages if not isinstance(m, SystemMessage)]
        first = next((i for i, message in enumerate(others) if isinstance(message, UserMessage)), 0)
        user = others[first]
        if isinstance(user, UserMessage):
            others[first] = UserMessage(*system, *user.texts)
        return others


def _before(messages: Sequence[Message], text: str) -> list[Message]:
    """Put a text after the system's own."""
    system = [message.text for message in messages if isinstance(message, SystemMessage)]
    others = [message for message in messages if not isinstance(message, SystemMessage)]
    return [SystemMessage("\n\n".join([*system, text])), *others]
