"""Writes a picture and its gain map as one file: Ultra HDR 1.1 and ISO 21496-1 in the same, so that all readers agree.

Rule 1: everything is written from numbers: a reader of the Multi-Picture index, of the container's directory, of
        Adobe's XMP or of ISO's segment finds the same map and the same gains.
Rule 2: the picture has its profile, which Ultra HDR requires ("Color profile") and a reader needs for the gains.
Rule 3: the index is the last segment that goes in, because its offsets count from itself to the end.

Source: CIPA DC-007 (Multi-Picture Format), MP Index IFD; Android, "Ultra HDR image format" 1.1; ISO 21496-1.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable
from typing import Final

from fastproc.worker.gain_map.dialects import IN_BASE_COLOURS, ISO, MULTICHANNEL
from fastproc.worker.gain_map.numbers import Channel, Gain
from fastproc.worker.gain_map.xmp import ADOBE
from fastproc.worker.jpeg_segments import APP2, description, inserted, place, segment, xmp

#: Enough for seven digits, and small enough that MAX_STOPS and MAX_OFFSET fit 32 bits.
DENOMINATOR: Final = 1_000_000
_CONTAINER: Final = "http://ns.google.com/photos/1.0/container/"
_ITEM: Final = "http://ns.google.com/photos/1.0/container/item/"
#: Both versions of ISO 21496-1: what a reader must know, and what the writer knew.
_VERSIONS: Final = bytes(4)
#: The type "baseline MP primary image"; the map's own is "undefined", 0.
_PRIMARY: Final = 0x030000
_MP: Final = b"MPF\0"
#: The first part of one (ICC.1, B.4).
_ICC: Final = b"ICC_PROFILE\0\1\1"


def joined(
    picture: bytes, gain_map: bytes, gain: Gain, profile: bytes = b"", descriptions: Iterable[str] = ()
) -> bytes:
    """Return one file of a picture and its map, both JPEGs without segments of their own.

    `profile` is the picture's ICC profile, if it has one, of less than 64 kB; `descriptions` are further ones for its
    XMP (`jpeg_segments.description`).
    """
    second = inserted(gain_map, [xmp([_adobe(gain)]), segment(APP2, ISO + _iso(gain))])
    before = [
        xmp([_directory(len(second)), *descriptions]),
        segment(APP2, ISO + _VERSIONS),
        *([segment(APP2, _ICC + profile)] if profile else []),
    ]
    index_bytes = len(_index(0, 0, 0))
    size = len(picture) + sum(map(len, before)) + index_bytes
    # The index' own offsets count from its byte-order mark: after its marker, its length, and its name.
    mark = place(picture) + sum(map(len, before)) + 4 + len(_MP)
    return inserted(picture, [*before, _index(size, len(second), size - mark)]) + second


def _index(size: int, map_size: int, offset: int) -> bytes:
    """Return the Multi-Picture index of a picture of `size` bytes and its map, `offset` bytes after the mark."""
    tags = (
        struct.pack(">HHI4s", 0xB000, 7, 4, b"0100"),
        struct.pack(">HHII", 0xB001, 4, 1, 2),
        # The entries follow the directory: 8 bytes of header, 3 tags, their count and the next directory, 0.
        struct.pack(">HHII", 0xB002, 7, 2 * 16, 8 + 2 + 3 * 12 + 4),
    )
    entries = struct.pack(">IIIHH", _PRIMARY, size, 0, 0, 0) + struct.pack(
        ">IIIHH", 0, map_size, offset, 0, 0
    )
    header = struct.pack(">2sHIH", b"MM", 42, 8, len(tags))
    return segment(APP2, _MP + header + b"".join(tags) + bytes(4) + entries)


def _directory(map_size: int) -> str:
    """Return the description of the container for the picture's XMP."""
    item = '<rdf:li rdf:parseType="Resource"><Container:Item Item:Semantic="{}" Item:Mime="image/jpeg"{}/></rdf:li>'
    items = item.format("Primary", "") + item.format("GainMap", f' Item:Length="{map_size}"')
    return description(
        {"hdrgm": ADOBE, "Container": _CONTAINER, "Item": _ITEM},
        {"hdrgm:Version": "1.0"},
        f"<Container:Directory><rdf:Seq>{items}</rdf:Seq></Container:Directory>",
    )


def _adobe(gain: Gain) -> str:
    """Return the description of the gains for the map's XMP: lists where the channels differ."""
    single = {
        "hdrgm:Version": "1.0",
        "hdrgm:HDRCapacityMin": _text(gain.base_headroom),
        "hdrgm:HDRCapacityMax": _text(gain.alternate_headroom),
        "hdrgm:BaseRenditionIsHDR": "False",
    }
    columns = {
        "hdrgm:GainMapMin": [c.minimum for c in gain.channels],
        "hdrgm:GainMapMax": [c.maximum for c in gain.channels],
        "hdrgm:Gamma": [c.gamma for c in gain.channels],
        "hdrgm:OffsetSDR": [c.base_offset for c in gain.channels],
        "hdrgm:OffsetHDR": [c.alternate_offset for c in gain.channels],
    }
    lists = ""
    for name, numbers in columns.items():
        if len(set(numbers)) == 1:
            single[name] = _text(numbers[0])
        else:
            items = "".join(f"<rdf:li>{_text(number)}</rdf:li>" for number in numbers)
            lists += f"<{name}><rdf:Seq>{items}</rdf:Seq></{name}>"
    return description({"hdrgm": ADOBE}, single, lists)


def _iso(gain: Gain) -> bytes:
    """Return the map's metadata of ISO 21496-1."""
    flags = IN_BASE_COLOURS | (MULTICHANNEL if len(gain.channels) > 1 else 0)
    numbers = [gain.base_headroom, gain.alternate_headroom]
    for channel in gain.channels:
        numbers += _five(channel)
    return _VERSIONS + bytes([flags]) + b"".join(_fraction(number) for number in numbers)


def _five(channel: Channel) -> tuple[float, ...]:
    offsets = (channel.base_offset, channel.alternate_offset)
    return (channel.minimum, channel.maximum, channel.gamma, *offsets)


def _fraction(number: float) -> bytes:
    above, below = number.as_integer_ratio()
    if below > DENOMINATOR:
        above, below = round(number * DENOMINATOR), DENOMINATOR
        divisor = math.gcd(above, below)
        above, below = above // divisor, below // divisor
    return struct.pack(">iI", above, below)


def _text(number: float) -> str:
    """Return the number as digits, without an exponent, which not every reader knows."""
    return f"{number:.7f}".rstrip("0").rstrip(".")
