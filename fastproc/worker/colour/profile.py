"""Reads and writes ICC profiles: whether one is sRGB, what it says by numbers, and one for given numbers.

Rule 1: most photos have an sRGB profile and converting takes time, so it is recognised. Names prove nothing ("c2" and
        "GIMP built-in" are sRGB, "sRGB v4 appearance" is not); primaries and curves decide.
Rule 2: a profile that cannot be read is not sRGB: it is left to the colour engine.
Source: ICC.1:2022.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable
from typing import Final

from fastproc.worker.colour import cicp, matrices
from fastproc.worker.colour.cicp import Curve
from fastproc.worker.colour.matrices import D50, Matrix, Vector

#: sRGB's primaries, adapted to D50 as profiles store them (IEC 61966-2-1; ICC.1 annex E).
PRIMARIES: Final = {
    b"rXYZ": (0.4361, 0.2225, 0.0139),
    b"gXYZ": (0.3851, 0.7169, 0.0971),
    b"bXYZ": (0.1431, 0.0606, 0.7141),
}
#: Makers round differently; the nearest other space, Rec. 709 with its own curve, differs in the curve.
TOLERANCE: Final = 0.003
#: Where a curve is compared with sRGB's, in levels of 8 bits, and how many levels it may differ: small tables of well
#: known sRGB profiles differ by one, a plain gamma of 2.2 by nine at 16.
LEVELS: Final = (16, 48, 128, 208)
LEVEL_TOLERANCE: Final = 2.0
MAX_TAGS: Final = 100
#: Points of a curve that is written.
CURVE_POINTS: Final = 4096

_FROM_D50: Final = matrices.inverse(
    matrices.transposed((PRIMARIES[b"rXYZ"], PRIMARIES[b"gXYZ"], PRIMARIES[b"bXYZ"]))
)
_SPACES: Final = {b"RGB ": 3, b"GRAY": 1, b"CMYK": 4}
_UNREADABLE: Final = (KeyError, IndexError, ValueError, OverflowError, ZeroDivisionError, struct.error)


def is_srgb(profile: bytes) -> bool:
    """Return whether an ICC profile is a matrix profile with sRGB's primaries and curves."""
    try:
        if profile[16:20] != b"RGB " or profile[20:24] != b"XYZ ":
            return False
        tags = _tags(profile)
        if b"A2B0" in tags:
            return False
        primaries = all(_near(_xyz(tags[name]), wanted) for name, wanted in PRIMARIES.items())
        return primaries and all(_like_srgb(tags[name]) for name in (b"rTRC", b"gTRC", b"bTRC"))
    except _UNREADABLE:
        return False


def to_srgb(profile: bytes) -> Matrix | None:
    """Return the matrix from linear light of a profile to linear sRGB, white to white; None if it has no matrix."""
    try:
        if profile[16:20] != b"RGB " or profile[20:24] != b"XYZ " or b"A2B0" in (tags := _tags(profile)):
            return None
        red, green, blue = (_vector(tags[name]) for name in PRIMARIES)
        first, second, third = matrices.product(_FROM_D50, matrices.transposed((red, green, blue)))
        return _summing_to_1(first), _summing_to_1(second), _summing_to_1(third)
    except _UNREADABLE:
        return None


def _vector(tag: bytes) -> Vector:
    x, y, z = _xyz(tag)
    return x, y, z


def _summing_to_1(row: Vector) -> Vector:
    whole = sum(row)
    return row[0] / whole, row[1] / whole, row[2] / whole


def bands(profile: bytes) -> int:
    """Return of how many bands the pictures are that a profile describes; 0 for other spaces."""
    return _SPACES.get(bytes(profile[16:20]), 0)


def code_points(profile: bytes) -> tuple[int, int] | None:
    """Return the H.273 primaries and transfer that a profile names (`cicp`, ICC.1 9.2.17), or None."""
    try:
        kind, primaries, transfer = struct.unpack_from(">4s4xBB", _tags(profile)[b"cicp"])
    except _UNREADABLE:
        return None
    return (primaries, transfer) if kind == b"cicp" else None


def written(to_d50: Matrix | None, curve: Curve) -> bytes:
    """Return a profile with these primaries (linear light to XYZ under D50) and this curve; grey for None."""
    points = (round(65535 * min(1.0, max(0.0, curve(n / (CURVE_POINTS - 1))))) for n in range(CURVE_POINTS))
    table = struct.pack(f">4s4xI{CURVE_POINTS}H", b"curv", CURVE_POINTS, *points)
    tags = [(b"wtpt", _stored(D50))]
    if to_d50 is None:
        return _file(b"GRAY", [*tags, (b"kTRC", table)])
    red, green, blue = zip(*to_d50, strict=True)
    tags += [(b"rXYZ", _stored(red)), (b"gXYZ", _stored(green)), (b"bXYZ", _stored(blue))]
    return _file(b"RGB ", [*tags, *((name, table) for name in (b"rTRC", b"gTRC", b"bTRC"))])


def _file(space: bytes, tags: list[tuple[bytes, bytes]]) -> bytes:
    """Return header, tag table and tags, each content once."""
    places: dict[bytes, int] = {}
    body, start = b"", 128 + 4 + 12 * len(tags)
    for _, content in tags:
        if content not in places:
            places[content] = start + len(body)
            body += content + bytes(-len(content) % 4)
    entries = b"".join(struct.pack(">4sII", name, places[tag], len(tag)) for name, tag in tags)
    head = struct.pack(">I4xI4s4s4s12x4s28x", start + len(body), 0x04300000, b"mntr", space, b"XYZ ", b"acsp")
    return head + _xyz_numbers(D50) + bytes(48) + struct.pack(">I", len(tags)) + entries + body


def _stored(vector: Iterable[float]) -> bytes:
    return b"XYZ " + bytes(4) + _xyz_numbers(vector)


def _xyz_numbers(vector: Iterable[float]) -> bytes:
    return struct.pack(">3i", *(round(65536 * number) for number in vector))


def _tags(profile: bytes) -> dict[bytes, bytes]:
    count = min(struct.unpack_from(">I", profile, 128)[0], MAX_TAGS)
    tags = {}
    for at in range(132, 132 + 12 * count, 12):
        name, offset, size = struct.unpack_from(">4sII", profile, at)
        tags[name] = profile[offset : offset + min(size, 1 << 17)]
    return tags


def _xyz(tag: bytes) -> tuple[float, ...]:
    return tuple(number / 65536 for number in struct.unpack_from(">iii", tag, 8))


def _near(found: tuple[float, ...], wanted: tuple[float, ...]) -> bool:
    return all(abs(a - b) <= TOLERANCE for a, b in zip(found, wanted, strict=True))


def _like_srgb(tag: bytes) -> bool:
    return all(
        abs(255 * cicp.srgb_signal(light_of(tag, level / 255)) - level) <= LEVEL_TOLERANCE for level in LEVELS
    )


def light_of(tag: bytes, signal: float) -> float:
    """Return the light of a signal: a table (`curv`, read between its points) or a formula (`para`, ICC.1 10.18).

    Raises: ValueError, struct.error and others for what is no curve.
    """
    if tag[:4] == b"curv":
        return _of_table(tag, signal)
    if tag[:4] != b"para":
        raise ValueError("not a curve")
    kind = struct.unpack_from(">H", tag, 8)[0]
    terms = [number / 65536 for number in struct.unpack_from(f">{(1, 3, 4, 5, 7)[kind]}i", tag, 12)]
    return _of_formula(kind, terms, signal)


def _of_formula(kind: int, terms: list[float], signal: float) -> float:
    if kind == 0:
        return math.pow(signal, terms[0])
    gamma, a, b = terms[:3]
    if kind < 3:
        offset = terms[3] if kind == 2 else 0.0
        return math.pow(a * signal + b, gamma) + offset if signal >= -b / a else offset
    slope, border = terms[3:5]
    above, below = terms[5:7] if kind == 4 else (0.0, 0.0)
    return math.pow(a * signal + b, gamma) + above if signal >= border else slope * signal + below


def _of_table(tag: bytes, signal: float) -> float:
    count = struct.unpack_from(">I", tag, 8)[0]
    if count == 0:
        return signal
    if count == 1:
        return math.pow(signal, float(struct.unpack_from(">H", tag, 12)[0]) / 256)
    place = signal * (count - 1)
    low = min(int(place), count - 2)
    first, second = struct.unpack_from(">2H", tag, 12 + 2 * low)
    return float(first + (second - first) * (place - low)) / 65535
