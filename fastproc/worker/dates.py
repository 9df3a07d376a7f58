"""Reads dates as EXIF, XMP and IPTC write them, and returns ISO 8601; None for those that no calendar has.

Rule 1: a date is as exact as it was written: a year alone stays a year.
Rule 2: an offset from UTC that no zone has is left out; the date stays.
"""

from __future__ import annotations

import datetime
import re
from typing import Final

#: The zone farthest from UTC that there is, in hours.
MAX_OFFSET_H: Final = 14
#: EXIF has colons in its dates, XMP hyphens; programs that copy one into the other mix them.
_DATE: Final = re.compile(
    r"(?P<year>\d{4})(?!\d)(?:[:\-/](?P<month>\d\d)(?:[:\-/](?P<day>\d\d)"
    r"(?:[ T](?P<hour>\d\d):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:[.,](?P<part>\d{1,9}))?)?)?)?)?"
    r"\s?(?P<offset>Z|[+-]\d\d:?\d\d)?",
    re.ASCII | re.IGNORECASE,
)
_OFFSET: Final = re.compile(r"([+-])(\d\d):?(\d\d)", re.ASCII)
_GPS_DATE: Final = re.compile(r"(\d{4})[:\-/](\d\d)[:\-/](\d\d)", re.ASCII)
#: IPTC-IIM 4.2, 2:55 and 2:60. A month or a day of zeros is not known.
_IIM_DATE: Final = re.compile(r"(\d{4})-?(\d\d)-?(\d\d)", re.ASCII)
_IIM_TIME: Final = re.compile(r"(\d\d):?(\d\d):?(\d\d)([+-]\d\d:?\d\d)?", re.ASCII)

#: Of an ISO date with so many parts.
_CHARACTERS: Final = (4, 7, 10, 13, 16, 19)


def moment(text: str, offset: str = "") -> str | None:
    """Return a date with its time, from EXIF, and the offset that stands in another tag."""
    found = _DATE.match(text)
    if not found or found["second"] is None:
        return None
    date = _checked(
        found["year"], found["month"], found["day"], found["hour"], found["minute"], found["second"]
    )
    return date + utc_offset(offset) if date else None


def iso(text: str) -> str | None:
    """Return a date of XMP: a year, a month, a day or a time of day; with an offset where one is written."""
    found = _DATE.match(text.strip())
    if not found:
        return None
    names = ("year", "month", "day", "hour", "minute", "second")
    date = _checked(*(found[name] for name in names if found[name] is not None))
    if not date or found["hour"] is None:
        return date
    part = f".{found['part']}" if found["part"] and found["part"].strip("0") else ""
    return date + part + utc_offset(found["offset"] or "")


def of_iim(date: str, time: str) -> str | None:
    """Return the date of two datasets of IPTC, the second of which may be empty."""
    day, clock = _IIM_DATE.match(date), _IIM_TIME.match(time)
    if not day:
        return None
    known = [day[1]]
    for part in (day[2], day[3]):
        if part == "00":
            return _checked(*known)
        known.append(part)
    whole = _checked(*known, *clock.groups()[:3]) if clock else None
    return whole + utc_offset(clock[4] or "") if whole and clock else _checked(*known)


def of_gps(date: str, hours: float, minutes: float, seconds: float) -> str | None:
    """Return the moment of a satellite's clock, in UTC, to the millisecond."""
    day = _GPS_DATE.match(date)
    # Not a number is in no range.
    if not day or not (0 <= hours < 24 and 0 <= minutes < 60 and 0 <= seconds < 60):
        return None
    whole, thousandths = divmod(int((hours * 3600 + minutes * 60 + seconds) * 1000 + 0.5), 1000)
    clock = (f"{part:02}" for part in (whole // 3600, whole // 60 % 60, whole % 60))
    moment = _checked(*day.groups(), *clock)
    return moment and moment + (f".{thousandths:03}Z" if thousandths else "Z")


def utc_offset(text: str) -> str:
    """Return a UTC offset as ISO 8601 has it; "" for one that no zone has."""
    if text.upper() == "Z":
        return "+00:00"
    known = _OFFSET.fullmatch(text)
    if not known or int(known[3]) > 59 or int(known[2]) * 60 + int(known[3]) > MAX_OFFSET_H * 60:
        return ""
    return f"{known[1]}{known[2]}:{known[3]}"


def _checked(*parts: str) -> str | None:
    """Return the date of these digits: year, month, day, hour, minute, second, or the first of them."""
    try:
        numbers = [int(part) for part in parts]
        whole = numbers + [1, 1][len(numbers) - 1 :] if len(numbers) < 3 else numbers
        text = datetime.datetime(*whole).isoformat()  # type: ignore[arg-type]
    except ValueError:
        return None
    return text[: _CHARACTERS[len(parts) - 1]]
