"""OpenTelemetry: a span and metrics for each request to a model, by the GenAI conventions.

Spans and metrics are those of https://opentelemetry.io/docs/specs/semconv/gen-ai/; the names that
begin with `gemma_structured.` are this package's own. Where opentelemetry is not installed, nothing
happens; where it is installed and nothing is set up, its API drops what it is told.

Prompts and answers are recorded only on request.
"""

from __future__ import annotations

import os
import threading
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from gemma_structured._version import __version__
from gemma_structured.exceptions import APIStatusError, GemmaStructuredError, LoadError
from gemma_structured.telemetry_content import input_messages, output_messages
from gemma_structured.types import Usage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import Span, TracerProvider

    from gemma_structured.driver import ModelRequest, Task
    from gemma_structured.messages import Message
    from gemma_structured.types import ModelResponse

__all__ = ["Origin", "Telemetry", "current", "error_type", "observe"]

_NAME: Final = "gemma_structured"
_CAPTURE: Final = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
_SECONDS: Final = [0.01 * 2**power for power in range(14)]
_TOKENS: Final = [4.0**power for power in range(14)]
"""The conventions' bucket boundaries."""

Value: TypeAlias = "str | int | float | bool | Sequence[str]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a model's answers come from.

    Attributes:
        provider: Who serves it: `gen_ai.provider.name`.
        address: The server's host; `None` for a model in this process.
        port: The server's port.
    """

    provider: str = _NAME
    address: str | None = None
    port: int | None = None

    def attributes(self, model_name: str) -> dict[str, Value]:
        """What every span and metric of a request says."""
        common: dict[str, Value] = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": self.provider,
            "gen_ai.request.model": model_name,
        }
        if self.address is not None:
            common["server.address"] = self.address
        if self.port is not None:
            common["server.port"] = self.port
        return common


class Telemetry:
    """The tracer and the instruments.

    Args:
        tracer_provider: The global one unless given.
        meter_provider: The global one unless given.
        content: Whether prompts and answers are recorded on spans.

    Raises:
        ImportError: opentelemetry is not installed.
    """

    def __init__(
        self,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        *,
        content: bool = False,
    ) -> None:
        from opentelemetry import metrics, trace  # noqa: PLC0415 - the extra `otel`

        self.content = content
        self._tracer = trace.get_tracer(_NAME, __version__, tracer_provider)
        meter = metrics.get_meter(_NAME, __version__, meter_provider)
        self._duration = meter.create_histogram(
            "gen_ai.client.operation.duration",
            unit="s",
            description="GenAI operation duration.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self._first_chunk = meter.create_histogram(
            "gen_ai.client.operation.time_to_first_chunk",
            unit="s",
            description="Time to receive the first chunk of a streamed answer.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self._tokens = meter.create_histogram(
            "gen_ai.client.token.usage",
            unit="{token}",
            description="Number of input and output tokens used.",
            explicit_bucket_boundaries_advisory=_TOKENS,
        )
        self._cost = meter.create_counter(
            f"{_NAME}.client.cost",
            unit="{USD}",
            description="US dollars, where the provider says so.",
        )

    def start(
        self,
        common: Mapping[str, Value],
        task: Task[object],
        request: ModelRequest,
        *,
        stream: bool,
    ) -> Span:
        """Begin the span of a request; it is not the current one."""
        from opentelemetry.trace import SpanKind  # noqa: PLC0415 - the extra `otel`

        return self._tracer.start_span(
            f"chat {common['gen_ai.request.model']}",
            kind=SpanKind.CLIENT if "server.address" in common else SpanKind.INTERNAL,
            attributes={**common, **_asked(task, request, stream=stream)},
        )

    @staticmethod
    def within(span: Span | None) -> AbstractContextManager[object]:
        """Make a span the current one, so that the spans of what it leads to are below it."""
        if span is None:
            return nullcontext()
        from opentelemetry.trace import use_span  # noqa: PLC0415 - the extra `otel`

        return use_span(span, record_exception=False, set_status_on_exception=False)

    def record_prompt(self, span: Span, messages: Sequence[Message]) -> None:
        """Put a prompt on a span."""
        span.set_attribute("gen_ai.input.messages", input_messages(messages))

    def end(
        self,
        span: Span,
        common: Mapping[str, Value],
        *,
        seconds: float,
        first: float | None,
        response: ModelResponse | None,
        error: BaseException | None,
    ) -> None:
        """End the span of a request, and count the request."""
        from opentelemetry.trace import StatusCode  # noqa: PLC0415 - the extra `otel`

        about = dict(common)
        usage = response.usage if response is not None else _spent(error)
        if response is not None:
            about["gen_ai.response.model"] = response.model_name
            span.set_attributes(about | _answered(response))
            if self.content:
                span.set_attribute("gen_ai.output.messages", output_messages(response))
        elif error is not None:
            about["error.type"] = error_type(error)
            span.set_attributes(about)
            # Messages of other errors than ours may hold anything, documents too.
            safe = isinstance(error, GemmaStructuredError)
            span.set_status(StatusCode.ERROR, str(error) if safe else type(error).__name__)
        span.set_attributes(_spending(usage))
        if first is not None:
            span.set_attribute("gen_ai.response.time_to_first_chunk", first)
            self._first_chunk.record(first, about)
        span.end()
        self._duration.record(seconds, about)
        if usage.total_tokens:
            self._tokens.record(usage.prompt_tokens, about | {"gen_ai.token.type": "input"})
            self._tokens.record(usage.completion_tokens, about | {"gen_ai.token.type": "output"})
        if usage.cost is not None:
            self._cost.add(float(usage.cost), about)


_lock = threading.Lock()
_held: Telemetry | Literal["unknown"] | None = "unknown"


def current() -> Telemetry | None:
    """What requests are told to; `None` where opentelemetry is not installed."""
    global _held  # noqa: PLW0603 - one a process, as OpenTelemetry's own providers are
    if _held == "unknown":
        with _lock:
            if _held == "unknown":
                try:
                    _held = Telemetry(content=_wants_content())
                except ImportError:
                    _held = None
    return _held


def observe(
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    content: bool | None = None,
) -> None:
    """Say where spans and metrics go, and whether prompts and answers are recorded with them.

    Without a call, they go to OpenTelemetry's global providers, without content. Each request to a
    model, local or remote, is a span `chat <model>`.

    Args:
        tracer_provider: Takes the spans; the global one unless given.
        meter_provider: Takes the metrics; the global one unless given.
        content: Whether spans hold the prompts, as they are sent (a redaction hook has seen them),
            and the answers. Unless given, what
            `OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT` says: no, if it says nothing.

    Raises:
        LoadError: opentelemetry is not installed.
    """
    global _held  # noqa: PLW0603 - one a process, as OpenTelemetry's own providers are
    wanted = _wants_content() if content is None else content
    try:
        made = Telemetry(tracer_provider, meter_provider, content=wanted)
    except ImportError as error:
        raise LoadError(
            "Spans and metrics need opentelemetry, which is not installed.",
            hint="Run: pip install 'gemma-structured[otel]'",
        ) from error
    with _lock:
        _held = made


def error_type(error: BaseException) -> str:
    """`error.type`: a server's status, or else the error's class; a request given up is cancelled.

    `asyncio.CancelledError` and the closing of a stream are a `GenerationCancelledError`.
    """
    if isinstance(error, APIStatusError):
        return str(error.status_code)
    if not isinstance(error, Exception):
        return "GenerationCancelledError"
    return type(error).__name__


def _wants_content() -> bool:
    return os.environ.get(_CAPTURE, "").strip().lower() in {"true", "1", "span_only"}


def _asked(task: Task[object], request: ModelRequest, *, stream: bool) -> dict[str, Value]:
    sampling = task.sampling
    asked: dict[str, Value | None] = {
        "gen_ai.output.type": "json" if task.output_type.is_json else "text",
        "gen_ai.request.max_tokens": request.max_tokens or task.max_tokens,
        "gen_ai.request.temperature": sampling.temperature,
        "gen_ai.request.top_p": sampling.top_p,
        "gen_ai.request.top_k": sampling.top_k,
        "gen_ai.request.seed": sampling.seed,
        "gen_ai.request.stream": stream or None,
        "gemma_structured.output_type": task.output_type.name,
        "gemma_structured.attempt": request.attempt,
    }
    return {key: value for key, value in asked.items() if value is not None}


def _answered(response: ModelResponse) -> dict[str, Value]:
    reason = response.finish_reason
    return {"gen_ai.response.finish_reasons": [reason]} if reason is not None else {}


def _spending(usage: Usage) -> dict[str, Value]:
    """What a request cost, as far as it cost anything."""
    spent: dict[str, Value] = {
        "gen_ai.usage.input_tokens": usage.prompt_tokens,
        "gen_ai.usage.output_tokens": usage.completion_tokens,
        "gen_ai.usage.cache_read.input_tokens": usage.cached_tokens,
        "gen_ai.usage.reasoning.output_tokens": usage.reasoning_tokens,
        "gemma_structured.usage.forced_tokens": usage.forced_tokens,
        "gemma_structured.usage.forward_passes": usage.forward_passes,
        "gemma_structured.usage.requests": usage.requests,
        "gemma_structured.usage.cost": float(usage.cost or 0),
    }
    return {key: value for key, value in spent.items() if value}


def _spent(error: BaseException | None) -> Usage:
    attempts = error.attempts if isinstance(error, GemmaStructuredError) else ()
    return sum((attempt.usage for attempt in attempts), Usage())
