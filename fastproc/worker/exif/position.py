"""Reads the GPS directory of an EXIF block: where the photo was taken, and when by the satellites' clock.

Rule 1: there is no position without both coordinates, and programs that remove a position leave 0, 0.
Source: Exif 3.0 (CIPA DC-008), 4.6.7.
"""

from __future__ import annotations

import math
from typing import Any

from fastproc.worker import dates
from fastproc.worker.exif import values
from fastproc.worker.exif.tiff import FRACTIONS, TEXTS, WHOLE, Value

#: References, coordinates, altitude and its reference, time, direction, date.
WANTED = {
    1: TEXTS,
    2: FRACTIONS,
    3: TEXTS,
    4: FRACTIONS,
    5: WHOLE | TEXTS,
    6: FRACTIONS,
    7: FRACTIONS,
    0x11: FRACTIONS,
    0x1D: TEXTS,
}


def position(gps: dict[int, Value]) -> dict[str, Any]:
    """Return latitude and longitude, and altitude and direction if they are there; {} without both of the first."""
    latitude, longitude = _degrees(gps, 1, b"S", 90), _degrees(gps, 3, b"W", 180)
    if latitude is None or longitude is None or latitude == longitude == 0:
        return {}
    found: dict[str, Any] = {"latitude": latitude, "longitude": longitude}
    altitude = values.number(gps.get(6))
    if altitude is not None:
        found["altitude"] = -altitude if _is_below(gps.get(5)) else altitude
    direction = values.number(gps.get(0x11))
    if direction is not None and 0 <= direction <= 360:
        found["direction"] = direction
    return found


def moment(gps: dict[int, Value]) -> str | None:
    """Return date and time in UTC; None without both."""
    clock = gps.get(7)
    if not isinstance(clock, tuple) or len(clock) < 3:
        return None
    return dates.of_gps(values.text(gps.get(0x1D)) or "", *clock[:3])


def _is_below(reference: Value) -> bool:
    """Exif 2: 1 is below the sea level. Exif 3: 1 below the ellipsoid, 3 below the sea level. Some write it as text."""
    if isinstance(reference, bytes):
        return reference[:1] in (b"1", b"3", b"\x01", b"\x03")
    return values.number(reference) in (1, 3)


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
