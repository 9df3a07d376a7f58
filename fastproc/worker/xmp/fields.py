"""Reads the descriptive fields of an untrusted XMP packet: named, typed, cleaned. They are cut by their reader.

Rule 1: no packet fails a photo; what cannot be read is left out, and its fault is told.
Rule 2: a number or a date that is none is left out, and so is the position 0, 0.
Source: IPTC Photo Metadata 2023.2; XMP specification, part 2; MWG 2.0, 5.9 (regions); Microsoft's People Tagging.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, Final

from fastproc.worker import dates, texts
from fastproc.worker.xmp import values
from fastproc.worker.xmp.packet import Node, properties

#: Most items of an array that are looked at; a photo agency's files have some hundred keywords.
MAX_ITEMS: Final = 1000
#: Where a place is told in two ways: where the photo was taken, then what it shows.
_PLACES: Final = ("Iptc4xmpExt:LocationCreated", "Iptc4xmpExt:LocationShown")
_SOURCE_TYPE: Final = re.compile(r"[A-Za-z][A-Za-z0-9]{0,63}")
_COORDINATE: Final = re.compile(
    r"(\d{1,3})(?:,(\d{1,2}(?:\.\d{1,15})?)(?:,(\d{1,2}(?:\.\d{1,15})?))?)?([NSEW])", re.A
)
_FRACTION: Final = re.compile(r"(-?\d{1,9}(?:\.\d{1,9})?)(?:/(\d{1,9}))?", re.ASCII)

_Found = dict[str, Node]


def parse(packet: bytes, *, with_position: bool = True) -> tuple[dict[str, Any], str]:
    """Return the fields of a packet, and what was wrong with it ("" for nothing).

    Besides the fields of `descriptive`: `orientation`, and `extension`, the name of the part that lies elsewhere.
    """
    found, fault = properties(packet, _WANTED)
    read = {name: reader(found) for name, reader in _FIELDS.items()}
    if with_position:
        read |= {"gps": _position(found), "gpsDateTime": _moment(found)}
    return {name: value for name, value in read.items() if value not in (None, [], {})}, fault


def _text(*wanted: str) -> Callable[[_Found], str | None]:
    """Return a reader of the first of these properties that says something."""
    return lambda found: next(
        (clean for name in wanted if (clean := texts.clean(values.text(found.get(name))))), None
    )


def _list(name: str) -> Callable[[_Found], list[str]]:
    def read(found: _Found) -> list[str]:
        listed = values.listed(found.get(name))[:MAX_ITEMS]
        return list(dict.fromkeys(clean for item in listed if (clean := texts.clean(item))))

    return read


def _date(name: str) -> Callable[[_Found], str | None]:
    return lambda found: dates.iso(values.text(found.get(name)))


def _place(simple: str, member: str) -> Callable[[_Found], str | None]:
    def read(found: _Found) -> str | None:
        told = [values.text(found.get(simple))]
        for name in _PLACES:
            first = values.items(found.get(name))[:1]
            told += [values.text(values.member(place, member)) for place in first]
        return next((clean for text in told if (clean := texts.clean(text))), None)

    return read


def _rating(found: _Found) -> int | None:
    """-1: rejected, 0: none, 1 to 5 stars."""
    number = _number(values.text(found.get("xmp:Rating")))
    return int(number) if number is not None and -1 <= number <= 5 else None


def _source_type(found: _Found) -> str | None:
    """Return the last part of the address, which is the name of the type, for a name alone as well."""
    text = values.text(found.get("Iptc4xmpExt:DigitalSourceType"))
    name = re.split(r"[/#:]", text.strip().rstrip("/"))[-1]
    return name if _SOURCE_TYPE.fullmatch(name) else None


def _faces(found: _Found) -> int | None:
    """Return the number of faces. Programs that write two lists write the same faces into both."""
    regions = values.items(values.member(found.get("mwg-rs:Regions"), "mwg-rs:RegionList"))
    kinds = [values.text(values.member(region, "mwg-rs:Type")) for region in regions[:MAX_ITEMS]]
    people = values.items(values.member(found.get("MP:RegionInfo"), "MPRI:Regions"))
    return max(sum(kind.lower() == "face" for kind in kinds), len(people[:MAX_ITEMS])) or None


def _orientation(found: _Found) -> int | None:
    text = values.text(found.get("tiff:Orientation"))
    return int(text) if text in tuple("12345678") else None


def _position(found: _Found) -> dict[str, float] | None:
    latitude = _degrees(values.text(found.get("exif:GPSLatitude")), "NS", 90)
    longitude = _degrees(values.text(found.get("exif:GPSLongitude")), "EW", 180)
    if latitude is None or longitude is None or latitude == longitude == 0:
        return None
    position = {"latitude": latitude, "longitude": longitude}
    altitude = _number(values.text(found.get("exif:GPSAltitude")))
    if altitude is not None:
        below = values.text(found.get("exif:GPSAltitudeRef")) in ("1", "3")
        position["altitude"] = -altitude if below else altitude
    return position


def _degrees(text: str, directions: str, bound: int) -> float | None:
    """Return degrees of `48,30.6N` or `48,30,36N`."""
    parts = _COORDINATE.fullmatch(text.strip().upper())
    if not parts or parts[4] not in directions:
        return None
    degrees = int(parts[1]) + float(parts[2] or 0) / 60 + float(parts[3] or 0) / 3600
    return round(-degrees if parts[4] in "SW" else degrees, 7) if degrees <= bound else None


def _moment(found: _Found) -> str | None:
    """Return the moment of the satellites' clock. XMP has it whole, in UTC."""
    date = dates.iso(values.text(found.get("exif:GPSTimeStamp")))
    if date is None or len(date) < len("2000-01-01T00:00:00"):
        return None
    return (
        date.removesuffix("+00:00") + "Z"
        if date[19:].removesuffix("+00:00").lstrip(".0123456789") == ""
        else None
    )


def _number(text: str) -> float | None:
    """Return a number or a fraction, as int if it is whole."""
    parts = _FRACTION.fullmatch(text.strip())
    if not parts or (parts[2] and not int(parts[2])):
        return None
    number = float(parts[1]) / int(parts[2] or 1)
    return int(number) if number == math.floor(number) else float(f"{number:.6g}")


_FIELDS: Final[dict[str, Callable[[_Found], Any]]] = {
    "title": _text("dc:title"),
    "description": _text("dc:description"),
    "creator": _list("dc:creator"),
    "credit": _text("photoshop:Credit"),
    "copyright": _text("dc:rights"),
    "usageTerms": _text("xmpRights:UsageTerms"),
    "webStatement": _text("xmpRights:WebStatement"),
    "keywords": _list("dc:subject"),
    "rating": _rating,
    "captureDate": _date("photoshop:DateCreated"),
    "dateTimeOriginal": _date("exif:DateTimeOriginal"),
    "createDate": _date("xmp:CreateDate"),
    "city": _place("photoshop:City", "Iptc4xmpExt:City"),
    "country": _place("photoshop:Country", "Iptc4xmpExt:CountryName"),
    "digitalSourceType": _source_type,
    "faces": _faces,
    "orientation": _orientation,
    "extension": _text("xmpNote:HasExtendedXMP"),
}
_WANTED: Final = frozenset(
    [
        "dc:title",
        "dc:description",
        "dc:creator",
        "dc:rights",
        "dc:subject",
        "photoshop:Credit",
        "photoshop:DateCreated",
        "photoshop:City",
        "photoshop:Country",
        "xmpRights:UsageTerms",
        "xmpRights:WebStatement",
        "xmp:Rating",
        "xmp:CreateDate",
        "exif:DateTimeOriginal",
        "exif:GPSLatitude",
        "exif:GPSLongitude",
        "exif:GPSAltitude",
        "exif:GPSAltitudeRef",
        "exif:GPSTimeStamp",
        "Iptc4xmpExt:LocationCreated",
        "Iptc4xmpExt:LocationShown",
        "Iptc4xmpExt:DigitalSourceType",
        "mwg-rs:Regions",
        "MP:RegionInfo",
        "tiff:Orientation",
        "xmpNote:HasExtendedXMP",
    ]
)
