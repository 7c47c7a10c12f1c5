"""`LocalModel` from end to end on tiny real models: results, costs, limits, many callers."""

from __future__ import annotations

import asyncio
import copy
import gc
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pytest
import torch
from pydantic import AfterValidator, BaseModel, Field

import gemma_structured as gs
from gemma_structured.testing.byte_tokenizer import ByteTokenizer
from gemma_structured.testing.tiny_shapes import CONTEXT_LENGTH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gemma_structured.decoding.loaded_model import LoadedModel

FAMILIES = ("gemma4", "gemma3", "mixtral", "afmoe", "minimax_m2", "deepseek_v3")


class Item(BaseModel):
    name: Annotated[str, Field(max_length=6)]
    kind: Literal["long word", "longer word", "other"]
    amounts: Annotated[list[int], Field(max_length=2)]


LETTERS = gs.Regex("[a-z]{3000}")
"""An answer that takes long."""


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def model_of(tiny_model: Callable[[Any], LoadedModel]) -> Iterator[Callable[..., gs.LocalModel]]:
    """Makes local models of tiny ones; afterwards none has a row or a thread."""
    made: list[gs.LocalModel] = []

    def make(architecture: str = "mixtral", **options: Any) -> gs.LocalModel:
        loaded = tiny_model(architecture)
        made.append(gs.LocalModel.from_transformers(loaded.model, loaded.tokenizer, **options))
        return made[-1]

    yield make
    for model in made:
        until(lambda m=model: m.runtime().session.open_rows == 0)
        until(lambda m=model: m.runtime().engine._worker is None)


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "it did not come to be"
        time.sleep(0.002)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_prompt_of_8192_tokens_is_read(
    family: str, model_of: Callable[..., gs.LocalModel]
) -> None:
    """In chunks, on every family, and answered with an object of the type."""
    model = model_of(family)
    result = model.generate("lorem ipsum " * 683, Item, max_tokens=300)
    assert result.usage.prompt_tokens >= 8192
    assert result.usage.forward_passes >= 17
    assert isinstance(result.output, Item)
    assert Item.model_validate_json(result.text) == result.output


@pytest.mark.parametrize("family", FAMILIES)
def test_batched_answers_equal_single_ones(
    family: str, model_of: Callable[..., gs.LocalModel]
) -> None:
    """Greedy, with prompts of other lengths; a kept prefix or none; with drafts or without."""
    documents = ["a", "Invoice 12: long word, 3 and 4. " * 4, "", "x" * 150, "b\n\nc"]

    def texts(answers: list[gs.Result[Item]]) -> list[str]:
        return [answer.text for answer in answers]

    options: Any = {"max_tokens": 120}
    expected = [model_of(family).generate(d, Item, **options).text for d in documents]
    assert texts(model_of(family, max_batch_size=3).batch(documents, Item, **options)) == expected
    assert (
        texts(model_of(family, prefix_cache_bytes=0).batch(documents, Item, **options)) == expected
    )
    assert texts(model_of(family, drafts="on").batch(documents, Item, **options)) == expected
    together = asyncio.run(model_of(family, prefill_chunk=16).abatch(documents, Item, **options))
    assert texts(together) == expected


def test_usage_tells_what_was_spent_and_saved(model_of: Callable[..., gs.LocalModel]) -> None:
    """The second prompt reuses all but its document; forced tokens need no choice."""
    read = model_of("gemma4").compile(
        Item,
        instruction="Read the item.",
        examples=[gs.Example("a", Item(name="a", kind="other", amounts=[1]))],
        max_tokens=200,
    )
    first, second = read("one"), read("another one")
    assert first.usage.cached_tokens == 0
    assert second.usage.cached_tokens > 0.8 * second.usage.prompt_tokens
    for result in (first, second):
        usage = result.usage
        assert usage.prompt_tokens == read.count_tokens("one" if result is first else "another one")
        assert usage.forced_tokens > len('{"name":"')
        assert usage.forward_passes < usage.completion_tokens
        assert usage.seconds_to_first_token is not None
        assert 0 < usage.seconds_to_first_token <= usage.seconds
        assert usage.requests == 0
        assert usage.cost is None
    assert second.usage.forward_passes < first.usage.forward_passes + second.usage.completion_tokens


def test_the_prompt_is_shown_as_it_is_sent(model_of: Callable[..., gs.LocalModel]) -> None:
    """With its control tokens, the type's form, and the document."""
    read = model_of("gemma4").compile(Item, instruction="Read the item.")
    prompt = read.prompt("the document")
    assert prompt.startswith("<bos><|turn>system\nRead the item.")
    assert '"long word" | "longer word" | "other"' in prompt
    assert "<|turn>user\nthe document<turn|>" in prompt
    assert read.count_tokens("the document") < len(prompt)


def test_a_prompt_past_the_context_is_refused(model_of: Callable[..., gs.LocalModel]) -> None:
    """With both numbers, before any forward; one that just fits is answered as far as there is room."""
    model = model_of()
    with pytest.raises(gs.ContextLengthError) as caught:
        model.generate("x" * CONTEXT_LENGTH, Item)
    error = caught.value
    assert error.context_length == CONTEXT_LENGTH
    assert error.prompt_tokens > CONTEXT_LENGTH
    assert str(error.prompt_tokens) in str(error)
    assert str(CONTEXT_LENGTH) in str(error)
    assert model.runtime().session.bytes_per_token == 0


def test_an_answer_ends_where_the_context_does(tiny_model: Callable[[Any], LoadedModel]) -> None:
    """Prompt and answer together never pass it; what there is is on the error."""
    loaded = tiny_model("mixtral")
    small = copy.deepcopy(loaded.model)
    small.config.max_position_embeddings = 400
    model = gs.LocalModel.from_transformers(small, loaded.tokenizer)
    read = model.compile(LETTERS)
    with pytest.raises(gs.IncompleteOutputError) as caught:
        read("doc")
    assert len(caught.value.text) == 400 - read.count_tokens("doc")
    assert caught.value.usage.total_tokens == 400


def test_a_budget_that_ends_inside_a_value_is_an_error(
    model_of: Callable[..., gs.LocalModel],
) -> None:
    """With the text so far and its cost, and without another attempt."""
    with pytest.raises(gs.IncompleteOutputError) as caught:
        model_of().generate("doc", Item, max_tokens=12)
    assert caught.value.text.startswith('{"name":"')
    assert caught.value.usage.completion_tokens == 12
    assert len(caught.value.attempts) == 1


def test_a_validator_s_error_is_told_to_the_model(model_of: Callable[..., gs.LocalModel]) -> None:
    """Every attempt is on the error; the prompts differ by the errors alone."""

    def refuse(value: str) -> str:
        raise ValueError("never right")

    refused = Annotated[Literal["ab", "cd"], AfterValidator(refuse)]
    with pytest.raises(gs.OutputValidationError) as caught:
        model_of().generate("doc", refused, max_attempts=3)
    attempts = caught.value.attempts
    assert len(attempts) == 3
    first, second, third = (attempt.usage.prompt_tokens for attempt in attempts)
    assert first < second == third
    assert "never right" in str(caught.value)


def test_sampling_is_reproducible_alone_and_in_a_batch(
    model_of: Callable[..., gs.LocalModel],
) -> None:
    """The seed decides, whatever runs beside it."""
    options: Any = {"temperature": 1.2, "top_p": 0.95, "seed": 11, "max_tokens": 200}
    model = model_of("gemma4")
    documents = [f"doc {i}" for i in range(5)]
    alone = [model.generate(document, Item, **options).text for document in documents]
    assert [r.text for r in model.batch(documents, Item, **options)] == alone
    assert model.generate("doc 0", Item, **{**options, "seed": 12}).text != alone[0]


def test_streamed_pieces_add_up(model_of: Callable[..., gs.LocalModel]) -> None:
    """To the text that a call gives, each closed value as it will stay."""
    model = model_of("gemma4")
    with model.stream("doc", Item, max_tokens=200) as stream:
        events = [event for event in stream if isinstance(event, gs.Partial)]
        result = stream.result()
    assert len(events) > 5
    assert "".join(event.delta for event in events) == result.text
    assert result.text == model.generate("doc", Item, max_tokens=200).text
    assert events[-1].value == result.output.model_dump()
    assert sum(("name",) in event.closed for event in events) > 1


def test_closing_a_stream_early_frees_its_row(model_of: Callable[..., gs.LocalModel]) -> None:
    """Soon after, and the cache with it."""
    model = model_of()
    with model.stream("doc", LETTERS) as stream:
        next(iter(stream))
        assert model.runtime().session.open_rows == 1
    until(lambda: model.runtime().session.open_rows == 0)
    assert model.runtime().session.nbytes == 0


@pytest.mark.parametrize("asynchronous", [False, True])
def test_the_deadline_holds(asynchronous: bool, model_of: Callable[..., gs.LocalModel]) -> None:
    """A long answer ends soon after its time, with an error that says what to do."""
    model = model_of()
    started = time.monotonic()
    read = model.compile(LETTERS, timeout=0.2)
    with pytest.raises(gs.DeadlineExceededError, match="timeout"):
        asyncio.run(read.acall("doc")) if asynchronous else read("doc")
    assert time.monotonic() - started < 5


def test_cancelling_a_task_ends_its_decoding(model_of: Callable[..., gs.LocalModel]) -> None:
    """Other tasks of the loop go on, and are right."""
    model = model_of()

    async def scenario() -> str:
        long = asyncio.create_task(model.agenerate("doc", LETTERS))
        short = asyncio.create_task(model.agenerate("doc", Item, max_tokens=200))
        result = await short
        long.cancel()
        with pytest.raises(asyncio.CancelledError):
            await long
        return result.text

    assert asyncio.run(scenario()) == model.generate("doc", Item, max_tokens=200).text


def test_threads_and_event_loops_share_a_model(model_of: Callable[..., gs.LocalModel]) -> None:
    """Eight threads, half of them with a loop of their own; each gets its own answer."""
    model = model_of("afmoe", max_batch_size=4)
    expected = {d: model.generate(d, Item, max_tokens=200).text for d in ("a", "bb", "ccc")}

    def work(number: int) -> None:
        for document, text in expected.items():
            if number % 2:
                result = asyncio.run(model.agenerate(document, Item, max_tokens=200))
            else:
                result = model.generate(document, Item, max_tokens=200)
            assert result.text == text

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))


def test_a_model_without_room_is_busy(model_of: Callable[..., gs.LocalModel]) -> None:
    """The caller is told at once instead of waiting."""
    model = model_of(max_batch_size=1, max_waiting=0)
    with model.stream("doc", LETTERS) as stream:
        next(iter(stream))
        with pytest.raises(gs.ModelBusyError):
            model.generate("doc", Item)
    until(lambda: model.runtime().engine._worker is None)
    assert model.generate("doc", Literal["a", "b"]).output in {"a", "b"}


def test_little_memory_runs_one_at_a_time(model_of: Callable[..., gs.LocalModel]) -> None:
    """However little is allowed, each is answered."""
    results = model_of(kv_cache_bytes=0).batch(["a", "b", "c"], Item, max_tokens=200)
    assert len(results) == 3


def test_constructing_loads_nothing() -> None:
    """Nor does compiling a task; using it does, and says what is missing."""
    model = gs.LocalModel("/nowhere/at/all", local_files_only=True)
    read = model.compile(Item)
    assert repr(model) == "LocalModel('/nowhere/at/all')"
    assert repr(read) == "Generator('/nowhere/at/all', Item)"
    for use in (model.load, lambda: read("doc"), lambda: read.prompt("doc")):
        with pytest.raises(gs.LoadError):
            use()


@pytest.mark.parametrize(
    "options",
    [
        {"max_batch_size": 0},
        {"prefill_chunk": 0},
        {"max_waiting": -1},
        {"kv_cache_bytes": -1},
        {"prefix_cache_bytes": -1},
        {"grammar_cache_size": 0},
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, int]) -> None:
    """At once, by name."""
    (name,) = options
    with pytest.raises(gs.InputError, match=name):
        gs.LocalModel("embedded", **options)  # type: ignore[arg-type]
    with pytest.raises(gs.InputError, match="empty"):
        gs.LocalModel("")


def test_unloading_ends_what_runs(model_of: Callable[..., gs.LocalModel]) -> None:
    """The next use loads again."""
    model = model_of()
    with model.stream("doc", LETTERS) as stream:
        next(iter(stream))
        model.unload()
        with pytest.raises(gs.GenerationCancelledError):
            stream.result()
    assert model.generate("doc", Literal["a", "b"]).output in {"a", "b"}


def test_loading_happens_once(tiny_model: Callable[[Any], LoadedModel]) -> None:
    """However many threads come first at the same time."""
    loaded = tiny_model("mixtral")
    model = gs.LocalModel.from_transformers(loaded.model, loaded.tokenizer)
    loads: list[int] = []

    def load() -> LoadedModel:
        loads.append(1)
        time.sleep(0.05)
        return loaded

    model._load = load
    with ThreadPoolExecutor(6) as pool:
        runtimes = list(pool.map(lambda _: model.runtime(), range(6)))
    assert len(loads) == 1
    assert all(runtime is runtimes[0] for runtime in runtimes)


def test_a_base_model_is_given_a_text_to_continue(tiny_model: Callable[[Any], LoadedModel]) -> None:
    """Without a chat template the prompt is inputs and outputs."""
    loaded = tiny_model("mixtral")
    tokenizer = ByteTokenizer().transformers(chat_template=None)
    model = gs.LocalModel.from_transformers(copy.deepcopy(loaded.model), tokenizer)
    prompt = model.compile(Literal["a"], examples=[gs.Example("x", "a")]).prompt("y")
    assert prompt.endswith('Input:\nx\nOutput:\n"a"\n\nInput:\ny\nOutput:\n')
    assert model.generate("y", Literal["a", "b"]).output in {"a", "b"}


def test_terms_give_texts(model_of: Callable[..., gs.LocalModel]) -> None:
    """A regex, a choice and a grammar are `str`; a raw schema is plain JSON."""
    model = model_of()
    assert model.generate("d", gs.Regex("[ab]{3}")).output.strip("ab") == ""
    assert model.generate("d", gs.Choice(["red", "green"])).output in {"red", "green"}
    assert model.generate("d", gs.Lark('start: "x" "y"')).output == "xy"
    schema: Any = {"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 2}
    assert {type(v) for v in model.generate("d", gs.JsonSchema(schema)).output} == {bool}


def test_memory_does_not_grow_with_documents(model_of: Callable[..., gs.LocalModel]) -> None:
    """After many documents there are as many tensors as after a few."""
    model = model_of("gemma4", prefix_cache_bytes=2**20)
    read = model.compile(Literal["alpha", "beta"])

    def tensors() -> int:
        gc.collect()
        return sum(type(each) is torch.Tensor for each in gc.get_objects())

    counts = []
    for rounds in range(2):
        read.batch([f"document {rounds} {i}" for i in range(60)])
        until(lambda: model.runtime().engine._worker is None)
        counts.append(tensors())
    assert abs(counts[1] - counts[0]) <= 0.05 * counts[0]
    assert model.runtime().prefixes.nbytes <= 2**20
    assert model.runtime().session.nbytes == 0
    assert threading.active_count() < 20
