"""What a person might want to change in a schema: advice, not errors."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final, NamedTuple

from gemma_structured.schema.formats import format_checker
from gemma_structured.schema.normalize.passes.marks import MARKS
from gemma_structured.types import JsonValue, pointer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gemma_structured.schema.json_schema import JsonSchema, Path

__all__ = ["Advice", "advise"]


class Advice(NamedTuple):
    """A piece of advice.

    Attributes:
        pointer: The subschema that it is about, as a JSON Pointer.
        message: What could be better, and how.
    """

    pointer: str
    message: str


_ANSWERS: Final = frozenset(
    [
        "answer",
        "class",
        "classification",
        "conclusion",
        "decision",
        "final_answer",
        "label",
        "rating",
        "result",
        "score",
        "sentiment",
        "verdict",
    ]
)
_REASONS: Final = frozenset(
    [
        "analysis",
        "chain_of_thought",
        "explanation",
        "justification",
        "rationale",
        "reason",
        "reasoning",
        "steps",
        "thought",
        "thoughts",
        "why",
    ]
)
_NAMELESS: Final = re.compile(
    r"[a-zA-Z]\d*|(?:arg|attr|bar|baz|col|data|field|foo|item|key|obj|param|prop|temp|tmp|val|value"
    r"|var)_?\d*"
)
_NAMED: Final = 3
_HELD: Final = frozenset({"maxLength", "pattern", "enum", "const", "format"})
_ANNOTATIONS: Final = frozenset(
    [
        "$anchor",
        "$comment",
        "$defs",
        "$dynamicAnchor",
        "$id",
        "$recursiveAnchor",
        "$schema",
        "$vocabulary",
        "additionalItems",
        "contentEncoding",
        "contentMediaType",
        "contentSchema",
        "default",
        "definitions",
        "deprecated",
        "description",
        "discriminator",
        "else",
        "examples",
        "id",
        "maxContains",
        "minContains",
        "nullable",
        "readOnly",
        "then",
        "title",
        "writeOnly",
        "xml",
        "externalDocs",
        "example",
    ]
)


def advise(schema: JsonSchema) -> tuple[Advice, ...]:
    """Advice on a schema, in the order of its parts."""
    found: dict[Advice, None] = {}
    for path, node in schema.walk():
        if isinstance(node, dict):
            for message in _messages(path, node, schema):
                found[Advice(pointer(path), message)] = None
    return tuple(found)


def _messages(path: Path, node: dict[str, JsonValue], schema: JsonSchema) -> Iterator[str]:
    yield from _keywords(node, schema)
    types = node.get("type")
    if types == "string" and _HELD.isdisjoint(node) and MARKS.isdisjoint(node):
        yield "a string without a bound of its own: give it a maxLength that fits"
    if types == "array" and "maxItems" not in node:
        yield "an array without maxItems: give it one that fits"
    properties = node.get("properties")
    if isinstance(properties, dict):
        yield from _order(list(properties))
        yield from _names(properties)
        yield from _optional(properties, node.get("required"), is_object=types == "object")
        if node.get("additionalProperties", True) is True and "patternProperties" not in node:
            yield "an open object: the model may add keys; close it with additionalProperties false"
    elif types == "object" and not path and set(node) <= {"type", "$schema", "title"}:
        yield "an object of which nothing is said: list its properties"


def _keywords(node: dict[str, JsonValue], schema: JsonSchema) -> Iterator[str]:
    known = schema.dialect.validator_class.VALIDATORS.keys() | _ANNOTATIONS
    for keyword in node.keys() - known:
        near = get_close_matches(keyword, known, n=1, cutoff=0.8)
        if near:
            yield f"the unknown keyword {keyword!r} says nothing: did you mean {near[0]!r}?"
    name = node.get("format")
    if isinstance(name, str):
        checked = format_checker(schema.dialect).checkers
        near = get_close_matches(name, checked, n=1, cutoff=0.8)
        if name not in checked and near:
            yield f"the format {name!r} is an annotation only: did you mean {near[0]!r}?"


def _order(names: list[str]) -> Iterator[str]:
    """A model that gives its answer first reasons towards what it has already said."""
    answers = [index for index, name in enumerate(names) if _words(name) in _ANSWERS]
    reasons = [index for index, name in enumerate(names) if _words(name) in _REASONS]
    if answers and reasons and min(answers) < min(reasons):
        answer, reason = names[min(answers)], names[min(reasons)]
        yield f"{answer!r} comes before {reason!r}: let the model reason first, then answer"


def _words(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower().replace("-", "_")


def _names(properties: dict[str, JsonValue]) -> Iterator[str]:
    for name, child in properties.items():
        described = isinstance(child, dict) and "description" in child
        if _NAMELESS.fullmatch(name) and not described:
            yield f"the name {name!r} tells the model nothing: rename or describe it"


def _optional(
    properties: dict[str, JsonValue], required: JsonValue, *, is_object: bool
) -> Iterator[str]:
    """What may be left out is: a null that must be written is thought about."""
    needed = required if isinstance(required, list) else []
    optional = [
        (name, child)
        for name, child in properties.items()
        if name not in needed and isinstance(child, dict)
    ]
    for name, child in optional:
        if _admits_null(child):
            yield (
                f"{name!r} may be null and may be left out: require it, so that the model has to "
                "say that there is none"
            )
    absent = [
        repr(n) for n, child in optional if "default" not in child and not _admits_null(child)
    ]
    if absent and is_object:  # and no mere condition on one
        more = f" and {len(absent) - _NAMED} more" if len(absent) > _NAMED else ""
        yield (
            f"{', '.join(absent[:_NAMED])}{more} may be left out: where a document may have none, "
            "require it and allow null, so that the model has to say so"
        )


def _admits_null(node: dict[str, JsonValue]) -> bool:
    types, options = node.get("type"), node.get("anyOf")
    if types == "null" or (isinstance(types, list) and "null" in types):
        return True
    return isinstance(options, list) and any(
        isinstance(option, dict) and option.get("type") == "null" for option in options
    )
