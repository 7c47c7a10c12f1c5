"""`OpenAICompatibleModel`: vLLM, SGLang, llama.cpp and the like, on a real socket."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest
from pydantic import BaseModel

import gemma_structured as gs
from gemma_structured.budget import Budget
from gemma_structured.models.openai_compatible import OpenAICompatibleModel
from gemma_structured.remote.pricing import Pricing
from gemma_structured.remote.retry import RetryPolicy
from gemma_structured.schema.output_type import OutputType
from gemma_structured.testing.openrouter_replies import Answer, Failure
from gemma_structured.testing.openrouter_server import FakeOpenRouter


class Person(BaseModel):
    name: str


ADA = '{"name":"Ada"}'
REFUSED = Failure(status=400, message="response_format json_schema is not supported")


@pytest.fixture
def fake():
    with FakeOpenRouter(answer=ADA, key=None) as one:
        yield one


@pytest.fixture
def make(fake):
    """Makes models of the fake server, and closes them."""
    models = []

    def of(**options):
        retry = RetryPolicy(first_delay=0.01, max_delay=0.02)
        models.append(OpenAICompatibleModel("m", base_url=fake.base_url, retry=retry, **options))
        return models[-1]

    yield of
    for model in models:
        model.close()


def test_the_schema_goes_to_the_server(fake, make):
    """By `response_format`, with no key unless there is one, and without OpenRouter's members."""
    assert make().generate("x", Person).output == Person(name="Ada")
    body = fake.requests[0].body
    assert body["response_format"]["json_schema"]["schema"] == OutputType.of(Person).term.value
    assert "authorization" not in fake.requests[0].headers
    assert not body.keys() & {"plugins", "provider", "stream_options"}
    make(api_key="k", headers={"X-A": "b"}).generate("x", Person)
    assert fake.requests[1].headers["authorization"] == "Bearer k"
    assert fake.requests[1].headers["x-a"] == "b"


def test_usage_is_asked_for_in_streams(fake, make):
    """These servers send none otherwise."""
    with make().stream("x", Person) as stream:
        assert stream.result().usage.prompt_tokens == 10
    assert fake.requests[0].body["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize(
    ("output_type", "text", "sent"),
    [(gs.Regex("[a-z]+"), "abc", {"regex": "[a-z]+"}), (gs.Choice(["a", "b"]), "b", {"choice": ["a", "b"]})],
)  # fmt: skip
def test_texts_are_enforced_by_structured_outputs(fake, make, output_type, text, sent):
    """Regular expressions and choices go to vLLM's own member."""
    fake.script(Answer(text=text))
    assert make().generate("x", output_type).output == text
    assert fake.requests[0].body["structured_outputs"] == sent


def test_a_grammar_is_sent_as_it_is(fake, make):
    """Lark text, which vLLM's guidance backend reads."""
    grammar = gs.Lark('start: "a" | "b"')
    fake.script(Answer(text="a"))
    assert make().generate("x", grammar).output == "a"
    assert fake.requests[0].body["structured_outputs"] == {"grammar": 'start: "a" | "b"'}


def test_what_is_refused_is_remembered(fake, make):
    """Down to the prompt, once for all calls."""
    fake.script(
        REFUSED, Failure(status=422, message="Unknown parameter: structured_outputs"), REFUSED
    )
    model = make()
    assert model.generate("x", Person).output.name == "Ada"
    kinds = [
        r.body.get("response_format", {}).get("type", "structured_outputs" in r.body)
        for r in fake.requests
    ]
    assert kinds == ["json_schema", True, "json_object", False]
    asyncio.run(model.agenerate("x", Person))
    assert len(fake.requests) == 5


def test_thinking_goes_to_the_chat_template(fake, make):
    """As these servers take it; the thought comes back in `reasoning_content`."""
    message = {"content": ADA, "reasoning_content": "hm"}
    fake.script(Answer(overrides={"choices": [{"finish_reason": "stop", "message": message}]}))
    result = make().generate("x", Person, thinking=True)
    assert fake.requests[0].body["chat_template_kwargs"] == {"enable_thinking": True}
    assert result.thinking == "hm"
    make(extra={"top_a": 1}).generate("x", Person)
    assert fake.requests[1].body["top_a"] == 1
    assert "chat_template_kwargs" not in fake.requests[1].body


def test_a_price_makes_a_cost_limit_possible(fake, make):
    """These servers say nothing of money: it is reckoned from the tokens."""
    fake._answer = Answer(text=ADA, usage={"prompt_tokens": 10, "completion_tokens": 5})
    with pytest.raises(gs.BudgetExceededError, match="not known"):
        make(budget=Budget(max_cost=1)).generate("x", Person)
    budget = Budget(max_cost=1)
    price = Pricing(prompt=Decimal("0.00001"), completion=Decimal("0.00002"))
    result = make(budget=budget, price=price).generate("x", Person)
    assert budget.spent.cost == Decimal("0.0002")
    assert result.usage.cost is None
    assert make(price=price).pricing() == price


def test_it_can_be_used_in_with_blocks(fake):
    """Which close its connections."""

    async def main():
        async with OpenAICompatibleModel("m", base_url=fake.base_url) as model:
            await model.agenerate("x", Person)
            assert fake.open_connections == 1
        await asyncio.sleep(0.05)
        assert fake.open_connections == 0

    asyncio.run(main())
    with OpenAICompatibleModel("m", base_url=fake.base_url) as model:
        model.generate("x", Person)
        assert repr(model) == "OpenAICompatibleModel('m')"


@pytest.mark.parametrize("url", ["", "localhost", "ftp://x", "http://[bad"])
def test_addresses_without_sense_are_refused(url):
    """At once."""
    with pytest.raises(gs.InputError, match="base_url"):
        OpenAICompatibleModel("m", base_url=url)
