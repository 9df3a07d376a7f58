"""Tells whether a file that a decoder has refused is cut short, or damaged.

Rule 1: pure bytes in, yes or no out; every walk is bounded, no file is copied whole.
"""

from __future__ import annotations

import struct
from typing import Final

from fastproc.core.errors import ImageError
from fastproc.core.gate import jpeg
from fastproc.core.gate.reading import Buffer
from fastproc.core.header import Header

_WINDOW: Final = 1 << 20
_END_OF_IMAGE: Final = b"\xff\xd9"
#: A GIF's trailer; some programs write zeros after it.
_GIF_TRAILER: Final = 0x3B
_GIF_FILL_BYTES: Final = 4096
_MAX_BOXES: Final = 1_000


def ends_early(data: Buffer, header: Header) -> bool:
    """Return whether the end of the picture is missing. `header` is the one that the gate returned."""
    if not header.whole:
        return True
    if header.format == "jpeg":
        return _jpeg_ends_early(data)
    if header.format == "gif":
        return bytes(data[-_GIF_FILL_BYTES:]).rstrip(b"\0")[-1:] != bytes([_GIF_TRAILER])
    return header.format in ("heic", "avif") and _boxes_end_early(data)


def _jpeg_ends_early(data: Buffer) -> bool:
    """Entropy-coded data is stuffed, so the end marker's bytes after the first scan header are the real end."""
    try:
        start = jpeg.first_scan(data)
    except (ImageError, IndexError, struct.error):
        return True
    # One byte of overlap: the marker may lie across two windows.
    windows = range(start, len(data), _WINDOW)
    return not any(_END_OF_IMAGE in bytes(data[at : at + _WINDOW + 1]) for at in windows)


def _boxes_end_early(data: Buffer) -> bool:
    at = 0
    for _ in range(_MAX_BOXES):
        if at + 8 > len(data):
            break
        length = struct.unpack_from(">I", data, at)[0]
        if length == 1 and at + 16 <= len(data):
            length = struct.unpack_from(">Q", data, at + 8)[0]
        if length < 8:  # 0: to the end of the file
            return False
        at += length
    return at > len(data)
