"""The formats of the drafts as patterns.

Each pattern is the grammar of the format's specification; of leap seconds it has those that are
written in UTC, since with other offsets a list of 2,880 minutes would say which exist. A format
whose grammar no regular expression states, or not fully, is *loose*: its pattern admits all its
texts and some others.
"""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["CLOCK_TIME", "FORMATS", "Format"]


class Format(NamedTuple):
    """A format as a grammar can enforce it.

    Attributes:
        pattern: What its texts look like, anchored at both ends.
        most: The length of its longest text, where that is limited.
        loose: Whether other texts look like that too.
    """

    pattern: str
    most: int | None = None
    loose: bool = False


def _whole(*options: str) -> str:
    return f"^(?:{'|'.join(options)})$"


# RFC 3339, section 5.6, with the days that each month has.
_YEAR: Final = "(?:000[1-9]|00[1-9][0-9]|0[1-9][0-9]{2}|[1-9][0-9]{3})"
_LEAP_YEAR: Final = (
    "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)"
)
_DATE: Final = (
    f"(?:{_YEAR}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])"
    "|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))"
    f"|{_LEAP_YEAR}-02-29)"
)
_CLOCK: Final = "(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
_FRACTION: Final = r"(?:\.[0-9]+)?"
_TIME: Final = (
    rf"(?:{_CLOCK}{_FRACTION}(?:[zZ]|[+\-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
    rf"|23:59:60{_FRACTION}(?:[zZ]|[+\-]00:00))"
)

# RFC 3339, appendix A.
_TIME_PART: Final = "T(?:[0-9]+H(?:[0-9]+M(?:[0-9]+S)?)?|[0-9]+M(?:[0-9]+S)?|[0-9]+S)"
_DATE_PART: Final = "(?:[0-9]+Y(?:[0-9]+M(?:[0-9]+D)?)?|[0-9]+M(?:[0-9]+D)?|[0-9]+D)"
_DURATION: Final = f"P(?:{_DATE_PART}(?:{_TIME_PART})?|{_TIME_PART}|[0-9]+W)"

# RFC 3986, appendix A.
_OCTET: Final = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4: Final = rf"(?:{_OCTET}\.){{3}}{_OCTET}"
_H16: Final = "[0-9a-fA-F]{1,4}"
_LS32: Final = f"(?:{_H16}:{_H16}|{_IPV4})"
_IPV6: Final = (
    "(?:"
    + "|".join(
        [
            f"(?:{_H16}:){{6}}{_LS32}",
            f"::(?:{_H16}:){{5}}{_LS32}",
            f"(?:{_H16})?::(?:{_H16}:){{4}}{_LS32}",
            f"(?:(?:{_H16}:)?{_H16})?::(?:{_H16}:){{3}}{_LS32}",
            f"(?:(?:{_H16}:){{0,2}}{_H16})?::(?:{_H16}:){{2}}{_LS32}",
            f"(?:(?:{_H16}:){{0,3}}{_H16})?::{_H16}:{_LS32}",
            f"(?:(?:{_H16}:){{0,4}}{_H16})?::{_LS32}",
            f"(?:(?:{_H16}:){{0,5}}{_H16})?::{_H16}",
            f"(?:(?:{_H16}:){{0,6}}{_H16})?::",
        ]
    )
    + ")"
)


def _uri(extra: str, private: str, *, reference: bool) -> str:
    """RFC 3986's URI or, with more characters, RFC 3987's IRI; relative ones too or not."""
    encoded = "%[0-9a-fA-F]{2}"
    unreserved = rf"a-zA-Z0-9\-._~{extra}"
    delims = "!$&'()*+,;="
    user = f"(?:[{unreserved}{delims}:]|{encoded})*"
    literal = rf"\[(?:{_IPV6}|[vV][0-9a-fA-F]+\.[a-zA-Z0-9\-._~{delims}:]+)\]"
    name = f"(?:[{unreserved}{delims}]|{encoded})*"
    authority = f"(?:{user}@)?(?:{literal}|{name})(?::[0-9]*)?"
    char = f"(?:[{unreserved}{delims}:@]|{encoded})"
    first = f"(?:[{unreserved}{delims}@]|{encoded})+"
    query = f"(?:[{unreserved}{delims}:@/?{private}]|{encoded})*"
    fragment = f"(?:[{unreserved}{delims}:@/?]|{encoded})*"
    path = f"(?:/{char}*)*"
    absolute = f"/(?:{char}+{path})?"
    end = rf"(?:\?{query})?(?:#{fragment})?"
    scheme = r"[a-zA-Z][a-zA-Z0-9+\-.]*"
    options = [f"{scheme}:(?://{authority}{path}|{absolute}|{char}+{path}|){end}"]
    if reference:
        options.append(f"(?://{authority}{path}|{absolute}|{first}{path}|){end}")
    return _whole(*options)


# RFC 3987, section 2.2: ucschar.
_UCS: Final = "".join(
    f"{chr(low)}-{chr(high)}"
    for low, high in [
        (0xA0, 0xD7FF),
        (0xF900, 0xFDCF),
        (0xFDF0, 0xFFEF),
        *((plane << 16, (plane << 16) + 0xFFFD) for plane in range(1, 14)),
        (0xE1000, 0xEFFFD),
    ]
)
_PRIVATE: Final = (
    f"{chr(0xE000)}-{chr(0xF8FF)}{chr(0xF0000)}-{chr(0xFFFFD)}{chr(0x100000)}-{chr(0x10FFFD)}"
)


def _mailbox(extra: str) -> str:
    """RFC 5321, section 4.1.2, and with more characters RFC 6531."""
    atom = rf"[a-zA-Z0-9!#$%&'*+\-/=?^_`{{|}}~{extra}]+"
    quoted = rf'"(?:[ !#-\[\]-~{extra}]|\\[ -~])*"'
    label = f"[a-zA-Z0-9{extra}](?:[a-zA-Z0-9{extra}\\-]*[a-zA-Z0-9{extra}])?"
    domain = rf"{label}(?:\.{label})*"
    literal = rf"\[(?:{_IPV4}|IPv6:{_IPV6})\]"
    return _whole(rf"(?:{atom}(?:\.{atom})*|{quoted})@(?:{domain}|{literal})")


_LABEL: Final = r"[a-zA-Z0-9](?:[a-zA-Z0-9\-]{0,61}[a-zA-Z0-9])?"
_POINTER: Final = "(?:/(?:[^/~]|~[01])*)*"

# Of a label that begins with xn-- only some are the code of a name.
_HOSTNAME: Final = Format(_whole(rf"{_LABEL}(?:\.{_LABEL})*"), most=253, loose=True)
_IPV4_FORMAT: Final = Format(_whole(_IPV4))

CLOCK_TIME: Final = "clock-time"
"""What draft 3 means by `time`: without a zone."""

FORMATS: Final[dict[str, Format]] = {
    "date": Format(_whole(_DATE)),
    "date-time": Format(_whole(f"{_DATE}[tT]{_TIME}")),
    "time": Format(_whole(_TIME)),
    "duration": Format(_whole(_DURATION)),
    "email": Format(_mailbox("")),
    "idn-email": Format(_mailbox(f"{chr(0x80)}-{chr(0x10FFFF)}"), loose=True),
    "hostname": _HOSTNAME,
    "idn-hostname": Format(rf"^[a-zA-Z0-9\-.{chr(0x80)}-{chr(0x10FFFF)}]+$", loose=True),
    "ipv4": _IPV4_FORMAT,
    "ipv6": Format(_whole(_IPV6)),
    "uri": Format(_uri("", "", reference=False)),
    "uri-reference": Format(_uri("", "", reference=True)),
    "iri": Format(_uri(_UCS, _PRIVATE, reference=False)),
    "iri-reference": Format(_uri(_UCS, _PRIVATE, reference=True)),
    "uuid": Format("^[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"),
    "uri-template": Format(r"""^(?:[^\s"'<>\\^`{|}]|\{[^\s{}]+\})*$""", loose=True),
    "json-pointer": Format(_whole(_POINTER)),
    "relative-json-pointer": Format(_whole(rf"(?:0|[1-9][0-9]*)(?:#|{_POINTER})")),
    "regex": Format("", loose=True),
    # Draft 3's names.
    "host-name": _HOSTNAME,
    "ip-address": _IPV4_FORMAT,
    "color": Format("", loose=True),
    CLOCK_TIME: Format(_whole(_CLOCK)),
}
"""By name."""
