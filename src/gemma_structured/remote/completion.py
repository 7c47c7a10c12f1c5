"""What the pieces of an answer add up to, streamed or whole: the same rules for both."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import jiter

from gemma_structured.exceptions import RefusalError, TransportError
from gemma_structured.remote.errors import ErrorContext, WhitespaceFloodError, error_from_object
from gemma_structured.remote.message import read_content, read_reasoning, read_usage
from gemma_structured.remote.thoughts import ThoughtSplitter
from gemma_structured.remote.tool_calls import ToolCallReader, WrittenCall
from gemma_structured.types import Attempt, ModelDelta, Usage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gemma_structured.exceptions import ModelError
    from gemma_structured.types import FinishReason, JsonValue

__all__ = ["Assembler", "Completion"]

_BLANK_LIMIT: Final = 1024
"""So much white space in a row is no answer: some servers' JSON mode never gets out of it."""
_FLOOD = re.compile(rf"\s{{{_BLANK_LIMIT + 1}}}")
_FINISH_REASONS: Final[dict[str, FinishReason]] = {
    "stop": "stop",
    "eos": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "model_length": "length",
    "tool_calls": "tool_calls",
    "tool_use": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "safety": "content_filter",
    "refusal": "content_filter",
    "error": "error",
}
_SEVERITY: Final = ("tool_calls", "stop", "length", "content_filter", "error")


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """A whole answer: one that the model ended, or that its token budget did.

    Attributes:
        text: The answer.
        thinking: The thought before it, where there was one.
        finish_reason: `stop` or `length`.
        usage: What it cost, as the server says.
        model_name: Who the server says answered.
        tool_calls: The calls that the model asks for, in order.
    """

    text: str = field(repr=False)
    thinking: str | None = field(repr=False)
    finish_reason: FinishReason
    usage: Usage
    model_name: str | None
    tool_calls: tuple[WrittenCall, ...] = ()


@dataclass(slots=True, kw_only=True)
class Assembler:
    """Puts an answer together from choices, whole or in pieces.

    Attributes:
        answer_in_tool: The answer is the arguments of a tool call, not the content.
        calls_apart: Calls are no answer, but what the model asks for.
        context: For errors.
    """

    answer_in_tool: bool = False
    calls_apart: bool = False
    context: ErrorContext = field(default_factory=ErrorContext)
    _text: list[str] = field(default_factory=list[str])
    _thinking: list[str] = field(default_factory=list[str])
    _aside: list[str] = field(default_factory=list[str])
    _refusal: list[str] = field(default_factory=list[str])
    _splitter: ThoughtSplitter = field(default_factory=ThoughtSplitter)
    _calls: ToolCallReader = field(default_factory=ToolCallReader)
    _finish: FinishReason | None = None
    _usage: Usage | None = None
    _model: str | None = None
    _blank: int = 0

    @property
    def usage(self) -> Usage | None:
        """What the server said so far that it costs."""
        return self._usage

    def add(self, chunk: Mapping[str, JsonValue]) -> ModelDelta | None:
        """Take in a completion, or a chunk of one.

        Raises:
            ModelError: It tells of an error.
        """
        if isinstance(model := chunk.get("model"), str) and model:
            self._model = model
        if isinstance(usage := chunk.get("usage"), dict):
            self._usage = read_usage(usage)
        self._check_error(chunk)
        choices = chunk.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        if not isinstance(choice, dict):
            return None
        self._check_error(choice)
        self._note_finish(choice)
        message = choice.get("delta") or choice.get("message")
        return self._take(message) if isinstance(message, dict) else None

    def finish(self) -> tuple[ModelDelta | None, Completion]:
        """The whole answer, and the last piece of it that no chunk has brought.

        Raises:
            TransportError: The answer is not whole.
            RefusalError: The model or a filter declined.
            APIStatusError: The provider failed while it answered.
        """
        if self._finish is None:
            raise self.failed(TransportError("The answer was cut: it has no finish reason."))
        if self._finish == "error":
            message = "the provider failed while it answered"
            raise self.failed(
                error_from_object({"message": message}, status=502, context=self.context)
            )
        if self._finish == "content_filter" or "".join(self._refusal).strip():
            refusal = RefusalError(
                "The model or its provider's filter declined to answer.",
                model_name=self.context.model_name,
            )
            raise self.failed(refusal)
        last = self._last_piece()
        completion = Completion(
            text="".join(self._text),
            thinking="".join(self._thinking) or None,
            finish_reason="length" if self._finish == "length" else "stop",
            usage=self._usage or Usage(requests=1),
            model_name=self._model,
            tool_calls=tuple(call for _, call in sorted(self._calls.calls.items())),
        )
        return last, completion

    def _last_piece(self) -> ModelDelta | None:
        """What was held back; the answer in another place, where its own place is empty."""
        rest = self._splitter.flush()
        delta = self._keep(text=rest.text, thinking=rest.thinking)
        if "".join(self._text).strip() or self._finish == "length" or self.calls_apart:
            return delta
        thought = "".join(self._thinking)
        aside = "".join(self._aside)
        if not aside.strip() and _is_json_container(thought):
            aside = thought
        return self._keep(text=(delta.text if delta else "") + aside) if aside else delta

    def _check_error(self, holder: Mapping[str, JsonValue]) -> None:
        error = holder.get("error")
        if isinstance(error, str) and error:
            error = {"message": error}
        if isinstance(error, dict) and error:
            raise self.failed(error_from_object(error, status=200, context=self.context))

    def _note_finish(self, choice: Mapping[str, JsonValue]) -> None:
        """Keep the gravest reason: it may come several times, and differ."""
        for name in ("finish_reason", "native_finish_reason"):
            reason = choice.get(name)
            known = _FINISH_REASONS.get(reason.lower()) if isinstance(reason, str) else None
            if known is not None:
                if self._finish is None or _SEVERITY.index(known) > _SEVERITY.index(self._finish):
                    self._finish = known
                return

    def _take(self, message: Mapping[str, JsonValue]) -> ModelDelta | None:
        if isinstance(refusal := message.get("refusal"), str):
            self._refusal.append(refusal)
        content, arguments = read_content(message), self._calls.read(message)
        answer, aside = (arguments, content) if self.answer_in_tool else (content, arguments)
        self._aside.append(aside)
        split = self._splitter.feed(answer)
        return self._keep(text=split.text, thinking=read_reasoning(message) + split.thinking)

    def _keep(self, *, text: str = "", thinking: str = "") -> ModelDelta | None:
        """Add a piece; give it back unless it is empty.

        Raises:
            WhitespaceFloodError: The answer has become nothing else.
        """
        if not text and not thinking:
            return None
        self._text.append(text)
        self._thinking.append(thinking)
        if self._is_flood(text):
            raise self.failed(WhitespaceFloodError(model_name=self.context.model_name))
        return ModelDelta(text=text, thinking=thinking)

    def _is_flood(self, text: str) -> bool:
        """Whether there is too much white space in a row, in this piece or across pieces."""
        leading = len(text) - len(text.lstrip())
        before = self._blank
        self._blank = before + leading if leading == len(text) else len(text) - len(text.rstrip())
        return before + leading > _BLANK_LIMIT or _FLOOD.search(text) is not None

    def failed(self, error: ModelError) -> ModelError:
        """Put what there was of the answer, and what it cost, on the error."""
        attempt = Attempt(
            model_name=self._model or self.context.model_name or "",
            text="".join(self._text),
            finish_reason=self._finish,
            usage=self._usage or Usage(requests=1),
            error=error,
        )
        error.attempts = (attempt,)
        error.model_name = error.model_name or self.context.model_name
        return error


def _is_json_container(text: str) -> bool:
    """Whether a thought is nothing but an answer that landed in the wrong place."""
    stripped = text.strip()
    if not stripped.startswith(("{", "[")):
        return False
    try:
        jiter.from_json(stripped.encode("utf-8", "replace"), allow_inf_nan=False)
    except ValueError:
        return False
    return True
