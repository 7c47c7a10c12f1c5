"""The JSON Schema of a Python type: what a model is asked to write for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaWarningKind

from gemma_structured.exceptions import SchemaError

if TYPE_CHECKING:
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import core_schema

__all__ = ["TypeSchemaGenerator"]


class TypeSchemaGenerator(GenerateJsonSchema):
    """Pydantic's schema of a type's input, with closed objects and nothing skipped in silence."""

    ignored_warning_kinds = {"non-serializable-default"}  # noqa: RUF012 - Pydantic's declaration

    def emit_warning(self, kind: JsonSchemaWarningKind, detail: str) -> None:
        """Refuse to leave a member of a union out; Pydantic only warns."""
        if kind not in self.ignored_warning_kinds:
            raise SchemaError(f"A part of the type has no JSON Schema: {detail:.200}.")

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        """Close models without `extra="allow"`."""
        return _closed(super().model_schema(schema))

    def typed_dict_schema(self, schema: core_schema.TypedDictSchema) -> JsonSchemaValue:
        """Close TypedDicts without `extra="allow"`."""
        return _closed(super().typed_dict_schema(schema))

    def dataclass_schema(self, schema: core_schema.DataclassSchema) -> JsonSchemaValue:
        """Close dataclasses without `extra="allow"`."""
        return _closed(super().dataclass_schema(schema))


def _closed(schema: JsonSchemaValue) -> JsonSchemaValue:
    if schema.get("type") == "object" and "additionalProperties" not in schema:
        schema["additionalProperties"] = False
    return schema
