"""Whether two conjunctions are proved to have no value in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gemma_structured.schema.normalize.kinds import value_key
from gemma_structured.schema.normalize.lengths import is_empty

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gemma_structured.schema.normalize.evaluate import Evaluator
    from gemma_structured.schema.normalize.node import Conj
    from gemma_structured.schema.normalize.shape import Shape

__all__ = ["Disjointness"]

_MAX_DEPTH: Final = 6
_MAX_PAIRS: Final = 400


class Disjointness:
    """Proofs, each made once.

    Args:
        shapes: The shapes whose union a conjunction is; `None` where they are not known.
        evaluator: Tells whether listed values satisfy the other side.
    """

    def __init__(
        self, shapes: Callable[[Conj], Sequence[Shape] | None], evaluator: Evaluator
    ) -> None:
        self._shapes = shapes
        self._evaluator = evaluator
        self._known: dict[tuple[tuple[int, ...], tuple[int, ...]], bool] = {}
        self._kept: list[Conj] = []

    def of(self, one: Conj, two: Conj, depth: int = 0) -> bool:
        """Whether it is proved that no value satisfies both."""
        if False in one or False in two:
            return True
        if not one or not two or depth > _MAX_DEPTH:
            return False
        key = (tuple(map(id, one)), tuple(map(id, two)))
        if key not in self._known:
            self._kept += [one, two]  # so that their identities are not given to others
            self._known[key] = False  # what a recursion finds on its way back
            self._known[key] = self._prove(one, two, depth)
        return self._known[key]

    def _prove(self, one: Conj, two: Conj, depth: int) -> bool:
        left, right = self._shapes(one), self._shapes(two)
        if left is None or right is None or len(left) * len(right) > _MAX_PAIRS:
            return False
        return all(self._apart(a, b, depth) for a in left for b in right)

    def _apart(self, one: Shape, two: Shape, depth: int) -> bool:
        common = one.types & two.types
        if one.values is not None and two.values is not None:
            keys = {value_key(value) for value in one.values}
            return all(value_key(value) not in keys for value in two.values)
        for listed, other in ((one, two), (two, one)):
            if listed.values is not None:
                return all(
                    any(self._evaluator.admits(node, value) is False for node in other.conj)
                    for value in listed.values
                )
        if common & {"null", "boolean"}:
            return False
        if "integer" in common and not one.numbers.meet(two.numbers).integers().is_empty:
            return False
        if "fraction" in common and not one.numbers.meet(two.numbers).is_empty:
            return False
        return (
            ("string" not in common or self._strings(one, two))
            and ("array" not in common or self._arrays(one, two, depth))
            and ("object" not in common or self._objects(one, two, depth))
        )

    def _strings(self, one: Shape, two: Shape) -> bool:
        return is_empty(one.strings.meet(two.strings))

    def _arrays(self, one: Shape, two: Shape, depth: int) -> bool:
        both = max(one.arrays.least, two.arrays.least)
        most = [a.most for a in (one.arrays, two.arrays) if a.most is not None]
        if most and both > min(most):
            return True
        known = max(len(one.arrays.prefix), len(two.arrays.prefix)) + 1
        return any(
            self.of(one.arrays.item(i), two.arrays.item(i), depth + 1)
            for i in range(min(both, known))
        )

    def _objects(self, one: Shape, two: Shape, depth: int) -> bool:
        required = dict.fromkeys((*one.objects.required, *two.objects.required))
        most = [o.most for o in (one.objects, two.objects) if o.most is not None]
        if most and len(required) > min(most):
            return True
        return any(
            self.of(one.objects.value(name), two.objects.value(name), depth + 1)
            for name in required
        )
