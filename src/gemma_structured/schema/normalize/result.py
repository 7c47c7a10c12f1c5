"""What normalising a schema gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from gemma_structured.schema.json_schema import JsonSchema

__all__ = ["Normalized", "Residual"]


class Residual(NamedTuple):
    """A keyword that the mask cannot enforce (to the full), so that validation checks it.

    Attributes:
        pointer: The subschema that holds it, as a JSON Pointer into the *original* schema.
        keyword: The keyword.
    """

    pointer: str
    keyword: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Normalized:
    """A schema that a grammar can enforce, and what of the original it does not say.

    An instance is valid under the original schema if, and only if, it is valid under `schema` and
    satisfies every residual keyword.

    Attributes:
        schema: The rewritten schema.
        residual: What only validation can check, in the order of the original schema.
        unsatisfiable: JSON Pointers of subschemas of the original that nothing satisfies.
        warnings: Things that a person would want to know, one sentence each.
    """

    schema: JsonSchema
    residual: tuple[Residual, ...] = ()
    unsatisfiable: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def exact(self) -> bool:
        """Whether the rewritten schema says all that the original says."""
        return not self.residual
