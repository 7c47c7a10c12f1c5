"""Falling over: who answers, why the others did not, and what may not happen."""

from __future__ import annotations

import asyncio
import copy
import threading
import time
from contextlib import closing
from decimal import Decimal

import pytest
from pydantic import BaseModel

import gemma_structured as gs
from gemma_structured.driver import ModelRequest, Task
from gemma_structured.models.fallback import FallbackModel
from gemma_structured.models.openai_compatible import OpenAICompatibleModel
from gemma_structured.models.openrouter import OpenRouterModel
from gemma_structured.schema.output_type import OutputType
from gemma_structured.testing import ScriptedModel
from gemma_structured.types import ModelDelta, ModelResponse, Usage


class Person(BaseModel):
    name: str
    age: int


ADA = Person(name="Ada", age=36)
UNAVAILABLE = [
    gs.LoadError("no weights"),
    gs.ModelBusyError("full"),
    gs.TransportError("cut"),
    gs.APIStatusError("broken", status_code=500),
    gs.APIStatusError("odd", status_code=400, retryable=True),
    gs.RateLimitError("slow down", status_code=429),
    gs.DeadlineExceededError("late"),
]
OTHERS = [
    gs.AuthenticationError("no key", status_code=401),
    gs.APIStatusError("wrong", status_code=400),
    gs.RefusalError("no"),
    gs.BudgetExceededError("poor"),
    gs.InputError("odd document"),
]


def failing(error, name="first"):
    """A model that always raises a new copy of an error."""

    def answer(request):
        return copy.copy(error)

    return ScriptedModel(answer, name=name)


def answering(value=ADA, name="second", **options):
    return ScriptedModel(lambda request: value, name=name, **options)


def run(model, how, document="doc", **options):
    """Generate in one of four ways."""
    if how == "sync":
        return model.generate(document, Person, **options)
    if how == "async":
        return asyncio.run(model.agenerate(document, Person, **options))
    if how == "stream":
        with model.stream(document, Person, **options) as stream:
            return stream.result()

    async def watch():
        async with model.astream(document, Person, **options) as stream:
            return await stream.result()

    return asyncio.run(watch())


ways = pytest.mark.parametrize("how", ["sync", "async", "stream", "astream"])


@ways
@pytest.mark.parametrize("error", UNAVAILABLE, ids=lambda error: type(error).__name__)
def test_the_next_model_answers_when_one_is_unavailable(how, error):
    """The result is the second model's, and says why the first did not answer."""
    result = run(FallbackModel(failing(error), answering()), how)
    assert result.output == ADA
    assert result.model_name == "second"
    (cause,) = result.skipped
    assert type(cause) is type(error)
    assert cause.model_name == "first"


@ways
@pytest.mark.parametrize("error", OTHERS, ids=lambda error: type(error).__name__)
def test_other_errors_are_raised_as_they_are(how, error):
    """What is wrong with the request or the account is not another model's to answer."""
    second = answering()
    with pytest.raises(type(error)):
        run(FallbackModel(failing(error), second), how)
    assert second.requests == []


@ways
def test_the_first_model_answers_when_it_can(how):
    """Nobody else is asked, and nothing is skipped."""
    second = answering(name="second")
    result = run(FallbackModel(answering(name="first"), second), how)
    assert (result.model_name, result.skipped, second.requests) == ("first", (), [])


@ways
def test_all_failing_is_one_error_with_one_cause_a_model(how):
    """`FallbackError` is a `ModelError` and an `ExceptionGroup` in the order of the models."""
    model = FallbackModel(*(failing(error, name=f"m{i}") for i, error in enumerate(UNAVAILABLE)))
    with pytest.raises(gs.FallbackError) as caught:
        run(model, how)
    assert isinstance(caught.value, gs.ModelError)
    assert isinstance(caught.value, ExceptionGroup)
    assert [type(cause) for cause in caught.value.exceptions] == [type(e) for e in UNAVAILABLE]
    assert [cause.model_name for cause in caught.value.exceptions] == [f"m{i}" for i in range(7)]
    matched, _ = caught.value.split(gs.RateLimitError)
    assert len(matched.exceptions) == 1


@pytest.mark.parametrize("how", ["sync", "async"])
def test_chosen_errors_and_rejected_results_are_reasons_too(how):
    """`on=` adds errors, `accept=` looks at validated results; attempts and costs add up."""
    wrong = ModelResponse(
        text="nope",
        finish_reason="stop",
        usage=Usage(requests=1, cost=Decimal("0.01")),
        model_name="first",
    )
    child = ModelResponse(
        text='{"name":"Bo","age":3}',
        finish_reason="stop",
        usage=Usage(requests=1, cost=Decimal("0.02")),
        model_name="second",
    )
    model = FallbackModel(
        ScriptedModel(lambda request: wrong, name="first"),
        ScriptedModel(lambda request: child, name="second"),
        answering(name="third"),
        on=[gs.OutputValidationError],
        accept=lambda result: result.output.age >= 18,
    )
    result = run(model, how, max_attempts=2)
    assert result.output == ADA
    assert [cause.model_name for cause in result.skipped] == ["first", "second"]
    assert len(result.attempts) == 4  # two wrong ones, one not accepted, one right
    assert result.usage.cost == Decimal("0.04")
    assert result.usage.requests == 4


def test_a_validation_error_alone_is_no_reason():
    """Unless it is chosen, the first model's wrong answers are raised with their attempts."""
    first = ScriptedModel(lambda request: "nope", name="first")
    with pytest.raises(gs.OutputValidationError) as caught:
        FallbackModel(first, answering()).generate("doc", Person, max_attempts=2)
    assert len(caught.value.attempts) == 2


def test_earlier_models_attempts_are_on_a_later_error():
    """What the skipped models did is not forgotten when a later one fails for another reason."""
    cut = gs.IncompleteOutputError("cut", text="{", usage=Usage(requests=1))
    first = ScriptedModel(
        lambda request: ModelResponse(
            text="{", finish_reason="length", usage=Usage(requests=1), model_name="first"
        ),
        name="first",
    )
    second = ScriptedModel(lambda request: "nope", name="second")
    model = FallbackModel(first, second, on=[type(cut)])
    with pytest.raises(gs.OutputValidationError) as caught:
        model.generate("doc", Person, max_attempts=1, max_tokens=5)
    assert [attempt.model_name for attempt in caught.value.attempts] == ["first", "second"]


class Dropping(ScriptedModel):
    """Streams a piece, then loses the connection."""

    def bind(self, task):
        responder = super().bind(task)

        def stream(request):
            yield ModelDelta(text='{"name"')
            raise gs.TransportError("cut")

        async def astream(request):
            for piece in stream(request):
                yield piece

        responder.stream, responder.astream = stream, astream
        return responder


@pytest.mark.parametrize("how", ["stream", "astream"])
def test_a_stream_does_not_fall_over_after_its_first_piece(how):
    """What the user has seen is not taken back: the error is raised as it is."""
    second = answering()
    with pytest.raises(gs.TransportError):
        run(FallbackModel(Dropping([], name="first"), second), how)
    assert second.requests == []


def test_time_is_shared_among_the_models():
    """A model that hangs costs its share; the next one answers within the deadline."""

    def hang(request):
        request.cancellation.wait(max(0, request.deadline.remaining))
        request.deadline.check()

    model = FallbackModel(ScriptedModel(hang, name="slow"), answering())
    start = time.monotonic()
    result = model.generate("doc", Person, timeout=0.6)
    assert result.output == ADA
    assert 0.2 < time.monotonic() - start < 0.5
    assert isinstance(result.skipped[0], gs.DeadlineExceededError)
    patient = FallbackModel(ScriptedModel(hang, name="slow"), answering(), patience=0.1)
    start = time.monotonic()
    assert patient.generate("doc", Person).output == ADA
    assert time.monotonic() - start < 0.4


def test_no_time_left_is_the_cause_of_every_model_after():
    """When the deadline has passed, each model that was not asked says so."""

    def oversleep(request):
        time.sleep(0.3)
        request.deadline.check()

    model = FallbackModel(
        ScriptedModel(oversleep, name="a"), answering(name="b"), answering(name="c")
    )
    with pytest.raises(gs.FallbackError) as caught:
        model.generate("doc", Person, timeout=0.2)
    assert [type(cause) for cause in caught.value.exceptions] == [gs.DeadlineExceededError] * 3
    assert "Not asked" in str(caught.value.exceptions[2])


def test_a_breaker_spares_a_model_that_keeps_failing_and_tries_it_again():
    """After the set number of failures it is not asked until the pause is over."""
    broken = threading.Event()
    broken.set()
    first = ScriptedModel(
        lambda request: gs.TransportError("down") if broken.is_set() else ADA, name="first"
    )
    model = FallbackModel(first, answering(), breaker_failures=2, breaker_seconds=0.2)
    for _ in range(5):
        result = model.generate("doc", Person)
    assert len(first.requests) == 2
    assert isinstance(result.skipped[0], gs.ModelBusyError)
    time.sleep(0.25)
    broken.clear()
    assert model.generate("doc", Person).model_name == "first"
    assert model.generate("doc", Person).model_name == "first"
    assert len(first.requests) == 4


def test_breakers_do_not_refuse_when_every_model_is_spared():
    """A last resort is always tried."""
    first, second = failing(gs.TransportError("down"), "a"), failing(gs.TransportError("x"), "b")
    model = FallbackModel(first, second, breaker_failures=1, breaker_seconds=60)
    for _ in range(3):
        with pytest.raises(gs.FallbackError) as caught:
            model.generate("doc", Person)
        assert [type(cause) for cause in caught.value.exceptions] == [gs.TransportError] * 2
    assert len(first.requests) == len(second.requests) == 3


def test_wrong_answers_do_not_open_the_breaker():
    """A model that answers, if wrongly, is available."""
    first = ScriptedModel(lambda request: "nope", name="first")
    model = FallbackModel(first, answering(), on=[gs.OutputValidationError], breaker_failures=1)
    for _ in range(3):
        assert model.generate("doc", Person, max_attempts=1).output == ADA
    assert len(first.requests) == 3


def test_a_failing_predicate_is_the_users_error():
    """What `accept` raises comes out, and the breaker stays as it was."""
    model = FallbackModel(answering(), accept=lambda result: 1 / 0, breaker_failures=1)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            model.generate("doc", Person)


@pytest.fixture
def remote():
    """A remote model that nothing listens for."""
    with OpenRouterModel(
        "some/model", api_key="sk-or-v1-x", base_url="http://127.0.0.1:9/v1"
    ) as one:
        yield one


def test_local_only_withdraws_the_consent(remote):
    """Remote models are passed over; if there are no others, the call is refused at once."""
    with pytest.raises(gs.InputError, match="local_only"):
        remote.generate("doc", Person, local_only=True)
    with pytest.raises(gs.InputError, match="local_only"):
        FallbackModel(remote).compile(Person, local_only=True)
    model = FallbackModel(failing(gs.LoadError("no weights")), remote)
    with pytest.raises(gs.FallbackError) as caught:
        model.generate("doc", Person, local_only=True)
    assert [type(cause) for cause in caught.value.exceptions] == [gs.LoadError]


def test_a_server_on_this_machine_is_local():
    """`local_only` is about what leaves the machine."""
    urls = {"http://localhost:8000/v1": False, "http://127.0.0.1:1/v1": False, "http://[::1]/v1": False,
            "https://example.org/v1": True, "http://10.0.0.1/v1": True}  # fmt: skip
    for url, is_remote in urls.items():
        assert OpenAICompatibleModel("m", base_url=url).is_remote is is_remote


def test_redaction_needs_a_model_that_can_be_redacted():
    """A remote model of another kind would send texts unseen: it is refused."""

    class Foreign(ScriptedModel):
        is_remote = True

    with pytest.raises(gs.InputError, match="redact"):
        FallbackModel(Foreign([], name="foreign"), redact=str.upper)
    FallbackModel(ScriptedModel([]), redact=str.upper)


@pytest.mark.parametrize(
    "arguments", [{"breaker_failures": 0}, {"patience": -1.0}, {"patience": float("nan")}]
)
def test_arguments_without_sense_are_refused(arguments):
    """They are an `InputError` at once."""
    with pytest.raises(gs.InputError):
        FallbackModel(answering(), **arguments)
    with pytest.raises(gs.InputError):
        FallbackModel()


def test_models_of_models_nest():
    """A `FallbackModel` in another answers, and fails, as one model."""
    inner = FallbackModel(failing(gs.LoadError("x"), "a"), failing(gs.TransportError("y"), "b"))
    outer = FallbackModel(inner, answering(name="c"))
    for how in ("sync", "async", "stream", "astream"):
        result = run(outer, how)
        assert result.model_name == "c"
        assert isinstance(result.skipped[0], gs.FallbackError)
    deep = FallbackModel(
        failing(gs.LoadError("x")), FallbackModel(failing(gs.LoadError("y")), answering())
    )
    for how in ("sync", "async", "stream", "astream"):
        assert run(deep, how).output == ADA


def test_it_is_a_driver_without_a_generator_too():
    """A request of someone else's (an agent's) goes to one model after the other as well."""
    task = Task(output_type=OutputType.of(Person))
    responder = FallbackModel(failing(gs.LoadError("x")), answering()).bind(task)
    request = ModelRequest(input="doc")
    assert responder.respond(request).model_name == "second"
    assert asyncio.run(responder.arespond(request)).model_name == "second"
    with closing(responder.stream(request)) as pieces:
        *deltas, response = list(pieces)
    assert "".join(delta.text for delta in deltas) == response.text
    assert responder.prompt(request)
    assert responder.count_tokens(request) > 0


def test_a_batch_falls_over_one_by_one():
    """Each input has its own way through the models."""
    first = ScriptedModel(
        lambda request: gs.ModelBusyError("full") if request.input == "odd" else ADA, name="first"
    )
    model = FallbackModel(first, answering())
    results = model.batch(["even", "odd", "even"], Person)
    assert [result.model_name for result in results] == ["first", "second", "first"]
    results = asyncio.run(model.abatch(["even", "odd"], Person))
    assert [result.model_name for result in results] == ["first", "second"]


def test_cancelling_is_never_a_reason():
    """A cancelled task ends; nobody else is asked."""
    second = answering()
    hang = ScriptedModel(lambda request: request.cancellation.wait(5) and None, name="hang")
    model = FallbackModel(hang, second, on=[gs.ModelError])

    async def main():
        task = asyncio.create_task(model.agenerate("doc", Person))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert second.requests == []


def test_names_and_reprs_tell_the_order():
    """The name lists the models as they are asked."""
    model = FallbackModel(answering(name="a"), answering(name="b"))
    assert model.name == "a | b"
    assert model.compile(Person)._responder.model_name == "a | b"
    assert repr(model).startswith("FallbackModel(")
