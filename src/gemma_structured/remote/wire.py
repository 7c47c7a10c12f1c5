"""A request to a chat-completions server, as a value, and its JSON.

https://openrouter.ai/docs/api-reference/chat-completion and the OpenAI API that it follows.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from gemma_structured.exceptions import InputError
from gemma_structured.messages import AssistantMessage, SystemMessage, ToolMessage, UserMessage
from gemma_structured.remote.tool_calls import encode_call, encode_offer, encode_return

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gemma_structured.images import Image
    from gemma_structured.messages import Message
    from gemma_structured.tools import ToolOffer
    from gemma_structured.types import JsonValue, SamplingParams

__all__ = ["ChatRequest", "OutputForm", "StructuredMode"]

StructuredMode: TypeAlias = Literal[
    "prompt", "json_schema", "json_object", "tools", "structured_outputs"
]
"""How a server is told of the output's form, beside the prompt."""

_TOKENS_PER_MESSAGE: Final = 16
_TOKENS_PER_IMAGE: Final = 16_384
_TOKENS_PER_REQUEST: Final = 64
"""Room for what a chat template adds: role markers, and its own preamble."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputForm:
    """The form that the answer is to have.

    Attributes:
        mode: How the server is told.
        name: The output type's name.
        kind: What `source` is.
        source: A JSON Schema (as JSON), or a regular expression, options or a grammar.
        description: What the output is, for the tool's description.
    """

    mode: StructuredMode = "prompt"
    name: str = "output"
    kind: Literal["json", "regex", "choice", "grammar"] = "json"
    source: JsonValue = None
    description: str | None = None

    def encode(self) -> dict[str, JsonValue]:
        """The members of the request that tell of it."""
        name = re.sub(r"[^A-Za-z0-9_-]+", "_", self.name)[:64].strip("_") or "output"
        match self.mode:
            case "json_schema":
                schema: JsonValue = {"name": name, "strict": True, "schema": self.source}
                return {"response_format": {"type": "json_schema", "json_schema": schema}}
            case "json_object":
                return {"response_format": {"type": "json_object"}}
            case "tools":
                function: dict[str, JsonValue] = {
                    "name": name,
                    "description": self.description or "Give the answer.",
                    "parameters": self.source,
                }
                return {
                    "tools": [{"type": "function", "function": function}],
                    "tool_choice": {"type": "function", "function": {"name": name}},
                }
            case "structured_outputs":
                return {"structured_outputs": {self.kind: self.source}}
            case "prompt":
                return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """One chat completion that is asked for.

    Attributes:
        model: The server's name for the model.
        messages: The conversation.
        max_tokens: The most tokens of answer and thought; always sent.
        sampling: How tokens are chosen.
        form: The answer's form.
        tools: What the model may call.
        extra: Members of the request that are particular to a server.
        stream_extra: The same, sent only with a request to stream.
    """

    model: str
    messages: tuple[Message, ...] = field(repr=False)
    max_tokens: int
    sampling: SamplingParams
    form: OutputForm = field(default_factory=OutputForm)
    tools: ToolOffer | None = None
    extra: Mapping[str, JsonValue] = field(default_factory=dict[str, "JsonValue"])
    stream_extra: Mapping[str, JsonValue] = field(default_factory=dict[str, "JsonValue"])

    def encode(self, *, stream: bool) -> bytes:
        """The request's body.

        Raises:
            InputError: A text holds lone surrogates, which UTF-8 cannot say; an image cannot be
                read, or is none.
        """
        body: dict[str, JsonValue] = {
            "model": self.model,
            "messages": [part for message in self.messages for part in _messages(message)],
            "max_tokens": self.max_tokens,
            **_sampling(self.sampling),
            **self.form.encode(),
            **(encode_offer(self.tools) if self.tools else {}),
            **self.extra,
        }
        if stream:
            body |= {"stream": True, **self.stream_extra}
        text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
        try:
            return text.encode()
        except UnicodeEncodeError:
            raise InputError(
                "A text holds a lone surrogate, which cannot be sent as UTF-8.",
                hint="Decode the document with errors='replace'.",
            ) from None

    @property
    def text(self) -> str:
        """All that the model is given to read, message after message; addresses of images too."""
        texts: list[str] = []
        for message in self.messages:
            texts.append(message.text)
            if isinstance(message, UserMessage):
                texts += [image.source for image in message.images if isinstance(image.source, str)]
            if isinstance(message, AssistantMessage):
                texts += [json.dumps(dict(call.written)) for call in message.tool_calls]
        return "\n\n".join(texts)

    @property
    def images(self) -> tuple[Image, ...]:
        """All that the model is given to look at."""
        users = (message for message in self.messages if isinstance(message, UserMessage))
        return tuple(image for message in users for image in message.images)

    @property
    def max_prompt_tokens(self) -> int:
        """An upper bound of the prompt's tokens: no tokenizer has more tokens than bytes.

        What an image comes to is up to the model; it is reckoned with more than any is known for.
        """
        members = self.form.encode() | (encode_offer(self.tools) if self.tools else {})
        apart = json.dumps(members, ensure_ascii=False)
        size = len((self.text + apart).encode("utf-8", "surrogatepass"))
        size += _TOKENS_PER_IMAGE * len(self.images)
        return size + _TOKENS_PER_MESSAGE * len(self.messages) + _TOKENS_PER_REQUEST


def _messages(message: Message) -> list[JsonValue]:
    """A message as the wire has it; the returns of several calls are a message each."""
    match message:
        case SystemMessage(text=text):
            return [{"role": "system", "content": text}]
        case UserMessage(images=()):
            return [{"role": "user", "content": message.text}]
        case UserMessage(parts=parts):
            return [{"role": "user", "content": list(map(_part, parts))}]
        case AssistantMessage(text=text, tool_calls=()):
            return [{"role": "assistant", "content": text}]
        case AssistantMessage(text=text, tool_calls=calls):
            asked: list[JsonValue] = [encode_call(call) for call in calls]
            return [{"role": "assistant", "content": text or None, "tool_calls": asked}]
        case ToolMessage(returns=returns):
            return [encode_return(returned) for returned in returns]


def _part(part: str | Image) -> JsonValue:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    return {"type": "image_url", "image_url": {"url": part.url}}


def _sampling(sampling: SamplingParams) -> dict[str, JsonValue]:
    chosen: dict[str, JsonValue] = {"temperature": sampling.temperature}
    for name in ("top_p", "top_k", "min_p", "seed"):
        if (value := getattr(sampling, name)) is not None:
            chosen[name] = value
    return chosen
