"""What mypy and pyright infer from a model's methods; both read this file, nothing runs it."""

from __future__ import annotations

from typing import Annotated, Literal, Optional, assert_type

from pydantic import BaseModel, Field

import gemma_structured as gs


class Invoice(BaseModel):
    """One type."""

    total: int


class Letter(BaseModel):
    """Another."""

    sender: str


def check_results(model: gs.Model) -> None:
    """The output has the type that was asked for, whatever its form."""
    assert_type(model.generate("d", Invoice), gs.Result[Invoice])
    assert_type(model.generate("d", Invoice | Letter).output, Invoice | Letter)
    assert_type(model.generate("d", list[Invoice]).output, list[Invoice])
    assert_type(model.generate("d", Literal["a", "b"]).output, Literal["a", "b"])
    assert_type(model.generate("d", Optional[int]).output, int | None)  # noqa: UP045
    assert_type(model.generate("d", Annotated[int, Field(ge=1)]).output, int)
    assert_type(model.generate("d", gs.JsonSchema({})).output, gs.JsonValue)
    assert_type(model.generate("d", gs.Choice(["a"])).output, str)
    assert_type(model.generate("d", gs.Regex("a+")).output, str)
    assert_type(model.generate("d", gs.Lark('start: "a"')).output, str)


def check_generators(model: gs.Model) -> None:
    """Generators, batches and streams carry the type on; examples fit a union's branches."""
    examples = [gs.Example("a", Invoice(total=1))]
    assert_type(model.compile(Invoice | Letter, examples=examples)("d").output, Invoice | Letter)
    assert_type(model.compile(Invoice).batch(["d"]), list[gs.Result[Invoice]])
    assert_type(
        model.batch(["d"], Invoice, errors="return"),
        list[gs.Result[Invoice] | gs.GemmaStructuredError],
    )
    with model.stream("d", Invoice) as stream:
        assert_type(stream.result().output, Invoice)


async def check_async(model: gs.Model) -> None:
    """The asynchronous twins infer the same."""
    assert_type(await model.agenerate("d", Invoice | Letter), gs.Result[Invoice | Letter])
    assert_type(await model.abatch(["d"], Invoice), list[gs.Result[Invoice]])
    async with model.astream("d", Invoice) as stream:
        assert_type((await stream.result()).output, Invoice)
