"""Reads what a gain map means in the three ways that cameras and programs write it.

Rule 1: ISO 21496-1 counts before Adobe's XMP (Ultra HDR), that before Apple's XMP: a file with several says the same
        in all, and the first has the most exact numbers.
Rule 2: Apple's maps have another formula, gain = 1 + (headroom - 1) * Rec. 709 to linear light (pixel). It is
        translated: `Meaning.table` maps their pixels to those of a map in the formula of `numbers`.
Rule 3: a number that is not there has the default of its specification, or the map is not kept.

Source: ISO 21496-1, as libultrahdr 2 and libavif read it; Adobe, "Gain map specification" 1.0; Apple,
"Applying Apple HDR effect to your photos".
"""

from __future__ import annotations

import math
import struct
from typing import Final

from msgspec import Struct

from fastproc.worker.exif.tiff import POINTERS, Reader
from fastproc.worker.gain_map.numbers import OFFSET, Channel, Gain, NotKept, checked
from fastproc.worker.gain_map.xmp import ADOBE, APPLE, APPLE_PIXELS, Properties

#: Begins the APP2 segment; a picture's own has two versions after it, a map's the numbers too.
ISO: Final = b"urn:iso:std:iso:ts:21496:-1\0"
VERSIONS_BYTES: Final = 4
MULTICHANNEL, IN_BASE_COLOURS = 0x80, 0x40
#: Not in the standard: libultrahdr writes one denominator for all numbers where it can.
_ONE_DENOMINATOR: Final = 0x08
_APPLE_TYPE: Final = "urn:com:apple:photo:2020:aux:hdrgainmap"
#: Apple's maker note: its name, its version, its byte order, then a directory; offsets count from its beginning.
_MAKER: Final = b"Apple iOS\0\0\1MM"
_EXIF_IFD, _MAKER_NOTE, _HEADROOM, _GAIN = 0x8769, 0x927C, 33, 48
_SIGNED_RATIONAL: Final = (10,)


class Meaning(Struct, frozen=True):
    """What the pixels of a map mean; where there is a `table`, after each pixel went through it."""

    gain: Gain
    table: bytes | None = None


def meaning(iso: bytes | None, properties: Properties, picture_exif: bytes | None) -> Meaning | None:
    """Return what a picture's own segments say of it as a gain map; None where they say that it is none.

    `iso` is what follows ISO in its APP2 segment; `picture_exif` is that of the picture which the map belongs to.
    Raises NotKept.
    """
    if iso is not None and len(iso) > VERSIONS_BYTES:
        return Meaning(from_iso(iso))
    if (ADOBE, "GainMapMax") in properties:
        return Meaning(from_adobe(properties))
    is_apples = _APPLE_TYPE in properties.get((APPLE_PIXELS, "AuxiliaryImageType"), ())
    if is_apples or (APPLE, "HDRGainMapVersion") in properties:
        return from_apple(properties, picture_exif)
    return None


def from_iso(data: bytes) -> Gain:
    """Raises NotKept."""
    try:
        least_version, flags = struct.unpack_from(">HxxB", data)
        if least_version:
            raise NotKept(f"version {least_version} of ISO 21496-1 is not known")
        channels = 3 if flags & MULTICHANNEL else 1
        numbers = _fractions(data, 2 + 5 * channels, one_denominator=bool(flags & _ONE_DENOMINATOR))
    except (struct.error, ZeroDivisionError):
        raise NotKept("its numbers are cut short") from None
    names = ("minimum", "maximum", "gamma", "base_offset", "alternate_offset")
    fives = [numbers[at : at + 5] for at in range(2, len(numbers), 5)]
    return checked(
        [Channel(**dict(zip(names, five, strict=True))) for five in fives],
        (numbers[0], numbers[1]),
        in_base_colours=bool(flags & IN_BASE_COLOURS),
    )


def _fractions(data: bytes, count: int, *, one_denominator: bool) -> list[float]:
    """Return the numbers: both headrooms, and five for each channel. Raises struct.error, ZeroDivisionError."""
    at = VERSIONS_BYTES + 1
    # Only these can be negative: the range and the offsets of a channel.
    codes = "".join("I" if n < 2 or (n - 2) % 5 == 2 else "i" for n in range(count))
    if one_denominator:
        denominator = struct.unpack_from(">I", data, at)[0]
        return [number / denominator for number in struct.unpack_from(f">{codes}", data, at + 4)]
    pairs = struct.unpack_from(">" + "".join(f"{code}I" for code in codes), data, at)
    return [a / b for a, b in zip(pairs[::2], pairs[1::2], strict=True)]


def from_adobe(properties: Properties) -> Gain:
    """Raises NotKept."""
    if properties.get((ADOBE, "BaseRenditionIsHDR"), ["False"])[0].lower() == "true":
        raise NotKept("the picture is the brighter one of the two")
    columns = [
        _numbers(properties, "GainMapMin", 0.0),
        _numbers(properties, "GainMapMax", None),
        _numbers(properties, "Gamma", 1.0),
        _numbers(properties, "OffsetSDR", OFFSET),
        _numbers(properties, "OffsetHDR", OFFSET),
    ]
    channels = [
        Channel(minimum=low, maximum=high, gamma=gamma, base_offset=base, alternate_offset=alternate)
        for low, high, gamma, base, alternate in zip(*columns, strict=True)
    ]
    headrooms = (
        _numbers(properties, "HDRCapacityMin", 0.0)[0],
        _numbers(properties, "HDRCapacityMax", None)[0],
    )
    return checked(channels, headrooms)


def _numbers(properties: Properties, name: str, default: float | None) -> list[float]:
    """Return a property's three numbers. Raises NotKept."""
    texts = properties.get((ADOBE, name))
    if texts is None and default is None:
        raise NotKept(f"{name} is missing")
    values = [_number(text) for text in texts] if texts else [default]
    if len(values) not in (1, 3) or None in values:
        raise NotKept(f"{name} is neither one number nor three")
    numbers = [value for value in values if value is not None]
    return numbers if len(numbers) == 3 else numbers * 3


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def from_apple(properties: Properties, picture_exif: bytes | None) -> Meaning:
    """Raises NotKept."""
    written = _number(properties.get((APPLE, "HDRGainMapHeadroom"), [""])[0])
    stops = _stops(picture_exif) if written is None else math.log2(written) if written > 0 else 0.0
    if stops is None:
        raise NotKept("its headroom is not known")
    gain = checked([Channel(minimum=0.0, maximum=stops, base_offset=0.0, alternate_offset=0.0)], (0.0, stops))
    return Meaning(gain, _table(stops))


def _stops(exif: bytes | None) -> float | None:
    """Return the headroom that a telephone's maker note gives, in stops; None if there is none."""
    block = (exif or b"").removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None:
        return None
    reader = Reader(block, order, {_EXIF_IFD: POINTERS, _MAKER_NOTE: (7,)})
    pointer = reader.directory(reader.first()).get(_EXIF_IFD)
    note = reader.directory(int(pointer[0])).get(_MAKER_NOTE) if pointer else None
    if not note or not note.startswith(_MAKER):
        return None
    wanted = {_HEADROOM: _SIGNED_RATIONAL, _GAIN: _SIGNED_RATIONAL}
    found = Reader(note, ">", wanted).directory(len(_MAKER))
    if set(found) != set(wanted):
        return None
    return _published(found[_HEADROOM][0], found[_GAIN][0])


def _published(headroom: float, gain: float) -> float:
    """Return stops by Apple's published formula, with its constants."""
    if headroom < 1:
        stops = 1.8 - 20 * gain if gain <= 0.01 else 1.601 - 0.101 * gain
    else:
        stops = 3.0 - 70 * gain if gain <= 0.01 else 2.303 - 0.303 * gain
    return max(stops, 0.0)


def _table(stops: float) -> bytes:
    """Return the pixel of the translated map for each pixel of Apple's."""
    headroom = 2.0**stops
    gains = (1 + (headroom - 1) * _linear(pixel / 255) for pixel in range(256))
    return bytes(round(255 * math.log2(gain) / stops) for gain in gains)


def _linear(signal: float) -> float:
    """Return linear light of a signal. Source: Rec. ITU-R BT.709-6, 1.2, inverted."""
    return signal / 4.5 if signal < 0.081 else math.pow((signal + 0.099) / 1.099, 1 / 0.45)
