"""What must not reach an error, a log or a repr: keys, account names, the user's own text."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["scrub"]

_SECRETS = re.compile(
    r"""sk-[A-Za-z0-9_-]{6,}            # keys of OpenRouter (sk-or-v1-…) and others
      | data:image/[^\s"']+             # a picture
      | (?i:bearer\s+)[^\s"',;]{6,}     # an Authorization header
      | \b(?:user|org)_[A-Za-z0-9]{6,}  # account names
      | (?i:"?(?:user_id|flagged_input|raw)"?\s*[:=]\s*)(?:"[^"]*"?|\S+)""",
    re.VERBOSE,
)
_SHOWN: Final = 200
_QUOTED: Final = 16
"""So many characters in a row that were sent are a quotation, not a coincidence."""


def scrub(message: str, *, sent: str = "", key: str = "") -> str:
    """Make a server's message fit to be shown: one short line without secrets and quotations.

    Args:
        message: What the server said.
        sent: What it was sent, which it may quote.
        key: The key that it was sent.
    """
    line = " ".join(message[: 4 * _SHOWN].split())
    if key:
        line = line.replace(key, "…")
    line = _without_quotations(_SECRETS.sub("…", line), sent)
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}…"


def _without_quotations(line: str, sent: str) -> str:
    kept: list[str] = []
    position = 0
    while position < len(line):
        if sent and (length := _quotation(line, position, sent)):
            kept.append("…")
            position += length
        else:
            kept.append(line[position])
            position += 1
    return "".join(kept)


def _quotation(line: str, start: int, sent: str) -> int:
    """The length of the quotation that begins here; 0 if none does."""
    end = start + _QUOTED
    if end > len(line) or line[start:end] not in sent:
        return 0
    while end < len(line) and line[start : end + 1] in sent:
        end += 1
    return end - start
