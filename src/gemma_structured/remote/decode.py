"""Bytes of a response → pieces of the answer, then the whole: sans I/O, for any transport."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, TypeVar

import jiter

from gemma_structured.exceptions import TransportError
from gemma_structured.remote.completion import Assembler, Completion
from gemma_structured.remote.sse import EventReader

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gemma_structured.remote.errors import ErrorContext
    from gemma_structured.types import JsonValue, ModelDelta

__all__ = ["BodyDecoder", "Decoder", "JsonDecoder", "StreamDecoder", "chat_decoder"]

R_co = TypeVar("R_co", covariant=True)

_END: Final = "[DONE]"


class Decoder(Protocol[R_co]):
    """Reads one response."""

    @property
    def is_done(self) -> bool:
        """Whether nothing that matters can follow."""
        ...

    def feed(self, piece: bytes) -> Sequence[ModelDelta]:
        """Take the next bytes; give back what they add to the answer.

        Raises:
            ModelError: They tell of an error.
        """
        ...

    def finish(self) -> tuple[Sequence[ModelDelta], R_co]:
        """The bytes have ended: the last pieces of the answer, and the whole.

        Raises:
            ModelError: It is not whole.
        """
        ...


class JsonDecoder:
    """A response that is one JSON object."""

    is_done = False

    def __init__(self, context: ErrorContext) -> None:
        self.context = context
        self._pieces: list[bytes] = []

    def feed(self, piece: bytes) -> Sequence[ModelDelta]:
        """Keep the bytes."""
        self._pieces.append(piece)
        return ()

    def finish(self) -> tuple[Sequence[ModelDelta], dict[str, JsonValue]]:
        """The object.

        Raises:
            TransportError: It is no JSON object, or is cut.
        """
        body = b"".join(self._pieces).lstrip(b"\xef\xbb\xbf \t\r\n")
        try:
            parsed: JsonValue = jiter.from_json(body)
        except ValueError:
            parsed = None
        if isinstance(parsed, dict):
            return (), parsed
        is_html = body[:1] == b"<"
        found = (
            "an HTML page" if is_html else "an empty body" if not body else "no whole JSON object"
        )
        raise TransportError(
            f"The server answered with {found} instead of a JSON object.",
            hint="Look at `base_url` and at proxies in between." if is_html else None,
            model_name=self.context.model_name,
            retryable=not is_html,
        )


class BodyDecoder:
    """A chat completion that comes as a whole."""

    is_done = False

    def __init__(
        self, context: ErrorContext, *, answer_in_tool: bool = False, calls_apart: bool = False
    ) -> None:
        self.context = context
        self._json = JsonDecoder(context)
        self._assembler = Assembler(
            answer_in_tool=answer_in_tool, calls_apart=calls_apart, context=context
        )

    def feed(self, piece: bytes) -> Sequence[ModelDelta]:
        """Keep the bytes."""
        return self._json.feed(piece)

    def finish(self) -> tuple[Sequence[ModelDelta], Completion]:
        """The completion.

        Raises:
            ModelError: It is an error in a success, not whole, or declined.
        """
        _, body = self._json.finish()
        nested = body.get("provider")
        if not body.get("choices") and isinstance(nested, dict) and "choices" in nested:
            body = {**body, **nested}
        first = self._assembler.add(body)
        choices = body.get("choices")
        if not isinstance(choices, list) or not choices:
            raise TransportError(
                "The server answered without an answer: `choices` is missing, null or empty.",
                model_name=self.context.model_name,
            )
        last, completion = self._assembler.finish()
        return [delta for delta in (first, last) if delta is not None], completion


class StreamDecoder:
    """A chat completion that comes as server-sent events."""

    def __init__(
        self, context: ErrorContext, *, answer_in_tool: bool = False, calls_apart: bool = False
    ) -> None:
        self.context = context
        self.is_done = False
        self._reader = EventReader()
        self._assembler = Assembler(
            answer_in_tool=answer_in_tool, calls_apart=calls_apart, context=context
        )

    def feed(self, piece: bytes) -> Sequence[ModelDelta]:
        """Take the next bytes.

        Raises:
            ModelError: An event tells of an error, or is no JSON object.
        """
        deltas: list[ModelDelta] = []
        for event in self._reader.feed(piece):
            if event.strip() == _END:
                self.is_done = True
            if self.is_done:
                break
            delta = self._assembler.add(self._parse(event))
            if delta is not None:
                deltas.append(delta)
        return deltas

    def finish(self) -> tuple[Sequence[ModelDelta], Completion]:
        """The completion.

        Raises:
            TransportError: The stream ended before its end mark, or without a finish reason.
            ModelError: The model or its provider failed or declined.
        """
        if not self.is_done:
            raise self._assembler.failed(
                TransportError(
                    "The stream was cut: it ended before its end mark.",
                    model_name=self.context.model_name,
                )
            )
        last, completion = self._assembler.finish()
        return [last] if last is not None else [], completion

    def _parse(self, event: str) -> dict[str, JsonValue]:
        try:
            parsed: JsonValue = jiter.from_json(event.encode("utf-8", "replace"))
        except ValueError:
            parsed = None
        if not isinstance(parsed, dict):
            raise self._assembler.failed(
                TransportError(
                    "The stream holds an event that is no JSON object.",
                    model_name=self.context.model_name,
                )
            )
        return parsed


def chat_decoder(
    content_type: str,
    context: ErrorContext,
    *,
    answer_in_tool: bool = False,
    calls_apart: bool = False,
) -> Decoder[Completion]:
    """The decoder for what the server sends, which need not be what was asked for."""
    if content_type.partition(";")[0].strip().lower() == "text/event-stream":
        return StreamDecoder(context, answer_in_tool=answer_in_tool, calls_apart=calls_apart)
    return BodyDecoder(context, answer_in_tool=answer_in_tool, calls_apart=calls_apart)
