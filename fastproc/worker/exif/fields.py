"""Reads the usual EXIF fields from an untrusted block: named, typed, JSON-safe, bounded.

Rule 1: no block fails a photo: what cannot be read is left out.
Rule 2: texts are cut, cleaned and bounded; numbers are finite; dates and positions are possible ones. So the result
        is JSON of a few kilobytes, whatever the block.

Tags and their types: Exif 3.0 (CIPA DC-008), chapter 4.6.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable
from typing import Any, Final

from fastproc.worker.exif.tiff import Reader, Value

_EXIF_IFD, _GPS_IFD = 0x8769, 0x8825
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]+")
_DATE: Final = re.compile(r"(\d{4})[:\-/](\d\d)[:\-/](\d\d)[ T](\d\d):(\d\d):(\d\d)")
_OFFSET: Final = re.compile(r"[+-]\d\d:\d\d")

_PROGRAMS: Final = (
    "undefined",
    "manual",
    "normal",
    "aperture",
    "shutter",
    "creative",
    "action",
    "portrait",
    "landscape",
)
_METERING: Final = ("unknown", "average", "center", "spot", "multispot", "pattern", "partial")


def parse(block: bytes, *, with_position: bool = True) -> dict[str, Any]:
    """Return the fields of an EXIF block (with or without `Exif\\0\\0` before it); {} if it is not one.

    Units: exposureTime in seconds, focalLength in millimetres, exposureBias in EV, gps in decimal degrees (south and
    west negative) and metres; dates are ISO 8601, with the UTC offset if the camera wrote it.
    """
    start = 6 if block[:6] == b"Exif\0\0" else 0
    order = {b"II": "<", b"MM": ">"}.get(block[start : start + 2])
    if order is None:
        return {}
    reader = Reader(block[start:], order, _WANTED)
    main = reader.directory(reader.first())
    exif = reader.directory(_pointer(main, _EXIF_IFD))
    fields = _fields(main, _MAIN) | _fields(exif, _EXIF) | _dates(main, exif)
    position = _position(reader.directory(_pointer(main, _GPS_IFD))) if with_position else None
    if position:
        fields["gps"] = position
    return fields


def _pointer(directory: dict[int, Value], tag: int) -> int:
    value = _number(directory.get(tag))
    return int(value) if value and 0 < value < 1 << 32 else 0


def _number(value: Value) -> float | None:
    """Return the first number, as int if it is whole, else rounded to six decimals; None if there is none."""
    if not isinstance(value, tuple):
        return None
    number = value[0]
    if number != number or abs(number) > 1e12:
        return None
    return int(number) if number == int(number) else round(number, 6)


def _positive(value: Value) -> float | None:
    number = _number(value)
    return number if number is not None and number > 0 else None


def _text(value: Value) -> str | None:
    if not isinstance(value, bytes):
        return None
    raw = value.partition(b"\0")[0]
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    return _UNPRINTABLE.sub(" ", text).strip() or None


def _orientation(value: Value) -> int | None:
    number = _number(value)
    return int(number) if number in (1, 2, 3, 4, 5, 6, 7, 8) else None


def _flash(value: Value) -> bool | None:
    number = _number(value)
    return None if number is None else bool(int(number) & 1)


def _word(words: tuple[str, ...]) -> Callable[[Value], str | None]:
    def read(value: Value) -> str | None:
        number = _number(value)
        return words[int(number)] if number is not None and 0 <= number < len(words) else None

    return read


_Fields = dict[int, tuple[str, Callable[[Value], Any]]]
_MAIN: Final[_Fields] = {
    0x010E: ("description", _text),
    0x010F: ("make", _text),
    0x0110: ("model", _text),
    0x0112: ("orientation", _orientation),
    0x0131: ("software", _text),
    0x013B: ("artist", _text),
    0x8298: ("copyright", _text),
}
_EXIF: Final[_Fields] = {
    0x829A: ("exposureTime", _positive),
    0x829D: ("fNumber", _positive),
    0x8822: ("exposureProgram", _word(_PROGRAMS)),
    0x8827: ("iso", _positive),
    0x9204: ("exposureBias", _number),
    0x9207: ("meteringMode", _word(_METERING)),
    0x9209: ("flash", _flash),
    0x920A: ("focalLength", _positive),
    0xA403: ("whiteBalance", _word(("auto", "manual"))),
    0xA405: ("focalLengthIn35mm", _positive),
    0xA433: ("lensMake", _text),
    0xA434: ("lensModel", _text),
}
#: name -> directory (0: main, 1: EXIF), the date's tag, the tag of its UTC offset.
_DATES: Final = {
    "dateTimeOriginal": (1, 0x9003, 0x9011),
    "dateTimeDigitized": (1, 0x9004, 0x9012),
    "dateTime": (0, 0x0132, 0x9010),
}
_GPS_TAGS: Final = frozenset(range(0x0001, 0x0007)) | {0x0011}
_WANTED: Final = (
    frozenset(_MAIN)
    | frozenset(_EXIF)
    | {_EXIF_IFD, _GPS_IFD}
    | {t for d in _DATES.values() for t in d[1:]}
    | _GPS_TAGS
)


def _fields(directory: dict[int, Value], wanted: _Fields) -> dict[str, Any]:
    read = {name: reader(directory.get(tag)) for tag, (name, reader) in wanted.items()}
    return {name: value for name, value in read.items() if value is not None}


def _dates(main: dict[int, Value], exif: dict[int, Value]) -> dict[str, Any]:
    found = {}
    for name, (which, tag, offset_tag) in _DATES.items():
        date = _date((main, exif)[which].get(tag), exif.get(offset_tag))
        if date:
            found[name] = date
    return found


def _date(value: Value, offset: Value) -> str | None:
    match = _DATE.match(_text(value) or "")
    if not match:
        return None
    try:
        date = datetime.datetime(*(int(part) for part in match.groups())).isoformat()  # type: ignore[arg-type]
    except ValueError:
        return None
    known = _OFFSET.fullmatch(_text(offset) or "")
    return date + known.group() if known else date


def _position(gps: dict[int, Value]) -> dict[str, Any]:
    """Return latitude and longitude, and altitude and direction if they are there; {} without both of the first."""
    latitude, longitude = _degrees(gps, 1, b"S", 90), _degrees(gps, 3, b"W", 180)
    if latitude is None or longitude is None:
        return {}
    position: dict[str, Any] = {"latitude": latitude, "longitude": longitude}
    altitude = _number(gps.get(6))
    if altitude is not None:
        position["altitude"] = -altitude if _number(gps.get(5)) == 1 else altitude
    direction = _number(gps.get(0x11))
    if direction is not None and 0 <= direction <= 360:
        position["direction"] = direction
    return position


def _degrees(gps: dict[int, Value], tag: int, negative: bytes, bound: int) -> float | None:
    parts, sign = gps.get(tag + 1), gps.get(tag)
    if not isinstance(parts, tuple) or not isinstance(sign, bytes):
        return None
    degrees = float(sum(part / 60**power for power, part in enumerate(parts[:3])))
    if not 0 <= degrees <= bound:
        return None
    return round(-degrees if sign[:1].upper() == negative else degrees, 7)
