"""Reads the usual EXIF fields from an untrusted block: named, typed, JSON-safe, bounded.

Rule 1: no block fails a photo: what cannot be read is left out.
Rule 2: texts are decoded, cleaned and then cut, which is told; numbers are finite; dates and positions are possible
        ones. So the result is JSON of some kilobytes, whatever the block.
Rule 3: a tag of a wrong type is left out, and so is the position 0, 0, which programs leave that remove a position.

Tags and their types: Exif 3.0 (CIPA DC-008), chapter 4.6.
"""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Callable
from typing import Any, Final

from fastproc.worker.exif.tiff import FRACTIONS, POINTERS, TEXTS, WHOLE, Reader, Value

_EXIF_IFD, _GPS_IFD = 0x8769, 0x8825
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]+")
_DATE: Final = re.compile(r"(\d{4})[:\-/](\d\d)[:\-/](\d\d)[ T](\d\d):(\d\d):(\d\d)")
_OFFSET: Final = re.compile(r"([+-])(\d\d):?(\d\d)")
#: The zone farthest from UTC that there is, in hours.
MAX_OFFSET_H: Final = 14
#: Longest text that is kept.
MAX_TEXT_CHARS: Final = 1000
#: What a SHORT cannot say; the number is then in a tag of four bytes.
_ISO_IS_ELSEWHERE: Final = 65535

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


def parse(
    block: bytes, *, with_position: bool = True, on_cut: Callable[[str], None] = lambda name: None
) -> dict[str, Any]:
    """Return the fields of an EXIF block (with or without `Exif\\0\\0` before it); {} if it is not one.

    Units: exposureTime in seconds, focalLength in millimetres, exposureBias in EV, gps in decimal degrees (south and
    west negative) and metres; dates are ISO 8601, with the UTC offset if the camera wrote it. `on_cut` is called with
    the name of each text that was longer than MAX_TEXT_CHARS.
    """
    start = 6 if block[:6] == b"Exif\0\0" else 0
    order = {b"II": "<", b"MM": ">"}.get(block[start : start + 2])
    if order is None:
        return {}
    reader = Reader(block[start:], order, _WANTED)
    main = reader.directory(reader.first())
    exif = reader.directory(_pointer(main, _EXIF_IFD))
    fields = _fields(main, _MAIN) | _fields(exif, _EXIF) | _iso(exif) | _dates(main, exif)
    position = _position(reader.directory(_pointer(main, _GPS_IFD))) if with_position else None
    if position:
        fields["gps"] = position
    for name, value in fields.items():
        if isinstance(value, str) and len(value) > MAX_TEXT_CHARS:
            fields[name] = value[:MAX_TEXT_CHARS].rstrip()
            on_cut(name)
    return fields


def _pointer(directory: dict[int, Value], tag: int) -> int:
    value = _number(directory.get(tag))
    return int(value) if value and 0 < value < 1 << 32 else 0


def _number(value: Value) -> float | None:
    """Return the first number, as int if it is whole, else to six significant digits; None if there is none."""
    if not isinstance(value, tuple):
        return None
    number = value[0]
    if number != number or abs(number) > 1e12:
        return None
    return int(number) if number == int(number) else float(f"{number:.6g}")


def _positive(value: Value) -> float | None:
    number = _number(value)
    return number if number is not None and number > 0 else None


def _text(value: Value) -> str | None:
    if not isinstance(value, bytes):
        return None
    raw = value.partition(b"\0")[0]
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        # A last character that was cut in two, here or in the camera, does not make the rest another encoding.
        cut_in_two = error.reason == "unexpected end of data" and error.start > 0
        text = raw[: error.start].decode() if cut_in_two else raw.decode("latin-1")
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
#: The sensitivity in four bytes: recommended exposure index, ISO speed, output sensitivity. The first number counts.
_ISO_TAGS: Final = (0x8832, 0x8833, 0x8831)
_TYPES_OF_READERS: Final[dict[Callable[[Value], Any], frozenset[int]]] = {
    _text: TEXTS,
    _positive: FRACTIONS | WHOLE,
    _number: FRACTIONS,
}
#: tag -> types that it may have.
_WANTED: Final = (
    {tag: _TYPES_OF_READERS.get(reader, WHOLE) for tag, (_, reader) in (_MAIN | _EXIF).items()}
    | dict.fromkeys((_EXIF_IFD, _GPS_IFD), POINTERS)
    | {tag: TEXTS for date in _DATES.values() for tag in date[1:]}
    | dict.fromkeys((0x8827, *_ISO_TAGS), WHOLE)
    # In a GPS directory: references, coordinates, altitude and its reference, direction.
    | {1: TEXTS, 2: FRACTIONS, 3: TEXTS, 4: FRACTIONS, 5: WHOLE | TEXTS, 6: FRACTIONS, 0x11: FRACTIONS}
)


def _fields(directory: dict[int, Value], wanted: _Fields) -> dict[str, Any]:
    read = {name: reader(directory.get(tag)) for tag, (name, reader) in wanted.items()}
    return {name: value for name, value in read.items() if value is not None}


def _iso(exif: dict[int, Value]) -> dict[str, Any]:
    iso = _positive(exif.get(0x8827))
    if iso is None or iso >= _ISO_IS_ELSEWHERE:
        iso = next((value for tag in _ISO_TAGS if (value := _positive(exif.get(tag)))), iso)
    return {} if iso is None else {"iso": iso}


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
    return date + _offset(_text(offset) or "")


def _offset(text: str) -> str:
    """Return a UTC offset as ISO 8601 has it; "" for one that no zone has."""
    if text.upper() == "Z":
        return "+00:00"
    known = _OFFSET.fullmatch(text)
    if not known or int(known[3]) > 59 or int(known[2]) * 60 + int(known[3]) > MAX_OFFSET_H * 60:
        return ""
    return f"{known[1]}{known[2]}:{known[3]}"


def _position(gps: dict[int, Value]) -> dict[str, Any]:
    """Return latitude and longitude, and altitude and direction if they are there; {} without both of the first.

    Programs that remove a position leave 0, 0.
    """
    latitude, longitude = _degrees(gps, 1, b"S", 90), _degrees(gps, 3, b"W", 180)
    if latitude is None or longitude is None or latitude == longitude == 0:
        return {}
    position: dict[str, Any] = {"latitude": latitude, "longitude": longitude}
    altitude = _number(gps.get(6))
    if altitude is not None:
        position["altitude"] = -altitude if _is_below(gps.get(5)) else altitude
    direction = _number(gps.get(0x11))
    if direction is not None and 0 <= direction <= 360:
        position["direction"] = direction
    return position


def _is_below(reference: Value) -> bool:
    """Exif 2: 1 is below the sea level. Exif 3: 1 below the ellipsoid, 3 below the sea level. Some write it as text."""
    if isinstance(reference, bytes):
        return reference[:1] in (b"1", b"3", b"\x01", b"\x03")
    return _number(reference) in (1, 3)


def _degrees(gps: dict[int, Value], tag: int, negative: bytes, bound: int) -> float | None:
    parts, sign = gps.get(tag + 1), gps.get(tag)
    if not isinstance(parts, tuple) or not isinstance(sign, bytes):
        return None
    if len(parts) < 2:
        return None
    # Without seconds they are 0; without degrees or minutes there is no place.
    seconds = parts[2] if len(parts) > 2 and math.isfinite(parts[2]) else 0.0
    degrees = float(parts[0] + parts[1] / 60 + seconds / 3600)
    if not 0 <= degrees <= bound:
        return None
    return round(-degrees if sign[:1].upper() == negative else degrees, 7)
