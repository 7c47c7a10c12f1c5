"""Random schemas: what is written under their masks validates, and what is valid can be written.

`python benchmarks/fuzz.py --schemas 50000` runs the same for as long as one likes.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import UnsatisfiedAssumption
from hypothesis_jsonschema import from_schema
from jsonschema import Draft7Validator

import gemma_structured as gs
from gemma_structured.models.local import LocalModel
from gemma_structured.schema.bounds import Bounds
from gemma_structured.schema.json_schema import JsonSchema
from gemma_structured.schema.normalize import Normalized
from gemma_structured.schema.validator import compile_validator
from gemma_structured.testing import schema_fuzz, tiny_models
from gemma_structured.testing.random_schemas import DRAFTS, random_schema, random_value
from gemma_structured.testing.schema_fuzz import Counterexample, SchemaFuzz, plain_judge

RANDOM_LOGITS_SCHEMAS = int(os.environ.get("GS_RANDOM_LOGITS_SCHEMAS", "2000"))
TINY_MODEL_SCHEMAS = int(os.environ.get("GS_TINY_MODEL_SCHEMAS", "200"))
TIGHT = Bounds(string_length=12, items=3, properties=2, key_length=6)
GENERATED = settings(
    database=None,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def fuzz() -> SchemaFuzz:
    return SchemaFuzz()


def drawn(seed: int) -> tuple[Any, random.Random]:
    rng = random.Random(seed)
    return random_schema(rng, rng.choice(list(DRAFTS))), rng


def test_what_random_logits_write_validates(fuzz):
    """Walks through the masks of 2,000 schemas of five drafts, and instances, break no law."""
    seed = 0
    while fuzz.counts["exact schemas"] + fuzz.counts["relaxed schemas"] < RANDOM_LOGITS_SCHEMAS:
        schema, rng = drawn(seed)
        fuzz.check(schema, [random_value(rng) for _ in range(6)], rng, walks=1)
        seed += 1
    finished = fuzz.counts["valid walks"] + fuzz.counts["walks left to validation"]
    assert finished >= 0.9 * RANDOM_LOGITS_SCHEMAS, fuzz.counts
    assert fuzz.counts["walks left to validation"] <= 0.1 * finished, fuzz.counts
    assert fuzz.counts["valid instances"] >= RANDOM_LOGITS_SCHEMAS, fuzz.counts
    assert fuzz.counts["invalid instances"] >= RANDOM_LOGITS_SCHEMAS, fuzz.counts


@pytest.fixture
def ending_model() -> LocalModel:
    """A model of random weights that likes what ends values, as random logits here do.

    Evenly random bytes write strings and numbers without end where a schema does not bound them.
    """
    model, tokenizer = tiny_models.build("mixtral")
    local = LocalModel.from_transformers(model, tokenizer)
    vocabulary = local.runtime().vocabulary
    head = model.get_output_embeddings()
    bias = torch.zeros(head.out_features)
    bias[vocabulary.encode('"]}')] = 4.0
    bias[vocabulary.encode(",:0123456789")] = 2.0
    bias[list(vocabulary.end_ids)] = 8.0
    head.bias = torch.nn.Parameter(bias)
    return local


def test_what_a_tiny_model_writes_validates(ending_model: LocalModel):
    """Through the public API, on random weights: jsonschema finds every object valid."""
    model = ending_model
    ended: Counter[str] = Counter()
    seed = 0
    while ended.total() < TINY_MODEL_SCHEMAS:
        schema, _ = drawn(seed := seed + 1)
        try:
            result = model.generate(
                "doc",
                gs.JsonSchema(schema),
                temperature=1.5,
                seed=seed,
                max_tokens=400,
                bounds=TIGHT,
            )
        except gs.SchemaError:
            continue  # nothing satisfies it, or it means nothing
        except (gs.IncompleteOutputError, gs.OutputValidationError) as error:
            ended[type(error).__name__] += 1
        else:
            assert plain_judge(schema).is_valid(result.output), (schema, result.output)
            ended["valid"] += 1
    assert ended["valid"] >= 0.9 * TINY_MODEL_SCHEMAS, ended
    assert ended["OutputValidationError"] <= 0.05 * TINY_MODEL_SCHEMAS, ended


def test_instances_of_another_generator_are_accepted(fuzz):
    """What hypothesis-jsonschema generates from a schema, the mask accepts."""
    before = fuzz.counts["valid instances"]

    @settings(GENERATED, max_examples=150)
    @given(seed=st.integers(0, 2**32), data=st.data())
    def one_more(seed: int, data: st.DataObject) -> None:
        rng = random.Random(seed)
        schema = random_schema(rng, rng.choice(["draft-04", "draft-06", "draft-07"]))
        try:
            instances = [data.draw(from_schema(schema)) for _ in range(3)]
        except UnsatisfiedAssumption:
            raise
        except Exception:  # noqa: BLE001 - it finds nothing, or cannot read the schema
            return
        fuzz.check(schema, instances, rng, walks=0)

    one_more()
    assert fuzz.counts["valid instances"] - before >= 200


def _shallow(metaschema: Any, depth: int) -> Any:
    """A metaschema whose references to itself end: hypothesis-jsonschema follows no circles."""
    if isinstance(metaschema, list):
        return [_shallow(one, depth) for one in metaschema]
    if not isinstance(metaschema, dict):
        return metaschema
    if metaschema.get("$ref") == "#":
        return _metaschema(depth - 1)
    return {key: _shallow(one, depth) for key, one in metaschema.items()}


def _metaschema(depth: int) -> Any:
    """Draft 7's, without what would rarely resolve or compile."""
    types = {"enum": ["null", "boolean", "integer", "number", "string", "array", "object"]}
    if depth == 0:
        return {"type": "object", "properties": {"type": types}, "additionalProperties": False}
    whole = Draft7Validator.META_SCHEMA
    left_out = {"$id", "$schema", "$ref", "pattern", "patternProperties", "definitions", "format"}
    keywords = {k: v for k, v in whole["properties"].items() if k not in left_out}
    keywords = {k: v for k, v in keywords.items() if not k.startswith(("content", "$comment"))}
    keywords["type"] = types
    names = {"propertyNames": {"enum": sorted(keywords)}, "maxProperties": 4}
    lists = {"schemaArray": {"type": "array", "items": {"$ref": "#"}, "minItems": 1, "maxItems": 2}}
    made = {"type": "object", "properties": keywords, **names}
    return _inlined(_shallow(made, depth), _shallow(whole["definitions"] | lists, depth))


def _inlined(value: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(value, list):
        return [_inlined(one, definitions) for one in value]
    if not isinstance(value, dict):
        return value
    target = str(value.get("$ref", "")).removeprefix("#/definitions/")
    if target in definitions:
        return _inlined(definitions[target], definitions)
    return {key: _inlined(one, definitions) for key, one in value.items()}


def test_schemas_of_another_generator(fuzz):
    """Schemas that hypothesis-jsonschema draws from the metaschema break no law either."""
    before = fuzz.counts["exact schemas"]

    @settings(GENERATED, max_examples=100)
    @given(schema=from_schema(_metaschema(2)), seed=st.integers(0, 2**32))
    def one_more(schema: Any, seed: int) -> None:
        rng = random.Random(seed)
        values = [random_value(rng) for _ in range(6)]
        whole = {"$schema": DRAFTS["draft-07"], **schema}
        fuzz.check(whole, values, rng, judge=lambda s: compile_validator(JsonSchema.trusted(s)))

    one_more()
    assert fuzz.counts["exact schemas"] - before >= 40


FAULTS: dict[str, tuple[Any, Any, str]] = {
    "widens": ({"type": "integer", "maximum": 3}, {"type": "integer"}, "adds an invalid"),
    "narrows": ({"type": "integer"}, {"type": "integer", "maximum": 3}, "loses a valid"),
    "gives up": ({"minLength": 1}, {"type": "string", "enum": []}, "does not compile"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_wrong_rewriting_is_found(fuzz, monkeypatch, fault: str):
    """Rewriting that widens, narrows or cannot be compiled is a counterexample."""
    schema, wrong, law = FAULTS[fault]
    monkeypatch.setattr(
        schema_fuzz,
        "normalize",
        lambda _: Normalized(schema=JsonSchema.trusted(wrong)),
    )
    with pytest.raises(Counterexample, match=law):
        fuzz.check(schema, [2, 5, "a"], random.Random(0))
