"""The format checkers of each draft."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jsonschema import FormatChecker

from gemma_structured.exceptions import SchemaError
from gemma_structured.schema.ecma import EcmaRegex

if TYPE_CHECKING:
    from gemma_structured.schema.dialect import Dialect

__all__ = ["format_checker"]


def format_checker(dialect: Dialect) -> FormatChecker:
    """jsonschema's checker for a draft, with ECMA-262 for `regex`."""
    checker = FormatChecker(())
    checker.checkers = dict(dialect.validator_class.FORMAT_CHECKER.checkers)
    checker.checkers["regex"] = (_is_regex, ())
    return checker


def _is_regex(instance: object) -> bool:
    if not isinstance(instance, str):
        return True
    try:
        EcmaRegex.of(instance)
    except SchemaError:
        return False
    return True
