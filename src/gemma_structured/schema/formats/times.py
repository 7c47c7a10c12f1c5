"""Dates, times and durations (RFC 3339)."""

from __future__ import annotations

import re
from datetime import date
from typing import Final

__all__ = ["is_clock_time", "is_date", "is_date_time", "is_duration", "is_time"]

_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_TIME: Final = re.compile(
    r"([01]\d|2[0-3]):([0-5]\d):([0-5]\d|60)(?:\.\d+)?(?:[Zz]|([+-])([01]\d|2[0-3]):([0-5]\d))",
    re.ASCII,
)
_CLOCK_TIME: Final = re.compile(r"(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d", re.ASCII)
_LEAP_SECOND: Final = "60"
_MINUTES_A_DAY: Final = 24 * 60


def _duration() -> re.Pattern[str]:
    minute = r"\d+M(?:\d+S)?"
    time = rf"T(?:\d+H(?:{minute})?|{minute}|\d+S)"
    month = r"\d+M(?:\d+D)?"
    year = rf"\d+Y(?:{month})?"
    return re.compile(rf"P(?:(?:{year}|{month}|\d+D)(?:{time})?|{time}|\d+W)", re.ASCII)


_DURATION: Final = _duration()


def is_date(text: str) -> bool:
    """Whether a text is a full-date that the calendar has."""
    if _DATE.fullmatch(text) is None:
        return False
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def is_time(text: str) -> bool:
    """Whether a text is a full-time: with an offset; a leap second only ends a day of UTC."""
    match = _TIME.fullmatch(text)
    if match is None:
        return False
    if match[3] != _LEAP_SECOND:
        return True
    offset = int(match[5] or 0) * 60 + int(match[6] or 0)
    local = int(match[1]) * 60 + int(match[2])
    utc = local + offset if match[4] == "-" else local - offset
    return utc % _MINUTES_A_DAY == _MINUTES_A_DAY - 1


def is_date_time(text: str) -> bool:
    """Whether a text is a date-time with an offset."""
    return text[10:11] in {"T", "t"} and is_date(text[:10]) and is_time(text[11:])


def is_clock_time(text: str) -> bool:
    """Whether a text is a time of draft 3: hours, minutes and seconds without an offset."""
    return _CLOCK_TIME.fullmatch(text) is not None


def is_duration(text: str) -> bool:
    """Whether a text is a duration: whole numbers, no unit left out between two others."""
    return _DURATION.fullmatch(text) is not None
