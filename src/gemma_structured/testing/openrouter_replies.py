"""What a chat-completions server may answer, right or wrong: replies for `FakeOpenRouter`.

The shapes are those of OpenRouter's published API and of recorded answers; the faults are those
that servers and the proxies before them are known for.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gemma_structured.types import JsonValue

__all__ = ["USAGE", "Answer", "Cut", "Failure", "Raw", "Reply", "Step", "Wire", "sse"]


USAGE: Final[Mapping[str, JsonValue]] = {
    "prompt_tokens": 10,
    "completion_tokens": 5,
    "total_tokens": 15,
    "cost": 0.001,
    "is_byok": False,
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 2},
}
"""What an answer costs unless told otherwise."""


@dataclass(frozen=True, slots=True)
class Cut:
    """The connection is closed here, whatever was promised."""


Step: TypeAlias = "bytes | float | Cut"
"""Bytes to write, seconds to wait, or the end of the connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """A response as it goes over the socket.

    Attributes:
        status: The HTTP status.
        headers: Beside those that say how long the body is.
        steps: The body.
        framing: How the body's end is told: `chunked`, by its `length`, or by the `close` of the
            connection.
        delay: Seconds before the first byte.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    steps: Sequence[Step] = ()
    framing: Literal["chunked", "length", "close"] = "length"
    delay: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A model's answer, whole or streamed as the request asks.

    Attributes:
        text: The content; `None` is a null.
        finish_reason: Why the model stopped; `None` is a null.
        reasoning: The thought.
        tool_arguments: The arguments of one call, as text, of the first tool in the request.
        tool_calls: Calls, each with its tool's name and its arguments as text.
        usage: The usage object's members; `None` leaves it out.
        model: Who the answer says it is from; the request's model unless told.
        piece: Characters a streamed piece.
        usage_choices: How many choices the chunk with the usage has.
        error: An error object beside or in the middle of the answer.
        error_in_choice: The error is the choice's, not the answer's.
        late_finish: The finish reason comes before the last piece.
        nested: The completion lies under `provider`.
        frame: Bytes a frame of a stream is cut into; 0 leaves frames whole.
        drip: Seconds between the pieces that are written.
        padding: Newlines before the body, as slow answers have them.
        cut: After so many bytes of the body the connection is closed.
        delay: Seconds before the first byte.
        framing: How the body's end is told.
        headers: Beside the content type.
        overrides: Members of the completion that are replaced; `...` leaves one out.
    """

    text: str | None = ""
    finish_reason: str | None = "stop"
    reasoning: str | None = None
    tool_arguments: str | None = None
    tool_calls: Sequence[tuple[str, str]] = ()
    usage: Mapping[str, JsonValue] | None = field(default_factory=lambda: USAGE)
    model: str | None = None
    piece: int = 4
    usage_choices: Literal[0, 1] = 0
    error: Mapping[str, JsonValue] | None = None
    error_in_choice: bool = False
    late_finish: bool = False
    nested: bool = False
    frame: int = 0
    drip: float = 0.0
    padding: int = 0
    cut: int | None = None
    delay: float = 0.0
    framing: Literal["chunked", "length", "close"] | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    overrides: Mapping[str, object] = field(default_factory=dict[str, object])

    def wire(self, request: Mapping[str, JsonValue]) -> Wire:
        """The response to a request."""
        streamed = request.get("stream") is True
        body = b"\n" * self.padding + (self._stream(request) if streamed else self._body(request))
        size = self.frame or (max(1, len(body) // 4) if self.drip else len(body) or 1)
        steps: list[Step] = []
        for start in range(0, len(body), size):
            steps += (
                [body[start : start + size], self.drip]
                if self.drip
                else [body[start : start + size]]
            )
        if self.cut is not None:
            steps = [body[: self.cut], Cut()]
        return Wire(
            headers={
                "content-type": "text/event-stream" if streamed else "application/json",
                **self.headers,
            },
            steps=steps,
            framing=self.framing or ("chunked" if streamed or self.drip else "length"),
            delay=self.delay,
        )

    def _head(self, request: Mapping[str, JsonValue], kind: str) -> dict[str, object]:
        head: dict[str, object] = {
            "id": "gen-0123456789",
            "provider": "FakeProvider",
            "model": self.model or request.get("model"),
            "object": kind,
            "created": 1_700_000_000,
            **({"system_fingerprint": None} if kind == "chat.completion" else {}),
            **self.overrides,
        }
        return {name: value for name, value in head.items() if value is not ...}

    def _body(self, request: Mapping[str, JsonValue]) -> bytes:
        message: dict[str, object] = {
            "role": "assistant",
            "content": self.text,
            "refusal": None,
            "reasoning": self.reasoning,
        }
        if calls := self._calls(request):
            message["tool_calls"] = [_call(n, *call) for n, call in enumerate(calls)]
            message["content"] = self.text or None
        choice: dict[str, object] = {
            "index": 0,
            "logprobs": None,
            "finish_reason": self.finish_reason,
            "native_finish_reason": None,
            "message": message,
        }
        top: dict[str, object] = {"choices": [choice]}
        if self.error is not None:
            (choice if self.error_in_choice else top)["error"] = self.error
        if self.usage is not None:
            top["usage"] = self.usage
        completion = self._head(request, "chat.completion")
        for name, value in top.items():
            completion.setdefault(name, value)
        completion = {k: v for k, v in completion.items() if self.overrides.get(k) is not ...}
        if self.nested:
            completion = {"provider": completion}
        return json.dumps(completion, ensure_ascii=False).encode("utf-8", "surrogatepass")

    def _stream(self, request: Mapping[str, JsonValue]) -> bytes:
        frames = [b": OPENROUTER PROCESSING\n\n"]
        deltas = self._deltas(request)
        for position, delta in enumerate(deltas):
            early = self.late_finish and position == len(deltas) - 1
            if self.error is not None and position == (len(deltas) + 1) // 2:
                frames.append(self._error_frame(request))
                break
            frames.append(self._chunk(request, delta, self.finish_reason if early else None))
        else:
            frames.append(self._chunk(request, {"content": ""}, self.finish_reason))
            if self.error is not None and len(deltas) < 2:  # noqa: PLR2004
                frames.append(self._error_frame(request))
        if self.usage is not None:
            choices = [
                {
                    "index": 0,
                    "delta": {"role": "assistant", "content": ""},
                    "finish_reason": self.finish_reason,
                }
            ]
            head = self._head(request, "chat.completion.chunk")
            chunk = {**head, "choices": choices[: self.usage_choices], "usage": self.usage}
            frames.append(sse(chunk))
        return b"".join([*frames, b"data: [DONE]\n\n"])

    def _deltas(self, request: Mapping[str, JsonValue]) -> list[dict[str, object]]:
        deltas: list[dict[str, object]] = [
            {"role": "assistant", "content": "", "reasoning": piece}
            for piece in _pieces(self.reasoning or "", self.piece)
        ]
        for piece in _pieces(self.text or "", self.piece):
            deltas.append({"role": "assistant", "content": piece})  # noqa: PERF401 - typed so
        for number, (name, arguments) in enumerate(self._calls(request)):
            opening = [_call(number, name, None)]
            deltas.append({"role": "assistant", "content": None, "tool_calls": opening})
            for piece in _pieces(arguments, self.piece):
                more = {"index": number, "function": {"arguments": piece}}
                deltas.append({"tool_calls": [more]})
        return deltas

    def _calls(self, request: Mapping[str, JsonValue]) -> list[tuple[str, str]]:
        """Names and arguments of the calls."""
        calls = list(self.tool_calls)
        if self.tool_arguments is not None:
            calls.append((_first_tool(request), self.tool_arguments))
        return calls

    def _chunk(
        self, request: Mapping[str, JsonValue], delta: Mapping[str, object], finish: str | None
    ) -> bytes:
        choice = {
            "index": 0,
            "delta": delta,
            "finish_reason": finish,
            "native_finish_reason": finish and finish.upper(),
            "logprobs": None,
        }
        return sse({**self._head(request, "chat.completion.chunk"), "choices": [choice]})

    def _error_frame(self, request: Mapping[str, JsonValue]) -> bytes:
        choice: dict[str, object] = {"index": 0, "delta": {"content": ""}, "finish_reason": "error"}
        chunk: dict[str, object] = {
            **self._head(request, "chat.completion.chunk"),
            "choices": [choice],
        }
        (choice if self.error_in_choice else chunk)["error"] = self.error
        return sse(chunk)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An error that comes with its HTTP status.

    Attributes:
        status: The HTTP status.
        message: What the server says.
        metadata: The error's.
        headers: Such as `Retry-After`.
        members: More members of the error, such as `availability`.
    """

    status: int
    message: str = "it failed"
    metadata: Mapping[str, JsonValue] | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    members: Mapping[str, JsonValue] = field(default_factory=dict[str, "JsonValue"])

    def wire(self, request: Mapping[str, JsonValue]) -> Wire:
        """The response to a request."""
        del request
        error: dict[str, object] = {"code": self.status, "message": self.message, **self.members}
        if self.metadata is not None:
            error["metadata"] = self.metadata
        body = json.dumps({"error": error, "user_id": "user_2abcDEFghiJKL"}).encode()
        return Wire(
            status=self.status,
            headers={"content-type": "application/json", **self.headers},
            steps=[body],
        )


@dataclass(frozen=True, slots=True)
class Raw:
    """Exactly this response, whatever is asked."""

    response: Wire

    def wire(self, request: Mapping[str, JsonValue]) -> Wire:
        """The response."""
        del request
        return self.response


Reply: TypeAlias = "Answer | Failure | Raw"
"""What a script is made of."""


def sse(chunk: Mapping[str, object] | str) -> bytes:
    """One event of a stream."""
    data = chunk if isinstance(chunk, str) else json.dumps(chunk, ensure_ascii=False)
    return f"data: {data}\n\n".encode("utf-8", "surrogatepass")


def _pieces(text: str, size: int) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]


def _first_tool(request: Mapping[str, JsonValue]) -> str:
    tools = request.get("tools")
    if isinstance(tools, list) and tools and isinstance(tools[0], dict):
        function = tools[0].get("function")
        if isinstance(function, dict) and isinstance(function.get("name"), str):
            return str(function["name"])
    return "answer"


def _call(number: int, name: str, arguments: str | None) -> dict[str, object]:
    function = {"name": name} if arguments is None else {"name": name, "arguments": arguments}
    return {"index": number, "id": f"call_{number}", "type": "function", "function": function}
