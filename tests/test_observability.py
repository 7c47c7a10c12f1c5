"""Spans, metrics and the log of requests, local and remote: what they say, and what they never do."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from pydantic import BaseModel

import gemma_structured as gs
from gemma_structured import telemetry
from gemma_structured.models.local import LocalModel
from gemma_structured.testing import FakeOpenRouter, ScriptedModel
from gemma_structured.testing.openrouter_replies import Answer, Failure
from gemma_structured.types import ModelResponse, Usage


class Person(BaseModel):
    name: str
    age: int


GOOD = '{"name":"Ada","age":36}'
ADA = Person(name="Ada", age=36)
DOCUMENT = "Patient Jane Doe, born 1970-01-01, was seen on Monday."
WAYS = ["call", "acall", "stream", "astream"]


class Seen:
    """What reached OpenTelemetry."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.tracer_provider = TracerProvider()
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.reader = InMemoryMetricReader()
        self.meter_provider = MeterProvider(metric_readers=[self.reader])

    def observe(self, **options):
        """Send everything here."""
        gs.observe(
            tracer_provider=self.tracer_provider, meter_provider=self.meter_provider, **options
        )

    @property
    def spans(self):
        """The spans that have ended, in order."""
        return self.exporter.get_finished_spans()

    def points(self, name):
        """The data points of a metric."""
        data = self.reader.get_metrics_data()
        scopes = [scope for resource in data.resource_metrics for scope in resource.scope_metrics]
        return [
            point
            for scope in scopes
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]

    def everything(self):
        """All that was told, as text."""
        metrics = self.reader.get_metrics_data()
        return "".join(span.to_json() for span in self.spans) + (
            metrics.to_json() if metrics else ""
        )


@pytest.fixture
def seen():
    """OpenTelemetry in memory; afterwards nothing is observed."""
    one = Seen()
    one.observe()
    yield one
    telemetry._held = "unknown"
    one.meter_provider.shutdown()


def ask(model, way, document="the document", **options):
    """Generate a person in one of four ways."""
    read = model.compile(Person, **options)

    async def astream():
        async with read.astream(document) as stream:
            return await stream.result()

    if way == "call":
        return read(document)
    if way == "acall":
        return asyncio.run(read.acall(document))
    if way == "astream":
        return asyncio.run(astream())
    with read.stream(document) as stream:
        return stream.result()


@pytest.mark.parametrize("way", WAYS)
def test_a_remote_request_is_a_span(seen, way) -> None:
    """By the GenAI conventions: who was asked for what, who answered, and what it cost."""
    with (
        FakeOpenRouter(answer=Answer(text=GOOD, model="a/b-20260801")) as server,
        gs.OpenRouterModel("a/b", api_key=server.key, base_url=server.base_url) as model,
    ):
        ask(model, way, max_tokens=99, temperature=0.5, top_p=0.9, top_k=7, seed=3)
    (span,) = seen.spans
    streamed = "stream" in way
    assert (span.name, span.kind) == ("chat a/b", SpanKind.CLIENT)
    assert span.status.status_code is StatusCode.UNSET
    about = dict(span.attributes)
    assert (about.pop("gen_ai.response.time_to_first_chunk", None) is not None) == streamed
    assert about.pop("gen_ai.request.stream", False) == streamed
    assert about == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openrouter",
        "gen_ai.request.model": "a/b",
        "gen_ai.request.max_tokens": 99,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.top_p": 0.9,
        "gen_ai.request.top_k": 7,
        "gen_ai.request.seed": 3,
        "gen_ai.output.type": "json",
        "gen_ai.response.model": "a/b-20260801",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 5,
        "gen_ai.usage.cache_read.input_tokens": 4,
        "gen_ai.usage.reasoning.output_tokens": 2,
        "server.address": "127.0.0.1",
        "server.port": server.port,
        "gemma_structured.output_type": "Person",
        "gemma_structured.attempt": 1,
        "gemma_structured.usage.requests": 1,
        "gemma_structured.usage.cost": 0.001,
    }


@pytest.mark.parametrize("way", WAYS)
def test_requests_are_counted(seen, way) -> None:
    """Durations, tokens by kind, the first chunk of streams, and dollars."""
    with (
        FakeOpenRouter(answer=GOOD) as server,
        gs.OpenAICompatibleModel("m", api_key=server.key, base_url=server.base_url) as model,
    ):
        ask(model, way)
        ask(model, way)
    common = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "m",
        "gen_ai.response.model": "m",
        "server.address": "127.0.0.1",
        "server.port": server.port,
    }
    (duration,) = seen.points("gen_ai.client.operation.duration")
    assert (duration.count, dict(duration.attributes)) == (2, common)
    assert duration.explicit_bounds[:3] == (0.01, 0.02, 0.04)
    tokens = {
        point.attributes["gen_ai.token.type"]: point
        for point in seen.points("gen_ai.client.token.usage")
    }
    assert (tokens["input"].sum, tokens["output"].sum) == (20, 10)
    assert tokens["input"].explicit_bounds[-1] == 67_108_864
    (cost,) = seen.points("gemma_structured.client.cost")
    assert cost.value == pytest.approx(0.002)
    first = seen.points("gen_ai.client.operation.time_to_first_chunk")
    assert [point.count for point in first] == ([2] if "stream" in way else [])


def test_a_local_request_is_a_span(seen, tiny_model) -> None:
    """In this process, with the forwards that it took; the same seam as for remote models."""
    from gemma_structured.decoding.loaded_model import LoadedModel

    loaded = tiny_model("gemma3")
    assert isinstance(loaded, LoadedModel)
    model = LocalModel("tiny")
    model._load = lambda: loaded
    for way in WAYS:
        if "stream" in way:
            list(model.compile(bool).stream("x"))
        else:
            model.generate("x", bool)
    for span in seen.spans:
        assert (span.name, span.kind) == ("chat tiny", SpanKind.INTERNAL)
        assert span.attributes["gen_ai.provider.name"] == "transformers"
        assert span.attributes["gemma_structured.usage.forward_passes"] >= 1
        assert "server.address" not in span.attributes
    assert len(seen.spans) == len(WAYS)
    model.unload()


@pytest.mark.parametrize("way", WAYS)
def test_every_attempt_is_a_span(seen, caplog, way) -> None:
    """A re-ask says which attempt it is; the log says why, without what was written."""
    caplog.set_level(logging.DEBUG, "gemma_structured")
    ask(ScriptedModel(['{"name":"Jane Doe"}', ADA]), way)
    assert [span.attributes["gemma_structured.attempt"] for span in seen.spans] == [1, 2]
    assert (
        "scripted is asked again: attempt 1 failed (OutputValidationError, 1 issues)" in caplog.text
    )
    assert "scripted answered attempt 2" in caplog.text
    assert "Jane" not in caplog.text


@pytest.mark.parametrize("way", WAYS)
def test_each_model_of_a_fallback_is_a_span(seen, caplog, way) -> None:
    """With its own name; nothing is counted twice."""
    caplog.set_level(logging.INFO, "gemma_structured")
    down = ScriptedModel([gs.TransportError("The line is cut.")], name="first")
    assert ask(gs.FallbackModel(down, ScriptedModel([ADA], name="second")), way).output == ADA
    assert [span.name for span in seen.spans] == ["chat first", "chat second"]
    assert [point.count for point in seen.points("gen_ai.client.operation.duration")] == [1, 1]
    assert "first did not answer (TransportError)" in caplog.text


@pytest.mark.parametrize("way", WAYS)
def test_a_failed_request_is_an_error(seen, way) -> None:
    """Its kind is the server's status or the error's class; what it cost is counted."""
    with (
        FakeOpenRouter(
            Failure(status=403), Answer(text=None, finish_reason="content_filter")
        ) as server,
        gs.OpenRouterModel("a/b", api_key=server.key, base_url=server.base_url) as model,
    ):
        for _ in range(2):
            with pytest.raises(gs.ModelError):
                ask(model, way)
    first, second = seen.spans
    assert first.attributes["error.type"] == "403"
    assert first.status.status_code is StatusCode.ERROR
    assert second.attributes["error.type"] == "RefusalError"
    assert second.attributes["gemma_structured.usage.cost"] == 0.001
    kinds = [p.attributes["error.type"] for p in seen.points("gen_ai.client.operation.duration")]
    assert sorted(kinds) == ["403", "RefusalError"]


def test_a_turn_of_an_agent_is_a_span(seen) -> None:
    """Turns go through the same seam."""

    def rate(base: str) -> float:
        """Look up a rate."""
        return 1.0

    call = ModelResponse(
        text="",
        finish_reason="tool_calls",
        usage=Usage(),
        model_name="scripted",
        tool_calls=(gs.ToolCall("rate", {"base": "EUR"}, id="call00001"),),
    )
    seen.observe(content=True)
    agent = gs.Agent(ScriptedModel([call, ADA]), tools=[rate], output_type=Person)
    assert agent.run("x").output == ADA
    first, second = seen.spans
    assert first.attributes["gen_ai.response.finish_reasons"] == ("tool_calls",)
    (said,) = json.loads(first.attributes["gen_ai.output.messages"])
    asked = {"type": "tool_call", "id": "call00001", "name": "rate", "arguments": {"base": "EUR"}}
    assert said == {"role": "assistant", "parts": [asked], "finish_reason": "tool_call"}
    *_, returned = json.loads(second.attributes["gen_ai.input.messages"])
    answer = {"type": "tool_call_response", "id": "call00001", "response": 1.0}
    assert returned == {"role": "tool", "parts": [answer]}


def test_spans_are_below_the_callers(seen) -> None:
    """In each way of asking, in batches too; what a request leads to is below its span."""
    inner = []

    def answer(request):
        inner.append(trace.get_current_span().get_span_context().span_id)
        return ADA

    read = ScriptedModel(answer, concurrency=4).compile(Person)
    tracer = seen.tracer_provider.get_tracer("test")
    with tracer.start_as_current_span("outer") as outer:
        for way in WAYS:
            ask(ScriptedModel(answer), way)
        read.batch(["a", "b", "c"])
        asyncio.run(read.abatch(["a", "b", "c"]))
    chats = [span for span in seen.spans if span.name.startswith("chat")]
    assert len(chats) == len(WAYS) + 6
    assert {span.parent.span_id for span in chats} == {outer.get_span_context().span_id}
    assert {span.context.span_id for span in chats} == set(inner)


def test_a_stream_keeps_its_span_to_itself(seen) -> None:
    """Between two pieces the caller's own span is the current one, in any order of streams."""
    tracer = seen.tracer_provider.get_tracer("test")
    with tracer.start_as_current_span("outer") as outer:
        streams = [ScriptedModel([ADA]).stream("x", Person) for _ in range(2)]
        for _ in range(3):
            for stream in streams:
                next(iter(stream))
                assert trace.get_current_span() is outer
        for stream in streams:
            stream.close()
        assert trace.get_current_span() is outer
    given_up = [span for span in seen.spans if span.name.startswith("chat")]
    kinds = [span.attributes["error.type"] for span in given_up]
    assert kinds == ["GenerationCancelledError"] * 2


def test_a_cancelled_call_ends_its_span(seen) -> None:
    """As cancelled, not as answered."""

    async def main():
        with FakeOpenRouter(answer=Answer(text=GOOD, delay=5)) as server:
            async with gs.OpenRouterModel(
                "a/b", api_key=server.key, base_url=server.base_url
            ) as model:
                task = asyncio.create_task(model.agenerate("x", Person))
                await asyncio.sleep(0.1)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())
    (span,) = seen.spans
    assert span.attributes["error.type"] == "GenerationCancelledError"


def test_requests_of_many_threads_are_all_counted(seen) -> None:
    """Each once."""
    read = ScriptedModel(lambda _: ADA).compile(Person)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(read, ["x"] * 200))
    (duration,) = seen.points("gen_ai.client.operation.duration")
    assert duration.count == len(seen.spans) == 200


# --- content


@pytest.mark.parametrize("way", WAYS)
def test_nothing_of_the_content_is_recorded_unasked(seen, caplog, way) -> None:
    """No document, no answer, no key and no account: in spans, metrics and the log, at any level."""
    caplog.set_level(logging.DEBUG)
    flagged = {"reasons": ["x"], "flagged_input": DOCUMENT}
    faults = [
        Answer(text=GOOD, reasoning="Is it Jane?"),
        *[Answer(text='{"name":"Jane Doe"}')] * 3,
        Failure(status=400, message=f"bad: {DOCUMENT} sk-or-v1-0123456789abcdef"),
        Failure(status=403, metadata=flagged),
    ]
    with (
        FakeOpenRouter(*faults) as server,
        gs.OpenRouterModel("a/b", api_key=server.key, base_url=server.base_url) as model,
    ):
        shown = repr(ask(model, way, DOCUMENT, examples=[gs.Example("Jane?", ADA)]).attempts)
        for _ in range(3):
            with pytest.raises(gs.GemmaStructuredError) as caught:
                ask(model, way, DOCUMENT)
            shown += repr(caught.value) + repr(caught.value.attempts)
    told = seen.everything() + caplog.text + shown
    assert len(seen.spans) == 6
    for secret in ("Jane", "1970-01-01", "sk-or", "user_2abc"):
        assert secret not in told


def test_errors_of_others_may_hold_anything(seen) -> None:
    """What a user's own hook raises is told by its class alone."""

    def refuse(text):
        if "Jane" in text:
            raise ValueError(text)
        return text

    with FakeOpenRouter() as server:
        model = gs.OpenRouterModel(
            "a/b", api_key=server.key, base_url=server.base_url, redact=refuse
        )
        with pytest.raises(ValueError, match="Jane"):
            ask(model, "call", DOCUMENT)
    assert seen.spans[0].attributes["error.type"] == "ValueError"
    assert "Jane" not in seen.everything()


def test_content_is_recorded_on_request(seen) -> None:
    """As it is sent: instruction, examples, the document after redaction, and the answer."""
    seen.observe(content=True)
    answer = Answer(text=GOOD, reasoning="hm")
    with (
        FakeOpenRouter(answer=answer) as server,
        gs.OpenRouterModel(
            "a/b",
            api_key=server.key,
            base_url=server.base_url,
            redact=lambda text: text.replace("Jane Doe", "[name]"),
        ) as model,
    ):
        ask(model, "call", DOCUMENT, instruction="Read.", examples=[gs.Example("old", ADA)])
    about = seen.spans[0].attributes
    system, *turns = json.loads(about["gen_ai.input.messages"])
    assert system["role"] == "system"
    assert system["parts"][0]["content"].startswith("Read.")
    assert [(turn["role"], turn["parts"][0]["content"]) for turn in turns] == [
        ("user", "old"),
        ("assistant", GOOD),
        ("user", DOCUMENT.replace("Jane Doe", "[name]")),
    ]
    (said,) = json.loads(about["gen_ai.output.messages"])
    assert said == {
        "role": "assistant",
        "parts": [
            {"type": "reasoning", "content": "hm"},
            {"type": "text", "content": GOOD},
        ],
        "finish_reason": "stop",
    }
    assert "Jane" not in seen.everything()


@pytest.mark.parametrize(
    ("value", "wanted"), [("true", True), ("1", True), ("", False), ("no", False)]
)
def test_the_environment_may_ask_for_content(seen, monkeypatch, value, wanted) -> None:
    """By OpenTelemetry's own variable; what the code says goes before."""
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", value)
    seen.observe()
    ScriptedModel([ADA]).generate("x", Person)
    assert ("gen_ai.input.messages" in seen.spans[0].attributes) == wanted
    seen.observe(content=False)
    ScriptedModel([ADA]).generate("x", Person)
    assert "gen_ai.input.messages" not in seen.spans[1].attributes


def test_a_document_that_cannot_be_used_ends_its_span(seen) -> None:
    """Content on request must not leave a span open."""
    seen.observe(content=True)
    with pytest.raises(gs.InputError):
        ScriptedModel([ADA]).generate([], Person)
    assert seen.spans[0].attributes["error.type"] == "InputError"


# --- where opentelemetry is not installed


def test_without_opentelemetry_nothing_happens(monkeypatch) -> None:
    """Requests work, and asking for spans says what to install."""
    monkeypatch.setattr(telemetry, "_held", "unknown")
    monkeypatch.setitem(__import__("sys").modules, "opentelemetry", None)
    assert ScriptedModel([ADA]).generate("x", Person).output == ADA
    assert telemetry.current() is None
    with pytest.raises(gs.LoadError, match=r"gemma-structured\[otel\]"):
        gs.observe()


def test_logging_has_one_name() -> None:
    """Every logger that the package writes to is that of its name, or below it."""
    package = Path(str(gs.__file__)).parent
    written = "\n".join(path.read_text("utf-8") for path in package.rglob("*.py"))
    names = set(re.findall(r"logging\.getLogger\(([^)]*)\)", written))
    # Those of others are only kept quiet.
    ours = names - {'"transformers"', '"sqlglot"'}
    assert ours == {'"gemma_structured"', '"gemma_structured.loading"'}


def test_records_on_the_way_show_no_text(make_records) -> None:
    """What a debugger or a crash report shows of a request, its answer and its errors."""
    shown = "\n".join(map(repr, make_records))
    assert len(make_records) >= 10
    assert "Jane" not in shown


@pytest.fixture
def make_records():
    """Each kind of record that holds a document or an answer on its way."""
    from gemma_structured.driver import ModelRequest, Task
    from gemma_structured.families.base import RenderedPrompt
    from gemma_structured.families.turn import ParsedTurn
    from gemma_structured.messages import UserMessage
    from gemma_structured.parsing.repair import Extracted
    from gemma_structured.remote.call import Call, Whole
    from gemma_structured.remote.completion import Completion
    from gemma_structured.remote.errors import ErrorContext
    from gemma_structured.remote.tool_calls import WrittenCall
    from gemma_structured.remote.wire import ChatRequest
    from gemma_structured.schema.output_type import OutputType
    from gemma_structured.types import Attempt, Issue, SamplingParams

    call = gs.ToolCall("find", {"name": "Jane"})
    completion = Completion(
        text=DOCUMENT,
        thinking=DOCUMENT,
        finish_reason="stop",
        usage=Usage(),
        model_name="m",
        tool_calls=(WrittenCall("id", "find", '{"name":"Jane"}'),),
    )
    example = gs.Example("Jane Doe is 5.", Person(name="Jane Doe", age=5))
    return [
        Task(output_type=OutputType.of(Person), examples=(example,), context=DOCUMENT),
        ModelRequest(input=DOCUMENT, issues=(Issue(message="is wrong", found="Jane"),)),
        ModelResponse(
            text=DOCUMENT,
            thinking=DOCUMENT,
            tool_calls=(call,),
            finish_reason="stop",
            usage=Usage(),
            model_name="m",
        ),
        Attempt(model_name="m", text=DOCUMENT, finish_reason="stop", usage=Usage()),
        Issue(path=("Jane",), message="is wrong", found="Jane", undeclared=frozenset({"Jane"})),
        RenderedPrompt(text=DOCUMENT, token_ids=(1, 2), fixed_length=0),
        ParsedTurn(text=DOCUMENT, thinking=DOCUMENT, calls=(call,)),
        Extracted(DOCUMENT),
        completion,
        Whole(completion),
        Call(decoder=lambda *_: None, body=DOCUMENT.encode(), context=ErrorContext(sent=DOCUMENT)),
        ChatRequest(
            model="m", messages=(UserMessage(DOCUMENT),), max_tokens=1, sampling=SamplingParams()
        ),
    ]
