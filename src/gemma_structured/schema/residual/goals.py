"""What must still hold of an object or array that is being written.

Conjuncts hold in any case. Of alternatives one must: each member that closes may rule some out, and
when none is left, that member cannot stand.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from gemma_structured.schema.equality import instance_key
from gemma_structured.schema.residual.applied import branches, conjuncts, member_schemas
from gemma_structured.schema.residual.places import MAX_BRANCHES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jsonschema.protocols import Validator

    from gemma_structured.schema.dialect import Dialect
    from gemma_structured.schema.residual.places import Places
    from gemma_structured.types import JsonValue

__all__ = ["Goal", "Step", "holds"]

Step = str | int
"""A key of an object, or an index of an array."""


def holds(validator: Validator, value: JsonValue) -> bool:
    """Whether a value is valid; what nests too deeply to be checked is left to validation."""
    try:
        return validator.is_valid(cast("Any", value))
    except RecursionError:
        return True


def schema_of(validator: Validator) -> JsonValue:
    """The schema that a validator validates against."""
    return cast("JsonValue", validator.schema)


@dataclass(slots=True)
class _Conjunct:
    """A schema that must hold of a container, and what it has seen of the container's members.

    Attributes:
        unique: Whether the items of the container are to differ.
    """

    validator: Validator
    dialect: Dialect
    unique: bool = field(init=False)
    _seen: set[str] = field(default_factory=set[str])
    _members: dict[Step, list[Validator]] = field(default_factory=dict[Step, Any])

    def __post_init__(self) -> None:
        schema = schema_of(self.validator)
        self.unique = isinstance(schema, dict) and schema.get("uniqueItems") is True

    def fits(self, step: Step) -> bool:
        """Whether a container with such a member may be what the schema wants."""
        schema = schema_of(self.validator)
        if not isinstance(schema, dict):
            return schema is not False
        kind = "array" if isinstance(step, int) else "object"
        types = schema.get("type", kind)
        named = types if isinstance(types, list) else [types]
        if not any(each in {kind, "any"} or not isinstance(each, str) for each in named):
            return False
        values = schema.get("enum", [schema["const"]] if "const" in schema else None)
        wanted = list if isinstance(step, int) else dict
        return not isinstance(values, list) or any(isinstance(each, wanted) for each in values)

    def members(self, step: Step) -> list[Validator]:
        """The schemas of a member."""
        found = self._members.get(step)
        if found is None:
            found = self._members[step] = member_schemas(self.validator, step, self.dialect)
        return found

    def repeats(self, step: Step, value: JsonValue) -> bool:
        """Whether the items are to differ, and this one has been there."""
        if not self.unique or not isinstance(step, int):
            return False
        key = instance_key(value)
        if key in self._seen:
            return True
        self._seen.add(key)
        return False


@dataclass(slots=True)
class Goal:
    """What must hold of a container.

    Attributes:
        conjuncts: Schemas that all must hold.
        choices: For each, the alternatives that are left.
        is_concerned: Whether there is something to check in it.
    """

    places: Places
    dialect: Dialect
    conjuncts: list[_Conjunct] = field(default_factory=list[_Conjunct])
    choices: list[list[Goal]] = field(default_factory=list["list[Goal]"])
    is_concerned: bool = False

    @classmethod
    def of(
        cls,
        validators: Iterable[Validator],
        places: Places,
        dialect: Dialect,
        *,
        entirely: bool = False,
    ) -> Goal:
        """What some schemas want of a container.

        Args:
            validators: The schemas.
            places: Where there is something to check.
            dialect: The draft.
            entirely: Whether those schemas count in which there is nothing to check, too: they are
                of one of several alternatives, and may rule it out.
        """
        goal = cls(places, dialect)
        for validator in validators:
            concerned = places.below(schema_of(validator))
            goal.is_concerned = goal.is_concerned or concerned
            if entirely or concerned:
                for each in conjuncts(validator, dialect):
                    goal.conjuncts.append(_Conjunct(each, dialect))
                    goal._add_choices(each)
        return goal

    def _add_choices(self, validator: Validator) -> None:
        for options in branches(validator, self.dialect):
            if len(options) > MAX_BRANCHES:
                continue
            if any(self.places.below(schema_of(option)) for option in options):
                self.choices.append(
                    [Goal.of([o], self.places, self.dialect, entirely=True) for o in options]
                )

    @property
    def says_nothing(self) -> bool:
        """Whether any container will do."""
        return not (self.conjuncts or self.choices)

    def checks(self, step: Step) -> bool:
        """Whether a member is looked at when it closes."""
        if self.choices:
            return True
        return any(
            (each.unique and isinstance(step, int))
            or any(self.places.here(schema_of(member)) for member in each.members(step))
            for each in self.conjuncts
        )

    def must_differ(self, step: Step) -> bool:
        """Whether a member may equal no other one: an item of an array of unique items."""
        if any(each.unique and isinstance(step, int) for each in self.conjuncts):
            return True
        return any(
            bool(options) and all(each.must_differ(step) for each in options)
            for options in (_fitting(each, step) for each in self.choices)
        )

    def close(
        self, step: Step, value: JsonValue, *, entirely: bool = False, known: bool = False
    ) -> bool:
        """A member is complete; say whether it can stand.

        Args:
            step: Its key or index.
            value: The member.
            entirely: Whether what the mask enforces in any other case is checked too, since this is
                one of several alternatives.
            known: Whether the member was found to stand before.
        """
        for each in self.conjuncts:
            if each.repeats(step, value) or (entirely and not each.fits(step)):
                return False
            for member in () if known else each.members(step):
                wanted = entirely or self.places.here(schema_of(member))
                if wanted and not holds(member, value):
                    return False
        for options in self.choices:
            options[:] = [each for each in options if each.close(step, value, entirely=True)]
            if not options:
                return False
        return True

    def member(self, step: Step, *, entirely: bool = False) -> Goal:
        """What must hold of a member that is a container itself."""
        applied = [member for each in self.conjuncts for member in each.members(step)]
        goal = Goal.of(applied, self.places, self.dialect, entirely=entirely)
        for options in self.choices:
            below = [each.member(step, entirely=True) for each in _fitting(options, step)]
            if any(each.is_concerned for each in below) and not any(e.says_nothing for e in below):
                goal.choices.append(below)
                goal.is_concerned = True
        return goal


def _fitting(options: list[Goal], step: Step) -> list[Goal]:
    """The alternatives that are of a container with such a member."""
    return [each for each in options if all(c.fits(step) for c in each.conjuncts)]
