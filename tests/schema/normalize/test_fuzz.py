"""Random schemas against random instances, the official suite, and a sample of real schemas."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from gemma_structured.exceptions import SchemaError
from gemma_structured.parsing.validate import validate
from gemma_structured.schema.json_schema import JsonSchema
from gemma_structured.schema.normalize import normalize
from gemma_structured.schema.output_type import OutputType
from gemma_structured.schema.residual import ResidualChecks
from gemma_structured.schema.validator import compile_validator, validator_class

DATA = Path(__file__).parents[4] / "shared" / "data"
SUITE = DATA / "json-schema-test-suite"
MASKBENCH = DATA / "maskbench-dev.jsonl.gz"
NAMES = ["a", "b", "ab", "c"]
PATTERNS = ["^a", "b$", "^.{2,}$", "^(?!a)", "^[a-c]+$"]
VALUES = st.recursive(
    st.sampled_from([None, True, False, 0, 1, 2, 3.5, -1, "", "a", "b", "ab", "é"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3)
    ),
    max_leaves=6,
)


def _optional(**keywords: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=keywords)


def _schemas(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    counts, some = st.integers(0, 3), st.lists(inner, min_size=1, max_size=3)
    numbers = st.sampled_from([0, 1, 2, 2.5, -1, 10])
    names = st.lists(st.sampled_from(NAMES), min_size=1, max_size=2, unique=True)
    members = st.dictionaries(st.sampled_from(NAMES), inner, min_size=1, max_size=3)
    types = st.sampled_from(["null", "boolean", "integer", "number", "string", "array", "object"])
    groups = [
        _optional(type=types | st.lists(types, min_size=1, max_size=3, unique=True)),
        _optional(enum=st.lists(VALUES, min_size=1, max_size=3), const=VALUES),
        _optional(
            minimum=numbers, exclusiveMaximum=numbers, multipleOf=st.sampled_from([1, 2, 0.5])
        ),
        _optional(minLength=counts, maxLength=counts, pattern=st.sampled_from(PATTERNS)),
        _optional(items=inner, prefixItems=some, minItems=counts, maxItems=counts),
        _optional(contains=inner, minContains=counts, uniqueItems=st.booleans()),
        _optional(properties=members, additionalProperties=inner, required=names),
        _optional(patternProperties=st.dictionaries(st.sampled_from(PATTERNS), inner, max_size=2)),
        _optional(propertyNames=inner, minProperties=counts, maxProperties=counts),
        _optional(dependentSchemas=st.dictionaries(st.sampled_from(NAMES), inner, max_size=1)),
        _optional(allOf=some),
        _optional(anyOf=some),
        _optional(oneOf=some),
        _optional(**{"not": inner}),
        _optional(**{"if": inner, "then": inner, "else": inner}),
        _optional(unevaluatedProperties=inner, properties=members),
        st.just({"$ref": "#/$defs/other"}),
    ]
    chosen = st.lists(st.sampled_from(groups), min_size=1, max_size=4)
    return chosen.flatmap(lambda kept: st.tuples(*kept)).map(
        lambda parts: {key: value for part in parts for key, value in part.items()}
    )


SCHEMAS = st.recursive(st.booleans() | st.just({"type": "string"}), _schemas, max_leaves=12)


@settings(
    max_examples=400,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
@given(schema=SCHEMAS, other=SCHEMAS, seed=st.integers(0, 2**16), value=VALUES)
def test_random_schemas(check_values, schema, other, seed, value):
    """Nothing valid is lost by rewriting or by the mask; nothing invalid is added unsaid."""
    whole = {"allOf": [schema], "$defs": {"other": other}}
    try:
        JsonSchema(whole)
    except SchemaError:
        return  # a schema that applies itself
    check_values(whole, seed, value)


def _suite_groups() -> list[Any]:
    if not SUITE.exists():
        return []
    paths = sorted((SUITE / "tests" / "draft2020-12").glob("*.json"))
    return [
        pytest.param(group, id=f"{path.stem}: {group['description']}")
        for path in paths
        for group in json.loads(path.read_text(encoding="utf-8"))
    ]


@pytest.fixture(scope="module")
def remotes() -> Registry[Any]:
    """The schemas elsewhere that the suite's tests refer to."""
    folder = SUITE / "remotes"
    found: Registry[Any] = Registry()
    for path in sorted(folder.rglob("*.json")):
        name = path.relative_to(folder).as_posix()
        if not name.startswith(("draft3", "draft4", "draft6", "v1")):
            contents = json.loads(path.read_text(encoding="utf-8"))
            resource = Resource.from_contents(contents, default_specification=DRAFT202012)
            found = found.with_resource(f"http://localhost:1234/{name}", resource)
    return found


@pytest.mark.skipif(
    not SUITE.exists(), reason="the JSON Schema Test Suite is not beside the repository"
)
def test_the_official_suite(remotes, make_mask, refused):
    """At the level of the mask at least 85 % are right; no valid instance is lost, none invalid kept.

    What only the mask lets by is refused while it is written, and no valid instance is.
    """
    right = total = missed = caught = 0
    for parameter in _suite_groups():
        (group,) = parameter.values
        schema, tests = group["schema"], group["tests"]
        total += len(tests)
        try:
            original = JsonSchema(schema, registry=remotes, formats="annotation")
            normalized = normalize(original)
        except SchemaError as error:
            if "Nothing satisfies" in str(error):
                assert not any(test["valid"] for test in tests), parameter.id
                right += len(tests)
            continue
        mask = make_mask(normalized.schema)
        valid = validator_class(original.dialect)(schema, registry=remotes)
        checks = ResidualChecks.of(original, normalized.residual)
        for test in tests:
            accepted = mask.accepts(test["data"])
            if checks is not None and refused(checks, test["data"]) is not None:
                assert not test["valid"], (parameter.id, test["description"])
                caught += accepted
            missed += accepted and not test["valid"]
            right += accepted == test["valid"]
            assert accepted or not test["valid"], (parameter.id, test["description"])
            assert not accepted or test["valid"] or not valid.is_valid(test["data"]), parameter.id
            assert not accepted or test["valid"] or normalized.residual, parameter.id
    assert total > 1200
    assert right / total >= 0.85
    assert caught == missed


@pytest.mark.skipif(
    not MASKBENCH.exists(), reason="the MaskBench file is not beside the repository"
)
def test_a_sample_of_real_schemas(make_mask, refused):
    """Real schemas compile, accept what is valid, and return nothing that is not."""
    with gzip.open(MASKBENCH, "rt", encoding="utf-8") as lines:
        entries = random.Random(3).sample([json.loads(line) for line in lines], 150)
    compiled = 0
    for entry in entries:
        try:
            original = JsonSchema(entry["schema"])
            normalized = normalize(original)
        except SchemaError:
            continue
        compiled += 1
        mask = make_mask(normalized.schema)
        rewritten = compile_validator(normalized.schema)
        checks = ResidualChecks.of(original, normalized.residual)
        for test in entry["tests"]:
            text = json.dumps(test["data"], ensure_ascii=False)
            if test["valid"]:
                assert rewritten.is_valid(test["data"]), entry["name"]
                assert checks is None or refused(checks, test["data"]) is None, entry["name"]
            elif mask.accepts_text(json.dumps(test["data"], separators=(",", ":"))):
                with pytest.raises(Exception, match="does not validate"):
                    validate(OutputType.of(original), text)
    assert compiled / len(entries) >= 0.985
