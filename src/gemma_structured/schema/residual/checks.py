"""`ResidualChecks`: what the mask cannot hold of a schema, checked value by value."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemma_structured.schema.residual.goals import Goal, Step, holds, schema_of
from gemma_structured.schema.residual.places import Places
from gemma_structured.schema.validator import compile_validator

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jsonschema.protocols import Validator

    from gemma_structured.schema.dialect import Dialect
    from gemma_structured.schema.json_schema import JsonSchema
    from gemma_structured.types import JsonValue

__all__ = ["ResidualChecks", "ResidualFollower"]

Path = tuple[Step, ...]


class ResidualChecks:
    """The residual keywords of a schema, each with the values that it concerns. Immutable.

    A refusal always follows from the schema: no valid answer has the refused value at its place
    after the members that were complete before it. What is not found out so is left to validation.

    Args:
        schema: The schema as it was given.
        residual: Its residual keywords, as `normalize` names them.
    """

    def __init__(self, schema: JsonSchema, residual: Iterable[tuple[str, str]]) -> None:
        self.dialect: Dialect = schema.dialect
        self.root: Validator = compile_validator(schema)
        self.places = Places(self.root, schema.dialect, residual)

    @classmethod
    def of(cls, schema: JsonSchema, residual: Iterable[tuple[str, str]]) -> ResidualChecks | None:
        """The checks of a schema; `None` if the mask holds all of it."""
        residual = tuple(residual)
        return cls(schema, residual) if residual else None

    def follow(self) -> ResidualFollower:
        """Follow one value while it is being written."""
        return ResidualFollower(self)


class ResidualFollower:
    """Follows one value: is told what closes, children before their parents, and judges it."""

    def __init__(self, checks: ResidualChecks) -> None:
        self._root = checks.root
        self._checks_root = checks.places.here(schema_of(checks.root))
        goal = Goal.of([checks.root], checks.places, checks.dialect)
        self._goals: dict[Path, Goal] = {(): goal}

    def is_checked(self, path: Path) -> bool:
        """Whether the value at a path, which is being written, is looked at when it closes."""
        return self._goal(path[:-1]).checks(path[-1]) if path else self._checks_root

    def must_differ(self, path: Path) -> bool:
        """Whether the value at a path, which has just closed, may equal no other in its array."""
        return bool(path) and self._goal(path[:-1]).must_differ(path[-1])

    def close(self, path: Path, value: JsonValue, *, known: bool = False) -> bool:
        """A value is complete; say whether it can stand.

        Args:
            path: Where it is.
            value: What it is.
            known: Whether it was found to stand before, so that only what later values are
                compared with is noted.
        """
        if path:
            self._goals.pop(path, None)
            return self._goal(path[:-1]).close(path[-1], value, known=known)
        return known or not self._checks_root or holds(self._root, value)

    def _goal(self, path: Path) -> Goal:
        """What must hold of the container at a path, which is open."""
        known = len(path)
        while path[:known] not in self._goals:
            known -= 1
        goal = self._goals[path[:known]]
        for length in range(known + 1, len(path) + 1):
            goal = self._goals[path[:length]] = goal.member(path[length - 1])
        return goal
