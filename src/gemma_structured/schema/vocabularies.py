"""Metaschemas of one's own: a draft without the vocabularies that they do not name.

https://json-schema.org/draft/2020-12/json-schema-core#section-8.1.2
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from jsonschema.validators import create
from jsonschema_specifications import REGISTRY  # type: ignore[import-untyped]
from referencing.exceptions import NoSuchResource

from gemma_structured.exceptions import SchemaError
from gemma_structured.schema.dialect import Dialect, find_dialect

if TYPE_CHECKING:
    from referencing import Registry

__all__ = ["custom_dialect"]

_OPTIONAL: Final = ("applicator", "validation", "unevaluated")
"""The vocabularies whose keywords say something that is validated."""


def custom_dialect(uri: str, registry: Registry[Any] | None) -> Dialect | None:
    """The dialect of a metaschema that a registry holds; `None` if it holds none of that name.

    Raises:
        SchemaError: The metaschema requires a vocabulary that nobody knows.
    """
    try:
        metaschema = None if registry is None else registry.contents(uri)
    except NoSuchResource:
        return None
    if not isinstance(metaschema, dict):
        return None
    named = metaschema.get("$schema")
    base = find_dialect(named) if isinstance(named, str) else None
    if base is None:
        return None
    vocabularies = metaschema.get("$vocabulary")
    if not isinstance(vocabularies, dict):
        return base
    root = f"https://json-schema.org/draft/{base.name}"
    for name, required in vocabularies.items():
        if required and not name.startswith(f"{root}/vocab/"):
            raise SchemaError(
                f"Its metaschema requires the vocabulary {name!r:.200}, which is not known.",
                path="/$schema",
                keyword="$vocabulary",
                hint="Set it to false in the metaschema, or name a known draft.",
            )
    absent = [part for part in _OPTIONAL if f"{root}/vocab/{part}" not in vocabularies]
    return _without(base, tuple(absent))


@lru_cache(maxsize=32)
def _without(base: Dialect, absent: tuple[str, ...]) -> Dialect:
    """A draft without some vocabularies: the same object for the same ones."""
    keywords: set[str] = set()
    for part in absent:
        uri = f"https://json-schema.org/draft/{base.name}/meta/{part}"
        if uri in REGISTRY:  # 2019-09 counts `unevaluated…` among the applicators
            metaschema: Any = REGISTRY.contents(uri)
            keywords |= metaschema["properties"].keys()
    if not keywords:
        return base
    whole: Any = base.validator_class
    kept = {name: check for name, check in whole.VALIDATORS.items() if name not in keywords}
    reduced = create(
        meta_schema=whole.META_SCHEMA,
        validators=kept,
        type_checker=whole.TYPE_CHECKER,
        format_checker=whole.FORMAT_CHECKER,
        id_of=whole.ID_OF,
    )
    return replace(base, name=f"{base.name} without {', '.join(absent)}", validator_class=reduced)
