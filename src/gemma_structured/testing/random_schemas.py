"""Random JSON Schemas of any draft, and random values that such schemas are about.

Both are made of few names, texts and numbers, so that schemas and values meet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gemma_structured.schema.dialect import find_dialect

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from gemma_structured.types import JsonValue

__all__ = ["DRAFTS", "PATTERNS", "random_schema", "random_value"]

DRAFTS: Final = {
    "draft-04": "http://json-schema.org/draft-04/schema#",
    "draft-06": "http://json-schema.org/draft-06/schema#",
    "draft-07": "http://json-schema.org/draft-07/schema#",
    "2019-09": "https://json-schema.org/draft/2019-09/schema",
    "2020-12": "https://json-schema.org/draft/2020-12/schema",
}
"""By a draft's name, its `$schema`."""

PATTERNS: Final = {
    "^a": "^a",
    "b$": r"b(?![\s\S])",
    "^.{2,}$": r"^[^\n\r\u2028\u2029]{2,}(?![\s\S])",
    "^(?!a)": "^(?!a)",
    "^[a-c]+$": r"^[a-c]+(?![\s\S])",
    "^(a|b)?c*$": r"^(a|b)?c*(?![\s\S])",
    "[0-9]": "[0-9]",
    "^$": r"^(?![\s\S])",
}
"""Patterns of ECMA-262, and what Python's `re` calls the same."""

_NAMES: Final = ("a", "b", "ab", "c", "kind")
_TEXTS: Final = ("", "a", "b", "ab", "abc", "ba", "c", "x1", "é", "🙂", "2020-02-29", "cat", "dog")
_NUMBERS: Final = (0, 1, 2, 3, 5, 10, -1, 1.5, 2.5, 0.25, -0.5, 100, 1.0)
_TYPES: Final = ("null", "boolean", "integer", "number", "string", "array", "object")
_FORMATS: Final = ("date", "ipv4", "email", "uuid", "made-up")
_MAX_DEPTH: Final = 3


def random_value(rng: random.Random, depth: int = 0) -> JsonValue:
    """A small JSON value."""
    kind = rng.random() * (1.0 if depth < _MAX_DEPTH else 0.6)
    if kind < 0.1:  # noqa: PLR2004 - shares
        return rng.choice([None, True, False])
    if kind < 0.35:  # noqa: PLR2004
        return rng.choice(_NUMBERS)
    if kind < 0.6:  # noqa: PLR2004
        return rng.choice(_TEXTS)
    if kind < 0.78:  # noqa: PLR2004
        return [random_value(rng, depth + 1) for _ in range(rng.randrange(4))]
    names = rng.sample(_NAMES, rng.randrange(4))
    return {name: random_value(rng, depth + 1) for name in names}


def random_schema(rng: random.Random, draft: str = "2020-12") -> dict[str, Any]:
    """A schema with definitions that it may refer to, and that may refer to each other.

    Args:
        rng: Of all choices.
        draft: Whose keywords it has, by a name in `DRAFTS`.
    """
    maker = _Maker(rng, draft)
    definitions = {name: maker.schema(1) for name in ("one", "two")}
    schema = maker.schema(0)
    if not isinstance(schema, dict):
        schema = {"allOf": [schema]} if draft != "draft-04" else {}
    return {"$schema": DRAFTS[draft], **schema, maker.definitions: definitions}


class _Maker:
    """Makes the schemas of one draft."""

    def __init__(self, rng: random.Random, draft: str) -> None:
        dialect = find_dialect(DRAFTS[draft])
        assert dialect is not None
        self.rng, self.draft = rng, draft
        self.known = dialect.validator_class.VALIDATORS.keys() | {"then", "else"}
        self.known |= {"minContains", "maxContains"} if "minContains" in self.known else set()
        self.new_arrays = draft == "2020-12"
        self.definitions = "$defs" if draft in {"2019-09", "2020-12"} else "definitions"

    def schema(self, depth: int) -> Any:
        if depth >= _MAX_DEPTH or self.rng.random() < 0.08 * depth:
            return self.leaf()
        makers = self.rng.sample(_GROUPS, self.rng.choice([1, 1, 2, 2, 3]))
        made: dict[str, Any] = {}
        for maker in makers:
            made |= maker(self, depth + 1)
        if self.definitions == "definitions" and "$ref" in made:
            return {"$ref": made["$ref"]}
        return {key: value for key, value in made.items() if key in self.known}

    def leaf(self) -> Any:
        options: list[Any] = [{"type": self.rng.choice(_TYPES)}, {"enum": self.values()}, {}]
        if self.draft != "draft-04":
            options += [True, False, {"const": random_value(self.rng, 2)}]
        return self.rng.choice(options)

    def values(self) -> list[JsonValue]:
        found: list[JsonValue] = []
        for _ in range(self.rng.randint(1, 4)):
            value = random_value(self.rng, 2)
            if value not in found:
                found.append(value)
        return found

    def some(self, depth: int) -> list[Any]:
        return [self.schema(depth) for _ in range(self.rng.randint(1, 3))]

    def members(self, depth: int) -> dict[str, Any]:
        names = self.rng.sample(_NAMES, self.rng.randint(1, 3))
        return {name: self.schema(depth) for name in names}

    def count(self) -> int:
        return self.rng.randrange(4)

    def maybe(self, **made: Callable[[], Any]) -> dict[str, Any]:
        """Some of the keywords, at least one."""
        kept = [key for key in made if self.rng.random() < 0.5] or [self.rng.choice(list(made))]  # noqa: PLR2004
        return {key.rstrip("_"): made[key]() for key in kept}


def _type(m: _Maker, _depth: int) -> dict[str, Any]:
    several = m.rng.sample(_TYPES, m.rng.randint(1, 3))
    return {"type": several[0] if len(several) == 1 else several}


def _listed(m: _Maker, _depth: int) -> dict[str, Any]:
    return m.maybe(enum=m.values, const=lambda: random_value(m.rng, 2))


def _number(m: _Maker, _depth: int) -> dict[str, Any]:
    pick = lambda: m.rng.choice(_NUMBERS)  # noqa: E731
    if m.draft == "draft-04":
        made = {"minimum": m.rng.choice(_NUMBERS), "maximum": m.rng.choice(_NUMBERS)}
        return made | {"exclusiveMinimum": m.rng.random() < 0.5}  # noqa: PLR2004
    step = lambda: m.rng.choice([1, 2, 3, 0.5, 0.25, 10, 2.0])  # noqa: E731
    made = m.maybe(minimum=pick, exclusiveMaximum=pick, multipleOf=step)
    if m.rng.random() < 0.3:  # noqa: PLR2004
        made = m.maybe(exclusiveMinimum=pick, maximum=pick, multipleOf=step)
    return {"type": m.rng.choice(["number", "integer"]), **made}


def _text(m: _Maker, _depth: int) -> dict[str, Any]:
    made = m.maybe(
        minLength=m.count, maxLength=m.count, pattern=lambda: m.rng.choice(list(PATTERNS))
    )
    if m.rng.random() < 0.15:  # noqa: PLR2004
        made = {"format": m.rng.choice(_FORMATS)}
    return {"type": "string", **made} if m.rng.random() < 0.5 else made  # noqa: PLR2004


def _array(m: _Maker, depth: int) -> dict[str, Any]:
    made = m.maybe(
        items=lambda: m.schema(depth),
        prefixItems=lambda: m.some(depth),
        minItems=m.count,
        maxItems=m.count,
        contains=lambda: m.schema(depth),
        minContains=m.count,
        maxContains=m.count,
        uniqueItems=lambda: m.rng.random() < 0.8,  # noqa: PLR2004
    )
    if not m.new_arrays and "prefixItems" in made:
        rest = made.pop("items", None)
        made["items"] = made.pop("prefixItems")
        if rest is not None:
            made["additionalItems"] = rest
    return {"type": "array", **made} if m.rng.random() < 0.6 else made  # noqa: PLR2004


def _object(m: _Maker, depth: int) -> dict[str, Any]:
    closed = lambda: m.rng.choice([False, False, True, m.schema(depth)])  # noqa: E731
    made = m.maybe(
        properties=lambda: m.members(depth),
        required=lambda: m.rng.sample(_NAMES, m.rng.randint(1, 2)),
        additionalProperties=closed,
        patternProperties=lambda: {m.rng.choice(list(PATTERNS)): m.schema(depth)},
    )
    return {"type": "object", **made} if m.rng.random() < 0.6 else made  # noqa: PLR2004


def _counted(m: _Maker, depth: int) -> dict[str, Any]:
    return m.maybe(
        propertyNames=lambda: m.schema(depth),
        minProperties=m.count,
        maxProperties=m.count,
        properties=lambda: m.members(depth),
    )


def _dependent(m: _Maker, depth: int) -> dict[str, Any]:
    name, needed = m.rng.sample(_NAMES, 2)
    return m.maybe(
        dependentRequired=lambda: {name: [needed]},
        dependentSchemas=lambda: {name: m.schema(depth)},
        dependencies=lambda: {name: m.rng.choice([[needed], m.schema(depth)])},
    )


def _unevaluated(m: _Maker, depth: int) -> dict[str, Any]:
    return m.maybe(
        unevaluatedProperties=lambda: m.rng.choice([False, m.schema(depth)]),
        unevaluatedItems=lambda: m.rng.choice([False, m.schema(depth)]),
        properties=lambda: m.members(depth),
    )


def _tagged(m: _Maker, depth: int) -> dict[str, Any]:
    """A discriminated union, as generators of schemas write it."""
    tags = m.rng.sample(["cat", "dog", "ab"], 2)
    options = [
        {
            "type": "object",
            "properties": {"kind": {"enum": [tag]}, **m.members(depth)},
            "required": ["kind"],
            "additionalProperties": m.rng.choice([False, True]),
        }
        for tag in tags
    ]
    if m.draft == "draft-04":
        for option in options:
            option.pop("additionalProperties")
    return {m.rng.choice(["oneOf", "anyOf"]): options}


def _condition(m: _Maker, depth: int) -> dict[str, Any]:
    made = m.maybe(then=lambda: m.schema(depth), else_=lambda: m.schema(depth))
    return {"if": m.schema(depth), **made}


def _reference(m: _Maker, _depth: int) -> dict[str, Any]:
    return {"$ref": f"#/{m.definitions}/{m.rng.choice(['one', 'two'])}"}


_GROUPS: Final[list[Callable[[_Maker, int], dict[str, Any]]]] = [
    _type,
    _listed,
    _number,
    _text,
    _array,
    _object,
    _object,
    _counted,
    _dependent,
    _unevaluated,
    _tagged,
    _condition,
    _reference,
    lambda m, depth: {"allOf": m.some(depth)},
    lambda m, depth: {"anyOf": m.some(depth)},
    lambda m, depth: {"oneOf": m.some(depth)},
    lambda m, depth: {"not": m.schema(depth)},
]
