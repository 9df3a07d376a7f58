"""Chooses a raw file's preview: the largest JPEG in it that an ordinary decoder can read.

Rule 1: a candidate counts by its own frame header: baseline or progressive, 8 bits, grey or three components. So the
        lossless JPEGs of sensor data are never taken.
Rule 2: the sensor's samples are never decoded: what is processed is a JPEG, judged by the reader of JPEGs.
Rule 3: the file is whole if all that its container names ends within it.
Rule 4: the container's orientation counts; the JPEG's own only where the container has none. A preview that lies
        across the sensor's picture has been turned already.
"""

from __future__ import annotations

import struct
from typing import Final

from msgspec import structs

from fastproc.core.errors import FileCorrupted, ImageError, UnsupportedFormat
from fastproc.core.gate import jpeg
from fastproc.core.gate.raw import boxes, raf, tiff
from fastproc.core.gate.raw.contents import MAX_CANDIDATES, Contents, Place
from fastproc.core.gate.reading import Buffer, Reading
from fastproc.core.header import Preview
from fastproc.core.model import Limits

NAME: Final = "raw"
_START: Final = b"\xff\xd8\xff"
#: Where a candidate must have its frame and its first scan: behind EXIF, a profile, a thumbnail of 64 KiB each.
HEAD_BYTES: Final = 1 << 20


def contents(data: Buffer) -> Contents | None:
    """Return what the container says; None for a file that is no raw file. Cost: 5 to 100 us, at most some ms."""
    view = memoryview(data)
    head = bytes(view[:16])
    if head[:4] in tiff.MAGICS:
        return tiff.read(view)
    if head.startswith(raf.MAGIC):
        return raf.read(view)
    if head[4:8] == b"ftyp" and head[8:12] == boxes.BRAND:
        return boxes.read(view)
    return None


def read(data: Buffer, limits: Limits) -> Reading:
    """Return the header of the preview, with where it is.

    Raises: UnsupportedFormat (no preview), FileCorrupted (it is not in the file), and what the reader of JPEGs raises.
    """
    view, found = memoryview(data), contents(data)
    if found is None:
        raise UnsupportedFormat
    place = _largest(view, found)
    header, too_complex = jpeg.read(view[place.offset : place.end], limits)
    preview = Preview(
        container=found.kind,
        offset=place.offset,
        size=min(place.end, len(view)) - place.offset,
        orientation=_orientation(found, header.width, header.height),
        sensor=found.sides,
    )
    whole = max(found.end, place.end) <= len(view)
    return structs.replace(header, format=NAME, whole=whole, preview=preview), too_complex


def _largest(data: memoryview, found: Contents) -> Place:
    """Return the candidate with the most pixels; one that is cut short only where no other is whole."""
    sized = [
        (place.end <= len(data), pixels, place)
        for place in list(dict.fromkeys(found.previews))[:MAX_CANDIDATES]
        if (pixels := _pixels(data, place))
    ]
    if sized:
        return max(sized, key=lambda each: each[:2])[2]
    if any(place.end > len(data) for place in found.previews) or found.end > len(data):
        raise FileCorrupted("the file is cut short")
    raise UnsupportedFormat(f"{found.kind} without a JPEG preview")


def _pixels(data: memoryview, place: Place) -> int:
    """Return the pixels of a JPEG by its frame header; 0 for what is no JPEG that can be decoded."""
    if bytes(data[place.offset : place.offset + len(_START)]) != _START:
        return 0
    try:
        width, height, components = jpeg.frame(data[place.offset : min(place.end, place.offset + HEAD_BYTES)])
    except (ImageError, IndexError, struct.error):
        return 0
    return width * height if components in (1, 3) else 0


def _orientation(found: Contents, width: int, height: int) -> int | None:
    sensor_width, sensor_height = found.sides
    turned = (found.orientation or 1) >= 5
    across = (sensor_width - sensor_height) * (width - height) < 0
    return 1 if turned and across else found.orientation
