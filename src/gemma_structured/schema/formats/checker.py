"""Which formats each draft defines, and the checks behind them.

jsonschema's own are too wide (every text with an `@` is an e-mail address), depend on what else is
installed, and some backtrack; these are none of that.
"""

from __future__ import annotations

import re
from collections.abc import Callable
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
    from gemma_structured.schema.dialect import Dialect

__all__ = ["format_checker"]

_Check = Callable[[str], bool]

_POINTER: Final = re.compile(r"(?:/(?:[^~/]|~[01])*)*")
_RELATIVE_POINTER: Final = re.compile(r"(?:0|[1-9][0-9]*)(?:#|(?:/(?:[^~/]|~[01])*)*)")
_UUID: Final = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_HEX_COLOR: Final = re.compile("#(?:[0-9A-Fa-f]{3}){1,2}")
_COLOR_NAMES: Final = frozenset(
    "aqua black blue fuchsia gray green lime maroon navy olive orange purple red silver teal "
    "white yellow".split()
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


_DRAFT_4: Final[dict[str, _Check]] = {
    "date-time": is_date_time,
    "email": is_email,
    "hostname": is_hostname,
    "ipv4": is_ipv4,
    "ipv6": is_ipv6,
    "regex": _is_regex,
    "uri": is_uri,
}
_DRAFT_3: Final[dict[str, _Check]] = {
    "color": _is_color,
    "date": is_date,
    "date-time": is_date_time,
    "email": is_email,
    "host-name": is_hostname,
    "ip-address": is_ipv4,
    "ipv6": is_ipv6,
    "regex": _is_regex,
    "time": is_clock_time,
    "uri": is_uri,
}
_DRAFT_6: Final[dict[str, _Check]] = _DRAFT_4 | {
    "json-pointer": partial(_matches, _POINTER),
    "uri-reference": is_uri_reference,
    "uri-template": is_uri_template,
}
_DRAFT_7: Final[dict[str, _Check]] = _DRAFT_6 | {
    "date": is_date,
    "idn-email": is_idn_email,
    "idn-hostname": is_idn_hostname,
    "iri": is_iri,
    "iri-reference": is_iri_reference,
    "relative-json-pointer": partial(_matches, _RELATIVE_POINTER),
    "time": is_time,
}
_DRAFT_2019: Final[dict[str, _Check]] = _DRAFT_7 | {
    "duration": is_duration,
    "uuid": partial(_matches, _UUID),
}
_BY_DRAFT: Final = {
    "draft-03": _DRAFT_3,
    "draft-04": _DRAFT_4,
    "draft-06": _DRAFT_6,
    "draft-07": _DRAFT_7,
    "2019-09": _DRAFT_2019,
    "2020-12": _DRAFT_2019,
}


@lru_cache(maxsize=16)
def format_checker(dialect: Dialect) -> FormatChecker:
    """What checks the formats that a draft defines; all others are annotations."""
    checker = FormatChecker(())
    for name, check in _BY_DRAFT[dialect.name].items():
        checker.checks(name)(partial(_holds, check))
    return checker


def _holds(check: _Check, instance: object) -> bool:
    return check(instance) if isinstance(instance, str) else True
