"""Options of a task: what each means, and that none is misread."""

from __future__ import annotations

import asyncio
import threading  # noqa: TC003 - Pydantic reads it
from typing import Any, Literal

import pytest
from pydantic import BaseModel

import gemma_structured as gs
from gemma_structured.driver import Task
from gemma_structured.models.base import Model, TaskOptions, _task
from gemma_structured.schema.output_type import OutputType
from gemma_structured.testing.scripted import ScriptedModel


class Point(BaseModel):
    x: int


POINT = OutputType.of(Point)


def add(a: int, b: int) -> int:
    """Add."""
    return a + b


def test_every_option_reaches_the_task() -> None:
    """With its value; those of sampling are together."""
    options: dict[str, Any] = {
        "instruction": "Read.",
        "examples": [gs.Example("a", Point(x=1))],
        "bounds": None,
        "temperature": 0.5,
        "top_k": 3,
        "top_p": 0.9,
        "min_p": 0.1,
        "seed": 7,
        "max_tokens": 9,
        "max_attempts": 2,
        "timeout": 1.5,
        "context": {"a": 1},
        "local_only": True,
        "thinking": 20,
        "draft": False,
    }
    assert options.keys() == TaskOptions.__annotations__.keys()
    point = OutputType.of(Point)  # kept for a while: other tests may have pushed out an earlier one
    task = ScriptedModel([]).compile(Point, **options).task
    assert task.output_type is point
    sampling = {"temperature", "top_k", "top_p", "min_p", "seed"}
    for name, value in options.items():
        held = getattr(task.sampling if name in sampling else task, name)
        assert held == (tuple(value) if name == "examples" else value)


def test_what_is_not_said_is_the_task_s_default() -> None:
    """The options and the record agree on every default."""
    assert _task(POINT, {}) == Task(output_type=POINT)


def test_each_way_to_ask_is_compile_and_call() -> None:
    """All of them give the same result."""

    def model() -> ScriptedModel:
        return ScriptedModel(lambda _: Point(x=4))

    async def stream() -> Any:
        async with model().astream("d", Point) as events:
            return await events.result()

    results = [
        model().compile(Point)("d"),
        model().generate("d", Point),
        model().stream("d", Point).result(),
        *model().batch(["d"], Point),
        *model().batch(["d"], Point, errors="return"),
        asyncio.run(model().agenerate("d", Point)),
        asyncio.run(stream()),
        *asyncio.run(model().abatch(["d"], Point)),
        *asyncio.run(model().abatch(["d"], Point, errors="return")),
    ]
    assert all(result == results[0] for result in results)
    assert results[0].output == Point(x=4)


def test_a_wrong_example_is_refused_when_the_task_is_compiled() -> None:
    """Before anything is loaded or sent."""
    model = ScriptedModel([])
    for example in ({"x": "one"}, {"y": 1}, None):
        with pytest.raises(gs.InputError, match="An example for Point"):
            model.compile(Point, examples=[gs.Example("a", example)])  # type: ignore[list-item]
    with pytest.raises(gs.InputError, match="text"):
        model.compile(Point, examples=[gs.Example(3, Point(x=1))])  # type: ignore[arg-type]


@pytest.mark.parametrize("bounds", [5, [], {"items": 3}, "none", gs.Bounds, False], ids=repr)
def test_bounds_that_are_none_are_refused_in_every_way_to_ask(bounds: Any) -> None:
    """By name, with what to write, before anything is loaded or sent; also where the output is text."""
    model = ScriptedModel([])
    local, text = gs.LocalModel("/nowhere/at/all"), gs.Regex("a")
    remote = gs.OpenRouterModel("nobody/nothing", api_key="none")
    for ask in (
        lambda: model.compile(Point, bounds=bounds),
        lambda: model.compile(text, bounds=bounds),
        lambda: local.compile(Point, bounds=bounds),
        lambda: remote.generate("d", Point, bounds=bounds),
        lambda: gs.FallbackModel(remote, model).compile(Point, bounds=bounds),
        lambda: model.stream("d", Point, bounds=bounds),
        lambda: model.batch([], Point, bounds=bounds),
        lambda: asyncio.run(model.agenerate("d", Point, bounds=bounds)),
        lambda: asyncio.run(model.abatch(["d"], Point, errors="return", bounds=bounds)),
        lambda: model.call_tools("d", [add], bounds=bounds),
        lambda: gs.Agent(remote, tools=[add], bounds=bounds),
        lambda: gs.Agent(local, output_type=Point, bounds=bounds),
        lambda: gs.inspect(Point, bounds=bounds),
        lambda: gs.inspect(text, bounds=bounds),
    ):
        with pytest.raises(
            gs.InputError, match=r"^bounds must be gs\.Bounds or None, not "
        ) as caught:
            ask()
        assert caught.value.hint is not None
        assert "bounds=gs.Bounds(" in caught.value.hint


def test_a_wrong_type_is_refused_when_the_task_is_compiled() -> None:
    """With the place in it."""

    class Odd(BaseModel, arbitrary_types_allowed=True):
        a: threading.Thread

    with pytest.raises(gs.SchemaError, match="a"):
        ScriptedModel([]).compile(Odd)


def test_a_misspelled_option_is_refused_with_those_there_are() -> None:
    """In every way to ask."""
    model = ScriptedModel([])
    for ask in (model.compile, lambda t, **o: model.generate("d", t, **o)):
        with pytest.raises(TypeError, match=r"temprature.*temperature"):
            ask(Literal["a"], temprature=1)


def test_a_model_must_say_its_name_and_how_it_answers() -> None:
    """The class alone cannot be used."""
    with pytest.raises(TypeError, match="abstract"):
        Model()  # type: ignore[abstract]
