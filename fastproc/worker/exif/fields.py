"""Reads the usual EXIF fields from an untrusted block: named, typed, JSON-safe, bounded.

Rule 1: no block fails a photo: what cannot be read is left out.
Rule 2: texts are decoded, cleaned and then cut, which is told; numbers are finite; dates and positions are possible
        ones. So the result is JSON of some kilobytes, whatever the block.
Rule 3: a tag of a wrong type is left out, and so is the position 0, 0, which programs leave that remove a position.

Tags and their types: Exif 3.0 (CIPA DC-008), chapter 4.6; ratings and the XP fields: Windows' own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from fastproc.worker import dates, texts
from fastproc.worker.exif import position, values
from fastproc.worker.exif.comments import user_comment, windows_text
from fastproc.worker.exif.tiff import FRACTIONS, OCTETS, POINTERS, TEXTS, WHOLE, Reader, Value

_EXIF_IFD, _GPS_IFD = 0x8769, 0x8825
_USER_COMMENT: Final = 0x9286
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
    block: bytes, *, with_position: bool = True, on_cut: texts.OnCut = lambda name: None
) -> dict[str, Any]:
    """Return the fields of an EXIF block (with or without `Exif\\0\\0` before it); {} if it is not one.

    Units: exposureTime in seconds, focalLength in millimetres, exposureBias in EV, gps in decimal degrees (south and
    west negative) and metres; dates are ISO 8601, with the UTC offset if the camera wrote it, gpsDateTime in UTC.
    `on_cut` is called with the name of each text that was longer than MAX_TEXT_CHARS.
    """
    start = 6 if block[:6] == b"Exif\0\0" else 0
    order = {b"II": "<", b"MM": ">"}.get(block[start : start + 2])
    if order is None:
        return {}
    reader = Reader(block[start:], order, _WANTED)
    main = reader.directory(reader.first())
    exif = reader.directory(_pointer(main, _EXIF_IFD))
    fields = _fields(main, _MAIN) | _fields(exif, _EXIF) | _iso(exif) | _dates(main, exif)
    comment = user_comment(exif.get(_USER_COMMENT), order)
    if comment:
        fields["userComment"] = comment
    if with_position:
        fields |= _gps(reader.directory(_pointer(main, _GPS_IFD)))
    texts.cut(fields, MAX_TEXT_CHARS, on_cut)
    return fields


def _pointer(directory: dict[int, Value], tag: int) -> int:
    value = values.number(directory.get(tag))
    return int(value) if value and 0 < value < 1 << 32 else 0


_Fields = dict[int, tuple[str, Callable[[Value], Any]]]
_MAIN: Final[_Fields] = {
    0x010E: ("description", values.text),
    0x010F: ("make", values.text),
    0x0110: ("model", values.text),
    0x0112: ("orientation", values.orientation),
    0x0131: ("software", values.text),
    0x013B: ("artist", values.text),
    0x4746: ("rating", values.stars),
    0x8298: ("copyright", values.text),
    0x9C9B: ("xpTitle", windows_text),
    0x9C9C: ("xpComment", windows_text),
    0x9C9D: ("xpAuthor", windows_text),
    0x9C9E: ("xpKeywords", windows_text),
    0x9C9F: ("xpSubject", windows_text),
}
_EXIF: Final[_Fields] = {
    0x829A: ("exposureTime", values.positive),
    0x829D: ("fNumber", values.positive),
    0x8822: ("exposureProgram", values.word(_PROGRAMS)),
    0x9204: ("exposureBias", values.number),
    0x9207: ("meteringMode", values.word(_METERING)),
    0x9209: ("flash", values.flash),
    0x920A: ("focalLength", values.positive),
    0x9291: ("subSecTimeOriginal", values.digits),
    0xA403: ("whiteBalance", values.word(("auto", "manual"))),
    0xA405: ("focalLengthIn35mm", values.positive),
    0xA433: ("lensMake", values.text),
    0xA434: ("lensModel", values.text),
}
#: name -> directory (0: main, 1: EXIF), the date's tag, the tag of its UTC offset.
_DATES: Final = {
    "dateTimeOriginal": (1, 0x9003, 0x9011),
    "dateTimeDigitized": (1, 0x9004, 0x9012),
    "dateTime": (0, 0x0132, 0x9010),
}
#: The sensitivity in four bytes: recommended exposure index, ISO speed, output sensitivity. The first number counts.
_ISO_TAGS: Final = (0x8832, 0x8833, 0x8831)
#: BYTE, as Windows writes it, and undefined.
_UTF_16: Final = frozenset({1, 7})
_TYPES_OF_READERS: Final[dict[Callable[[Value], Any], frozenset[int]]] = {
    values.text: TEXTS,
    values.digits: TEXTS,
    windows_text: _UTF_16,
    values.positive: FRACTIONS | WHOLE,
    values.number: FRACTIONS,
}
#: tag -> types that it may have.
_WANTED: Final = (
    {tag: _TYPES_OF_READERS.get(reader, WHOLE) for tag, (_, reader) in (_MAIN | _EXIF).items()}
    | dict.fromkeys((_EXIF_IFD, _GPS_IFD), POINTERS)
    | {tag: TEXTS for date in _DATES.values() for tag in date[1:]}
    | dict.fromkeys((0x8827, *_ISO_TAGS), WHOLE)
    | {_USER_COMMENT: OCTETS}
    | position.WANTED
)


def _fields(directory: dict[int, Value], wanted: _Fields) -> dict[str, Any]:
    read = {name: reader(directory.get(tag)) for tag, (name, reader) in wanted.items()}
    return {name: value for name, value in read.items() if value is not None}


def _iso(exif: dict[int, Value]) -> dict[str, Any]:
    iso = values.positive(exif.get(0x8827))
    if iso is None or iso >= _ISO_IS_ELSEWHERE:
        iso = next((value for tag in _ISO_TAGS if (value := values.positive(exif.get(tag)))), iso)
    return {} if iso is None else {"iso": iso}


def _dates(main: dict[int, Value], exif: dict[int, Value]) -> dict[str, Any]:
    found = {}
    for name, (which, tag, offset_tag) in _DATES.items():
        written = values.text((main, exif)[which].get(tag)) or ""
        date = dates.moment(written, values.text(exif.get(offset_tag)) or "")
        if date:
            found[name] = date
    return found


def _gps(gps: dict[int, Value]) -> dict[str, Any]:
    """Return the position, and the moment of the satellites' clock, which there may be without a position."""
    read = {"gps": position.position(gps), "gpsDateTime": position.moment(gps)}
    return {name: value for name, value in read.items() if value}
