"""URIs (RFC 3986), IRIs (RFC 3987), URI templates (RFC 6570) and IPv4 and IPv6 addresses."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final

__all__ = ["is_ipv4", "is_ipv6", "is_iri", "is_iri_reference", "is_uri", "is_uri_reference"]
__all__ += ["UCS_CHARACTERS", "is_uri_template"]

UCS_CHARACTERS: Final = (
    "\u00a0-\ud7ff\uf900-\ufdcf\ufdf0-\uffef"
    + "".join(f"{chr(plane << 16)}-{chr((plane << 16) + 0xFFFD)}" for plane in range(1, 14))
    + "\U000e1000-\U000efffd"
)
"""RFC 3987's `ucschar`, as the inside of a character class."""
_PRIVATE: Final = "\ue000-\uf8ff\U000f0000-\U000ffffd\U00100000-\U0010fffd"
_PARTS: Final = re.compile(
    r"(?:([^:/?#]+):)?(?://([^/?#]*))?([^?#]*)(?:\?([^#]*))?(?:#(.*))?", re.DOTALL
)
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_AUTHORITY: Final = re.compile(r"(?:([^@]*)@)?(\[[^\]]*\]|[^:@\[\]]*)(?::([0-9]*))?")
_FUTURE_ADDRESS: Final = re.compile(r"v[0-9A-Fa-f]+\.[A-Za-z0-9._~!$&'()*+,;=:-]+")
_NAME_CHAR: Final = "(?:[A-Za-z0-9_]|%[0-9A-Fa-f]{2})"
_VARIABLE: Final = rf"{_NAME_CHAR}(?:\.?{_NAME_CHAR})*(?:\*|:[1-9][0-9]{{0,3}})?"
_TEMPLATE_PART: Final = re.compile(
    rf"(?:[!#$&(-;=?-\[\]_a-z~{UCS_CHARACTERS}{_PRIVATE}]|%[0-9A-Fa-f]{{2}})+"
    rf"|\{{[+#./;?&=,!@|]?{_VARIABLE}(?:,{_VARIABLE})*\}}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Alphabet:
    """What may stand in each component."""

    user: re.Pattern[str]
    name: re.Pattern[str]
    path: re.Pattern[str]
    query: re.Pattern[str]
    fragment: re.Pattern[str]


def _alphabet(wide: str = "", private: str = "") -> _Alphabet:
    plain = rf"A-Za-z0-9._~!$&'()*+,;={wide}\-"

    def run(more: str) -> re.Pattern[str]:
        return re.compile(f"(?:[{plain}{more}]|%[0-9A-Fa-f]{{2}})*")

    return _Alphabet(
        user=run(":"),
        name=run(""),
        path=run(":@/"),
        query=run(f":@/?{private}"),
        fragment=run(":@/?"),
    )


_URI: Final = _alphabet()
_IRI: Final = _alphabet(UCS_CHARACTERS, _PRIVATE)


def is_uri(text: str) -> bool:
    """Whether a text is a URI with a scheme."""
    return _is_reference(text, _URI, absolute=True)


def is_uri_reference(text: str) -> bool:
    """Whether a text is a URI or a relative reference."""
    return _is_reference(text, _URI, absolute=False)


def is_iri(text: str) -> bool:
    """Whether a text is an IRI with a scheme."""
    return _is_reference(text, _IRI, absolute=True)


def is_iri_reference(text: str) -> bool:
    """Whether a text is an IRI or a relative reference."""
    return _is_reference(text, _IRI, absolute=False)


def is_uri_template(text: str) -> bool:
    """Whether a text is a URI template."""
    at = 0
    while at < len(text):
        part = _TEMPLATE_PART.match(text, at)
        if part is None:
            return False
        at = part.end()
    return True


def is_ipv4(text: str) -> bool:
    """Whether a text is four decimal octets without leading zeros."""
    try:
        IPv4Address(text)
    except AddressValueError:
        return False
    return True


def is_ipv6(text: str) -> bool:
    """Whether a text is an IPv6 address without a zone."""
    try:
        return IPv6Address(text).scope_id is None
    except AddressValueError:
        return False


def _is_reference(text: str, alphabet: _Alphabet, *, absolute: bool) -> bool:
    parts = _PARTS.fullmatch(text)
    assert parts is not None, "every text has these parts"
    scheme, authority, path, query, fragment = parts.groups()
    if scheme is None:
        if absolute or (authority is None and ":" in path.partition("/")[0]):
            return False
    elif not _SCHEME.fullmatch(scheme):
        return False
    return (
        (authority is None or _is_authority(authority, alphabet))
        and alphabet.path.fullmatch(path) is not None
        and (query is None or alphabet.query.fullmatch(query) is not None)
        and (fragment is None or alphabet.fragment.fullmatch(fragment) is not None)
    )


def _is_authority(authority: str, alphabet: _Alphabet) -> bool:
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        return False
    user, host = match[1], match[2]
    if user is not None and alphabet.user.fullmatch(user) is None:
        return False
    if host.startswith("["):
        return is_ipv6(host[1:-1]) or _FUTURE_ADDRESS.fullmatch(host[1:-1]) is not None
    return alphabet.name.fullmatch(host) is not None
