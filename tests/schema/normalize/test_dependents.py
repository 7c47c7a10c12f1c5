"""`dependentRequired`, `dependentSchemas`, and the older `dependencies`."""

from __future__ import annotations

import pytest

DRAFT_4 = "http://json-schema.org/draft-04/schema#"


@pytest.mark.parametrize(
    "schema",
    [
        {"dependentRequired": {"a": ["b"]}},
        {"dependentRequired": {"a": ["b", "c"], "b": ["a"]}},
        {"dependentRequired": {"a": []}},
        {"dependentSchemas": {"a": {"required": ["b"], "properties": {"b": {"type": "string"}}}}},
        {"dependentSchemas": {"a": False}},
        {"dependentSchemas": {"a": {"maxProperties": 2}}},
        {"$schema": DRAFT_4, "dependencies": {"a": ["b"], "c": {"minProperties": 2}}},
    ],
)
def test_dependencies_are_enforced_exactly(law, schema):
    """A property is absent, or what depends on it holds."""
    law(schema, {"a": 1, "b": 2}, {"a": 1, "c": 2}, {"c": 1}, {"a": 1, "b": "x", "c": 1})


def test_dependencies_mean_nothing_in_newer_drafts(law):
    """Draft 2020-12 has no `dependencies`."""
    assert law({"dependencies": {"a": ["b"]}}).schema.value in (True, {})


def test_many_dependencies_are_relaxed_and_reported(law):
    """Choices that would multiply past the limit are left to validation, which is said."""
    schema = {"type": "object", "dependentRequired": {f"p{n}": [f"q{n}"] for n in range(12)}}
    normalized = law(schema, {"p1": 1}, {"p1": 1, "q1": 2}, exact=False)
    assert set(normalized.residual) == {("", "dependentRequired")}
