"""Computes facts about colour without an imaging library: is a profile sRGB, the dominant colour, the brightness.

Rule 1: most photos have an sRGB profile and converting takes time, so it is recognised. Names prove nothing ("c2" and
        "GIMP built-in" are sRGB, "sRGB v4 appearance" is not); primaries and curve decide.
Rule 2: a profile that cannot be read is not sRGB: it is left to the colour engine.
"""

from __future__ import annotations

import math
import struct
from collections import Counter
from typing import Final

#: sRGB's primaries, adapted to D50 as profiles store them (IEC 61966-2-1; ICC.1 annex E).
PRIMARIES: Final = {
    b"rXYZ": (0.4361, 0.2225, 0.0139),
    b"gXYZ": (0.3851, 0.7169, 0.0971),
    b"bXYZ": (0.1431, 0.0606, 0.7141),
}
#: Makers round differently; the nearest other space, Rec. 709 with its own curve, differs in the curve.
TOLERANCE: Final = 0.003
#: The curve at half its range is 0.2140; a plain gamma of 2.2 gives 0.2176, too close to be visible in 8 bits.
CURVE_AT_HALF: Final = (0.208, 0.219)
MAX_TAGS: Final = 100
#: 16 steps a channel distinguish two colours (sharp's stats has as many).
_STEP: Final = bytes(value >> 4 for value in range(256))
#: Weights of Rec. 709, for the signal.
_LUMA: Final = (0.2126, 0.7152, 0.0722)


def is_srgb(profile: bytes) -> bool:
    """Return whether an ICC profile is a matrix profile with sRGB's primaries and curve."""
    try:
        if profile[16:20] != b"RGB " or profile[20:24] != b"XYZ ":
            return False
        tags = _tags(profile)
        if b"A2B0" in tags:
            return False
        primaries = all(_near(_xyz(tags[name]), wanted) for name, wanted in PRIMARIES.items())
        return primaries and CURVE_AT_HALF[0] <= _curve_at_half(tags[b"gTRC"]) <= CURVE_AT_HALF[1]
    except (KeyError, IndexError, ValueError, OverflowError, ZeroDivisionError, struct.error):
        return False


def _tags(profile: bytes) -> dict[bytes, bytes]:
    count = min(struct.unpack_from(">I", profile, 128)[0], MAX_TAGS)
    tags = {}
    for at in range(132, 132 + 12 * count, 12):
        name, offset, size = struct.unpack_from(">4sII", profile, at)
        tags[name] = profile[offset : offset + min(size, 1 << 16)]
    return tags


def _xyz(tag: bytes) -> tuple[float, ...]:
    return tuple(number / 65536 for number in struct.unpack_from(">iii", tag, 8))


def _near(found: tuple[float, ...], wanted: tuple[float, ...]) -> bool:
    return all(abs(a - b) <= TOLERANCE for a, b in zip(found, wanted, strict=True))


def _curve_at_half(tag: bytes) -> float:
    """Return the linear light of a half signal: a table (`curv`) or a formula (`para`, ICC.1 10.18)."""
    if tag[:4] == b"curv":
        count = struct.unpack_from(">I", tag, 8)[0]
        if count == 0:
            return 0.5
        if count == 1:
            return math.pow(0.5, struct.unpack_from(">H", tag, 12)[0] / 256)
        value: int = struct.unpack_from(">H", tag, 12 + 2 * (count // 2))[0]
        return value / 65535
    if tag[:4] != b"para":
        raise ValueError("not a curve")
    kind = struct.unpack_from(">H", tag, 8)[0]
    terms = [number / 65536 for number in struct.unpack_from(f">{(1, 3, 4, 5, 7)[kind]}i", tag, 12)]
    gamma, a, b = (terms[0], 1.0, 0.0) if kind == 0 else terms[:3]
    return math.pow(a * 0.5 + b, gamma)


def dominant(pixels: bytes) -> tuple[int, int, int]:
    """Return the mean of the colours in the fullest of 4096 bins, as red, green, blue. `pixels` is R G B R G B ..."""
    steps = pixels.translate(_STEP)
    bins = list(zip(steps[0::3], steps[1::3], steps[2::3], strict=True))
    fullest, count = Counter(bins).most_common(1)[0]
    colours = zip(pixels[0::3], pixels[1::3], pixels[2::3], strict=True)
    members = [colour for colour, bin_ in zip(colours, bins, strict=True) if bin_ == fullest]
    red, green, blue = (round(sum(channel) / count) for channel in zip(*members, strict=True))
    return red, green, blue


def brightness(pixels: bytes) -> float:
    """Return the mean luma, 0 (black) to 1 (white)."""
    return round(3 * sum(weight * sum(pixels[n::3]) for n, weight in enumerate(_LUMA)) / len(pixels) / 255, 4)
