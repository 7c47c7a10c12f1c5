"""Runs the JSON Schema Test Suite (draft 2020-12) through our masks."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from conformance_engines import Ours, RefusedError
from conformance_text import KeyOrders, canonical
from jsonschema_specifications import REGISTRY
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from gemma_structured.exceptions import SchemaError
from gemma_structured.schema.json_schema import JsonSchema
from gemma_structured.schema.validator import validator_class

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gemma_structured.grammar.vocabulary import Vocabulary

_OTHER_DRAFTS = ("draft3", "draft4", "draft6", "v1")


@dataclass
class TestResult:
    """What became of one test.

    Attributes:
        verdict: `right`, `key order`, `valid rejected`, `invalid accepted` (by the mask) or `refused`.
        returned: Whether it is invalid and passes validation, too.
        relaxed: Whether keywords were left to validation.
    """

    file: str
    title: str
    verdict: str
    returned: bool = False
    relaxed: bool = False
    reason: str = ""


def run_suite(folder: Path, vocabulary: Vocabulary) -> list[TestResult]:
    """Run every required test; formats are annotations there."""
    registry = _remotes(folder / "remotes")
    engine = Ours(vocabulary, registry, "annotation")
    results: list[TestResult] = []
    for path in sorted((folder / "tests" / "draft2020-12").glob("*.json")):
        for group in json.loads(path.read_text(encoding="utf-8")):
            results.extend(_run_group(path.stem, group, engine, registry))
    return results


def _remotes(folder: Path) -> Registry[Any]:
    """The schemas elsewhere that the tests refer to, under the address that they use."""
    resources = []
    for path in sorted(folder.rglob("*.json")):
        name = path.relative_to(folder).as_posix()
        if not name.startswith(_OTHER_DRAFTS):
            contents = json.loads(path.read_text(encoding="utf-8"))
            found = Resource.from_contents(contents, default_specification=DRAFT202012)
            resources.append((f"http://localhost:1234/{name}", found))
    return REGISTRY.with_resources(resources)


def _run_group(
    file: str, group: dict[str, Any], engine: Ours, registry: Registry[Any]
) -> Iterator[TestResult]:
    title = group["description"]
    try:
        compiled = engine.compile(group["schema"])
    except RefusedError as error:
        nothing = "Nothing satisfies" in str(error)
        for test in group["tests"]:
            verdict = ("valid rejected" if test["valid"] else "right") if nothing else "refused"
            yield TestResult(file, f"{title}: {test['description']}", verdict, reason=str(error))
        return
    for test in group["tests"]:
        value, valid = test["data"], test["valid"]
        matcher = compiled.matcher()
        accepted = matcher.take(canonical(value)) is not None and matcher.is_accepting
        if not accepted and valid and KeyOrders(compiled.matcher(), compiled.schema).accepts(value):
            verdict = "key order"
        elif accepted == valid:
            verdict = "right"
        else:
            verdict = "valid rejected" if valid else "invalid accepted"
        returned = accepted and not valid and _validates(group["schema"], registry, value)
        yield TestResult(
            file,
            f"{title}: {test['description']}",
            verdict,
            returned=returned,
            relaxed=bool(compiled.residual),
            reason=", ".join(
                f"{keyword} at {where or '(root)'}" for where, keyword in compiled.residual
            ),
        )


def _validates(schema: Any, registry: Registry[Any], value: Any) -> bool:
    try:
        dialect = JsonSchema.trusted(schema).dialect
    except SchemaError:
        return True
    return validator_class(dialect)(schema, registry=registry).is_valid(value)
