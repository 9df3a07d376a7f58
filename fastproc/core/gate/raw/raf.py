"""Reads the header of Fujifilm's RAF: it names one JPEG, which has the EXIF and the orientation, and sensor data.

Source: ExifTool, Image::ExifTool::FujiFilm (RAF header); LibRaw, parse_fuji.
"""

from __future__ import annotations

import struct
from typing import Final

from fastproc.core.gate.raw.contents import Contents, Place

MAGIC: Final = b"FUJIFILMCCD-RAW"
#: Where the header has three pairs of offset and length: JPEG, metadata, sensor data.
_PAIRS: Final = 84


def read(data: memoryview) -> Contents:
    """Return what the header says. Raises struct.error where the data ends."""
    numbers = struct.unpack_from(">6I", data, _PAIRS)
    places = [Place(*pair) for pair in zip(numbers[::2], numbers[1::2], strict=True)]
    return Contents(kind="raf", previews=(places[0],), end=max(place.end for place in places))
