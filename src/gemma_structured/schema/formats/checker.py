"""The formats, and the checks behind them.

jsonschema's own are too wide (every text with an `@` is an e-mail address), depend on what else is
installed, and some backtrack; these are none of that.
"""

from __future__ import annotations

import re
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Final

from jsonschema import FormatChecker

from gemma_structured.exceptions import SchemaError
from gemma_structured.schema.ecma import EcmaRegex
from gemma_structured.schema.formats.hosts import (
    is_email,
    is_hostname,
    is_idn_email,
    is_idn_hostname,
)
from gemma_structured.schema.formats.times import (
    is_clock_time,
    is_date,
    is_date_time,
    is_duration,
    is_time,
)
from gemma_structured.schema.formats.uri import (
    is_ipv4,
    is_ipv6,
    is_iri,
    is_iri_reference,
    is_uri,
    is_uri_reference,
    is_uri_template,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemma_structured.schema.dialect import Dialect

__all__ = ["FORMATS", "format_checker"]

_POINTER: Final = re.compile(r"(?:/(?:[^~/]|~[01])*)*")
_RELATIVE_POINTER: Final = re.compile(r"(?:0|[1-9][0-9]*)(?:#|(?:/(?:[^~/]|~[01])*)*)")
_UUID: Final = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_HEX_COLOR: Final = re.compile("#(?:[0-9A-Fa-f]{3}){1,2}")
_COLOR_NAMES: Final = frozenset(
    [
        "aqua",
        "black",
        "blue",
        "fuchsia",
        "gray",
        "green",
        "lime",
        "maroon",
        "navy",
        "olive",
        "orange",
        "purple",
        "red",
        "silver",
        "teal",
        "white",
        "yellow",
    ]
)


def _is_regex(text: str) -> bool:
    try:
        EcmaRegex.of(text)
    except SchemaError:
        return False
    return True


def _is_color(text: str) -> bool:
    return text.lower() in _COLOR_NAMES or _HEX_COLOR.fullmatch(text) is not None


def _matches(pattern: re.Pattern[str], text: str) -> bool:
    return pattern.fullmatch(text) is not None


FORMATS: Final[dict[str, Callable[[str], bool]]] = {
    "date": is_date,
    "date-time": is_date_time,
    "duration": is_duration,
    "email": is_email,
    "hostname": is_hostname,
    "idn-email": is_idn_email,
    "idn-hostname": is_idn_hostname,
    "ipv4": is_ipv4,
    "ipv6": is_ipv6,
    "iri": is_iri,
    "iri-reference": is_iri_reference,
    "json-pointer": partial(_matches, _POINTER),
    "regex": _is_regex,
    "relative-json-pointer": partial(_matches, _RELATIVE_POINTER),
    "time": is_time,
    "uri": is_uri,
    "uri-reference": is_uri_reference,
    "uri-template": is_uri_template,
    "uuid": partial(_matches, _UUID),
}
"""Format name → whether a text is of that format, as draft 2020-12 defines it."""
_DRAFT_3: Final[dict[str, Callable[[str], bool]]] = {
    "color": _is_color,
    "host-name": is_hostname,
    "ip-address": is_ipv4,
    "time": is_clock_time,
}


@lru_cache(maxsize=16)
def format_checker(dialect: Dialect) -> FormatChecker:
    """What checks formats under a draft. Formats that no draft defines are annotations.

    Formats of later drafts are checked under earlier ones too: who writes `"format": "date"` in a
    schema of draft 4 means a date.
    """
    checker = FormatChecker(())
    known = FORMATS | _DRAFT_3 if dialect.name == "draft-03" else FORMATS
    for name, check in known.items():
        checker.checks(name)(partial(_holds, check))
    return checker


def _holds(check: Callable[[str], bool], instance: object) -> bool:
    return check(instance) if isinstance(instance, str) else True
