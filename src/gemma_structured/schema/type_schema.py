"""The JSON Schema of a Python type: what a model is asked to write for it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaWarningKind

from gemma_structured.exceptions import SchemaError
from gemma_structured.schema import type_patterns
from gemma_structured.schema.decimal_schema import decimal_schema
from gemma_structured.schema.json_schema import JsonSchema, Path, Schema
from gemma_structured.schema.key_schema import key_schema

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from pydantic.json_schema import JsonSchemaMode, JsonSchemaValue
    from pydantic_core import core_schema

__all__ = ["TypeSchemaGenerator"]


class TypeSchemaGenerator(GenerateJsonSchema):
    """Pydantic's schema of a type's input, made exact.

    What differs from `TypeAdapter.json_schema(mode="validation")`:

    - Objects are closed unless `extra="allow"`; an `init=False` field is not asked for.
    - Nothing is left out in silence: a union member without a schema is an error.
    - Dates, times, durations, decimals, web addresses and keys of mappings are asked for as
      Pydantic reads them, which JSON Schema's own formats do not say (see `type_patterns`).
    - A set is an array: what is written twice counts once, as in Python.
    """

    ignored_warning_kinds = {"non-serializable-default"}  # noqa: RUF012 - Pydantic's declaration

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._by_name: list[bool] = [False]
        self._core: dict[str, core_schema.CoreSchema] = {}

    def emit_warning(self, kind: JsonSchemaWarningKind, detail: str) -> None:
        """Refuse to leave a member of a union out; Pydantic only warns."""
        if kind not in self.ignored_warning_kinds:
            raise SchemaError(f"A part of the type has no JSON Schema: {detail:.200}.")

    def generate(
        self, schema: core_schema.CoreSchema, mode: JsonSchemaMode = "validation"
    ) -> JsonSchemaValue:
        """Say what Pydantic's own formats mean in keywords that JSON Schema knows."""

        def translate(_: Path, node: Schema) -> Schema:
            if isinstance(node, dict) and node.get("format") in type_patterns.FORMATS:
                known = type_patterns.FORMATS[str(node["format"])]
                return {key: value for key, value in node.items() if key != "format"} | known
            return node

        value = JsonSchema.trusted(super().generate(schema, mode)).transform(translate).value
        return value if isinstance(value, dict) else {"not": {}}

    def generate_inner(self, schema: Any) -> JsonSchemaValue:
        """Anchor the patterns of outlines' types, which mean the whole string."""
        generated = super().generate_inner(schema)
        metadata = schema.get("metadata", {})
        functions = [
            *metadata.get("pydantic_js_functions", ()),
            *metadata.get("pydantic_js_annotation_functions", ()),
        ]
        if "pattern" in generated and any(map(_is_of_outlines, functions)):
            return {**generated, "pattern": f"^(?:{generated['pattern']})$"}
        return generated

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        """Close models without `extra="allow"`."""
        config = getattr(schema["cls"], "model_config", {})
        with self._reading_by_name(config):
            return _closed(super().model_schema(schema))

    def typed_dict_schema(self, schema: core_schema.TypedDictSchema) -> JsonSchemaValue:
        """Close TypedDicts without `extra="allow"`."""
        config = getattr(schema.get("cls"), "__pydantic_config__", {})
        with self._reading_by_name(config):
            return _closed(super().typed_dict_schema(schema))

    def dataclass_schema(self, schema: core_schema.DataclassSchema) -> JsonSchemaValue:
        """Close dataclasses without `extra="allow"`."""
        config = getattr(schema["cls"], "__pydantic_config__", {})
        with self._reading_by_name(config):
            return _closed(super().dataclass_schema(schema))

    def dataclass_args_schema(self, schema: core_schema.DataclassArgsSchema) -> JsonSchemaValue:
        """Leave fields with `init=False` out: what is written for them is ignored."""
        asked = [field for field in schema["fields"] if field.get("init", True)]
        return super().dataclass_args_schema({**schema, "fields": asked})

    def model_field_schema(self, schema: core_schema.ModelField) -> JsonSchemaValue:
        """Refuse a field that no key of the object can set."""
        self._check_alias(schema)
        return super().model_field_schema(schema)

    def dataclass_field_schema(self, schema: core_schema.DataclassField) -> JsonSchemaValue:
        """Refuse a field that no key of the object can set."""
        self._check_alias(schema)
        return super().dataclass_field_schema(schema)

    def typed_dict_field_schema(self, schema: core_schema.TypedDictField) -> JsonSchemaValue:
        """Refuse a field that no key of the object can set."""
        self._check_alias(schema)
        return super().typed_dict_field_schema(schema)

    def is_subclass_schema(self, schema: core_schema.IsSubclassSchema) -> JsonSchemaValue:
        """Refuse classes: JSON has none."""
        return self.handle_invalid_for_json_schema(schema, "a class (type[...])")

    def set_schema(self, schema: core_schema.SetSchema) -> JsonSchemaValue:
        """An array; what is written twice counts once."""
        return _multiset(super().set_schema(schema))

    def frozenset_schema(self, schema: core_schema.FrozenSetSchema) -> JsonSchemaValue:
        """An array; what is written twice counts once."""
        return _multiset(super().frozenset_schema(schema))

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        """Say what the keys look like, which Pydantic leaves out for all but strings."""
        generated = super().dict_schema(schema)
        keys = schema.get("keys_schema")
        names = {} if keys is None else self._names_of(keys)
        if not names:
            return generated
        patterns: dict[str, Any] = generated.pop("patternProperties", {})
        values = next(iter(patterns.values()), generated.get("additionalProperties", True))
        pattern = names.pop("pattern", None)
        if pattern is not None:
            generated |= {"patternProperties": {pattern: values}, "additionalProperties": False}
        generated.pop("propertyNames", None)
        return {**generated, "propertyNames": names} if names else generated

    def chain_schema(self, schema: core_schema.ChainSchema) -> JsonSchemaValue:
        """Keep the patterns of later steps: how Pydantic adds a pattern to a validated string."""
        generated = super().chain_schema(schema)
        for step in schema["steps"][1:]:
            inner: Any = step.get("schema")
            if step["type"] == "function-wrap" and inner["type"] == "str" and "pattern" in inner:
                later = {"pattern": self.str_schema(inner)["pattern"]}
                generated = {**generated, "allOf": [*generated.get("allOf", []), later]}
        return generated

    def definitions_schema(self, schema: core_schema.DefinitionsSchema) -> JsonSchemaValue:
        """Remember the definitions, so that the class of a key can be looked up."""
        self._core |= {each["ref"]: each for each in schema["definitions"] if "ref" in each}
        return super().definitions_schema(schema)

    def _names_of(self, keys: core_schema.CoreSchema) -> JsonSchemaValue:
        generated = self.generate_inner(keys)
        if "$ref" in generated:
            generated = self.resolve_ref_schema(generated)
        core = keys
        while core["type"] == "definition-ref" and core["schema_ref"] in self._core:
            core = self._core[core["schema_ref"]]
        return key_schema(generated, numbers=core.get("sub_type") in {"int", "float"})

    def decimal_schema(self, schema: core_schema.DecimalSchema) -> JsonSchemaValue:
        """A number with the constraints, or a string where a pattern can hold them."""
        return decimal_schema(schema)

    def date_schema(self, schema: core_schema.DateSchema) -> JsonSchemaValue:
        """A date of Python's calendar."""
        return {**super().date_schema(schema), "pattern": type_patterns.YEAR_IS_NOT_ZERO}

    def datetime_schema(self, schema: core_schema.DatetimeSchema) -> JsonSchemaValue:
        """A date and a time, with an offset as the type demands."""
        return _temporal(type_patterns.DATETIME, schema, "2024-05-31T09:30:00")

    def time_schema(self, schema: core_schema.TimeSchema) -> JsonSchemaValue:
        """A time of day, with an offset as the type demands."""
        return _temporal(type_patterns.TIME, schema, "09:30:00")

    def timedelta_schema(self, schema: core_schema.TimedeltaSchema) -> JsonSchemaValue:
        """A duration of ISO 8601."""
        del schema
        return {
            "type": "string",
            "pattern": f"^{type_patterns.TIMEDELTA}$",
            "examples": ["P3DT4H", "PT90S"],
        }

    def complex_schema(self, schema: core_schema.ComplexSchema) -> JsonSchemaValue:
        """A complex number as Python writes it."""
        return {**super().complex_schema(schema), "pattern": type_patterns.COMPLEX}

    def url_schema(self, schema: core_schema.UrlSchema) -> JsonSchemaValue:
        """A URI; with a host where only web schemes are allowed."""
        generated = super().url_schema(schema)
        schemes = schema.get("allowed_schemes")
        if schemes and set(schemes) <= {"http", "https", "ws", "wss", "ftp"}:
            pattern = type_patterns.http_url(list(schemes))
            kept = {key: value for key, value in generated.items() if key in {"type", "maxLength"}}
            return {**kept, "pattern": pattern, "examples": [f"{schemes[-1]}://example.org/"]}
        return generated

    @contextmanager
    def _reading_by_name(self, config: Mapping[str, Any]) -> Generator[None]:
        names = bool(config.get("validate_by_name") or config.get("populate_by_name"))
        self._by_name.append(names)
        try:
            yield
        finally:
            self._by_name.pop()

    def _check_alias(
        self,
        field: core_schema.ModelField | core_schema.DataclassField | core_schema.TypedDictField,
    ) -> None:
        alias: Any = field.get("validation_alias")
        if not isinstance(alias, list) or self._by_name[-1]:
            return
        paths = alias if alias and isinstance(alias[0], list) else [alias]
        if not any(len(path) == 1 for path in paths):
            raise SchemaError(
                f"The alias path {paths[0]!r:.100} reaches into another object, which a model "
                "cannot be asked for.",
                hint="Give the field an alias that is one key, or set validate_by_name=True.",
            )


def _closed(schema: JsonSchemaValue) -> JsonSchemaValue:
    if schema.get("type") == "object" and "properties" in schema:
        return {**schema, "additionalProperties": schema.get("additionalProperties", False)}
    return schema


def _multiset(schema: JsonSchemaValue) -> JsonSchemaValue:
    return {keyword: value for keyword, value in schema.items() if keyword != "uniqueItems"}


def _temporal(
    pattern: str, schema: core_schema.DatetimeSchema | core_schema.TimeSchema, example: str
) -> JsonSchemaValue:
    constraint = schema.get("tz_constraint")
    if constraint is None:
        offset = f"{type_patterns.OFFSET}?"
    else:
        offset = "" if constraint == "naive" else type_patterns.OFFSET
    shown = example if constraint in {None, "naive"} else f"{example}Z"
    return {"type": "string", "pattern": f"^{pattern}{offset}$", "examples": [shown]}


def _is_of_outlines(function: object) -> bool:
    owner = getattr(function, "__self__", None)
    return type(owner).__module__.startswith("outlines.")
