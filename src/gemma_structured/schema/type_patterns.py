r"""What Pydantic reads from a string, as patterns where JSON Schema says otherwise.

`format: date-time` demands an offset and allows a leap second; Python's `datetime` does neither,
and `timedelta` is written with units that `format: duration` refuses. So these types are asked for
by patterns that hold exactly what Pydantic reads and writes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from gemma_structured.types import JsonValue

__all__ = [
    "COMPLEX",
    "DATE",
    "DATETIME",
    "FORMATS",
    "OFFSET",
    "TIME",
    "TIMEDELTA",
    "UUID",
    "YEAR_IS_NOT_ZERO",
    "http_url",
]

_YEAR: Final = r"(?:\d{3}[1-9]|\d{2}[1-9]0|\d[1-9]00|[1-9]000)"
_FOURTH: Final = "(?:0[48]|[2468][048]|[13579][26])"
_LEAP_YEAR: Final = rf"(?:\d{{2}}{_FOURTH}|{_FOURTH}00)"
_DAY: Final = (
    r"(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\d|3[01])"
    r"|(?:0[469]|11)-(?:0[1-9]|[12]\d|30)"
    r"|02-(?:0[1-9]|1\d|2[0-8]))"
)
TIME: Final = r"(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,6})?"
"""A time of day, to the microsecond."""
OFFSET: Final = r"(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)"
"""An offset from UTC."""
DATE: Final = f"(?:{_YEAR}-{_DAY}|{_LEAP_YEAR}-02-29)"
"""A date that the calendar has, from the year 1 on."""
DATETIME: Final = f"{DATE}T{TIME}"
"""A date that the calendar has, and a time."""
YEAR_IS_NOT_ZERO: Final = r"^\d*[1-9]\d*-"
"""Python's calendar begins with the year 1."""

_SECONDS: Final = r"\d{1,6}(?:\.\d{1,6})?S"
_CLOCK: Final = (
    rf"T(?:\d{{1,6}}H(?:\d{{1,6}}M)?(?:{_SECONDS})?|\d{{1,6}}M(?:{_SECONDS})?|{_SECONDS})"
)
_DAYS: Final = (
    r"(?:\d{1,4}Y(?:\d{1,4}M)?(?:\d{1,6}D)?|\d{1,4}M(?:\d{1,6}D)?|\d{1,4}W(?:\d{1,6}D)?|\d{1,6}D)"
)
TIMEDELTA: Final = f"-?P(?:{_DAYS}(?:{_CLOCK})?|{_CLOCK})"
"""A duration of ISO 8601, as Pydantic reads and writes a `timedelta`."""

_REAL: Final = r"\d{1,18}(?:\.\d{1,9})?"
COMPLEX: Final = rf"^-?{_REAL}[+-]{_REAL}j$"
"""A complex number."""
_HEX: Final = "[0-9a-fA-F]"
_OCTET: Final = r"(?:25[0-5]|2[0-4]\d|1\d{2}|[1-9]?\d)"
_IPV4: Final = rf"{_OCTET}(?:\.{_OCTET}){{3}}"
_IPV6: Final = "|".join(
    [
        f"(?:{_HEX}{{1,4}}:){{7}}{_HEX}{{1,4}}",
        *(
            f"(?:{_HEX}{{1,4}}:){{1,{before}}}(?::{_HEX}{{1,4}}){{1,{7 - before}}}"
            for before in range(1, 7)
        ),
        f"(?:{_HEX}{{1,4}}:){{1,7}}:",
        f":(?::{_HEX}{{1,4}}){{1,7}}",
        "::",
    ]
)
_PREFIX: Final = r"(?:3[0-2]|[12]?\d)"
_LABEL: Final = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_LAST_LABEL: Final = "[A-Za-z](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_PORT: Final = r"(?:6553[0-5]|655[0-2]\d|65[0-4]\d{2}|6[0-4]\d{3}|[1-5]\d{4}|\d{1,4})"


def http_url(schemes: list[str]) -> str:
    """The pattern of a URL with a host and one of these schemes."""
    host = rf"(?:(?:{_LABEL}\.)*{_LAST_LABEL}|{_IPV4}|\[(?:{_IPV6})\])"
    user = "[A-Za-z0-9._~!$&'()*+,;=:%-]*"
    return rf"^(?:{'|'.join(schemes)})://(?:{user}@)?{host}(?::{_PORT})?(?:[/?#][!-~]*)?$"


UUID: Final = f"{_HEX}{{8}}(?:-{_HEX}{{4}}){{3}}-{_HEX}{{12}}"
"""A UUID of any version."""


def _uuid(version: int) -> str:
    return f"^{_HEX}{{8}}-{_HEX}{{4}}-{version}{_HEX}{{3}}-[89abAB]{_HEX}{{3}}-{_HEX}{{12}}$"


FORMATS: Final[dict[str, dict[str, JsonValue]]] = {
    **{f"uuid{version}": {"format": "uuid", "pattern": _uuid(version)} for version in range(1, 9)},
    "base64": {
        "pattern": "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$",
        "contentEncoding": "base64",
    },
    "base64url": {
        "pattern": "^(?:[A-Za-z0-9_-]{4})*(?:[A-Za-z0-9_-]{2}==|[A-Za-z0-9_-]{3}=)?$",
        "contentEncoding": "base64",
    },
    "fraction": {"pattern": r"^-?\d{1,18}(?:/[1-9]\d{0,17})?$"},
    "ipvanyaddress": {"anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]},
    "ipv4interface": {"pattern": rf"^{_IPV4}/{_PREFIX}$"},
    "ipv4network": {"pattern": rf"^{_IPV4}/{_PREFIX}$"},
}
"""Formats that only Pydantic knows, in keywords that JSON Schema knows."""
