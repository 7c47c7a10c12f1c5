"""Host names (RFC 1123, RFC 5890) and e-mail addresses (RFC 5321, RFC 6531)."""

from __future__ import annotations

import re
from typing import Final

import idna

from gemma_structured.schema.formats.uri import UCS_CHARACTERS, is_ipv4, is_ipv6

__all__ = ["is_email", "is_hostname", "is_idn_email", "is_idn_hostname"]

_MAX_HOST: Final = 253
_MAX_LOCAL: Final = 64
_LABEL: Final = re.compile("[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")


def _local(wide: str) -> re.Pattern[str]:
    atom = rf"[A-Za-z0-9!#$%&'*+/=?^_`{{|}}~{wide}\-]+"
    quoted = rf'"(?:[\x20\x21\x23-\x5B\x5D-\x7E{wide}]|\\[\x20-\x7E])*"'
    return re.compile(rf"{atom}(?:\.{atom})*|{quoted}")


_ASCII_LOCAL: Final = _local("")
_DOMAIN: Final = re.compile(
    r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*"
)
_WIDE_LOCAL: Final = _local(UCS_CHARACTERS)


def is_hostname(text: str) -> bool:
    """Whether a text is a host name, its punycode labels included."""
    return len(text) <= _MAX_HOST and all(
        _LABEL.fullmatch(label) is not None
        and (not label.lower().startswith("xn--") or _is_a_label(label))
        for label in text.split(".")
    )


def is_idn_hostname(text: str) -> bool:
    """Whether a text is an internationalised host name (IDNA 2008)."""
    if len(text) > _MAX_HOST or text.endswith("."):
        return False
    try:
        idna.encode(text)
    except (idna.IDNAError, UnicodeError):
        return False
    return True


def is_email(text: str) -> bool:
    """Whether a text is an e-mail address: the rule `Mailbox`, which sets no limits of length."""
    local, at, domain = text.rpartition("@")
    return (
        bool(at)
        and _ASCII_LOCAL.fullmatch(local) is not None
        and (_DOMAIN.fullmatch(domain) is not None or _is_address_literal(domain))
    )


def is_idn_email(text: str) -> bool:
    """Whether a text is an internationalised e-mail address."""
    local, at, domain = text.rpartition("@")
    return (
        bool(at)
        and len(local) <= _MAX_LOCAL
        and _WIDE_LOCAL.fullmatch(local) is not None
        and (is_idn_hostname(domain) or _is_address_literal(domain))
    )


def _is_a_label(label: str) -> bool:
    try:
        idna.ulabel(label)
    except (idna.IDNAError, UnicodeError):
        return False
    return True


def _is_address_literal(domain: str) -> bool:
    if not (domain.startswith("[") and domain.endswith("]")):
        return False
    address = domain[1:-1]
    if address.startswith("IPv6:"):
        return is_ipv6(address.removeprefix("IPv6:"))
    return is_ipv4(address)
