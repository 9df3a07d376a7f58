"""Reads the header of JPEG XL files: a bare codestream, or one in boxes.

Rule 1: sides are the codestream's, before its own orientation, which the decoder applies.
Rule 2: frames are not counted: there is no index, and a decoder that decodes the first must walk them itself.
Source: ISO/IEC 18181-1, annex D (SizeHeader); 18181-2, 9 (boxes).
"""

from __future__ import annotations

import struct
from typing import Final

from fastproc.core.errors import FileCorrupted, ImageTooComplex
from fastproc.core.gate.reading import Buffer, Reading
from fastproc.core.header import Header
from fastproc.core.model import Limits

CODESTREAM: Final = b"\xff\x0a"
BOXES: Final = b"\0\0\0\x0cJXL \r\n\x87\n"
#: A file has up to ten boxes, and one more for each part of its codestream.
MAX_BOXES: Final = 4_000
#: Bits of a side, by two bits that say which.
_SIDE_BITS: Final = (9, 13, 18, 30)
#: Width to height, by three bits; 0: the width has bits of its own.
_RATIOS: Final = (None, (1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
#: The longest size header: one bit, two sides of 32 bits, three bits of ratio.
_HEADER_BYTES: Final = 9
#: Memory per pixel of a decode, rounded up from what was measured (tuning.md, "JPEG XL").
BYTES_A_PIXEL: Final = 24


class _Bits:
    """Numbers of a few bits each, the lowest bit first."""

    def __init__(self, data: bytes) -> None:
        self._number, self._left = int.from_bytes(data, "little"), 8 * len(data)

    def take(self, count: int) -> int:
        """Raises IndexError where the data ends."""
        if count > self._left:
            raise IndexError("the header is cut short")
        value = self._number & ((1 << count) - 1)
        self._number, self._left = self._number >> count, self._left - count
        return value


def read(data: Buffer, limits: Limits) -> Reading:
    """Return the header. Raises FileCorrupted, ImageTooComplex; IndexError or struct.error where the data ends."""
    at, end = (0, len(data)) if bytes(data[:2]) == CODESTREAM else _codestream(data)
    if bytes(data[at : at + 2]) != CODESTREAM:
        raise FileCorrupted("no codestream in the JPEG XL file")
    width, height = _sides(_Bits(bytes(data[at + 2 : at + 2 + _HEADER_BYTES])))
    header = Header(
        format="jxl",
        width=width,
        height=height,
        decoded_bytes=width * height * BYTES_A_PIXEL,
        whole=end <= len(data),
    )
    return header, ""


def _sides(bits: _Bits) -> tuple[int, int]:
    small = bits.take(1)
    height = _side(bits, small)
    ratio = _RATIOS[bits.take(3)]
    width = height * ratio[0] // ratio[1] if ratio else _side(bits, small)
    return width, height


def _side(bits: _Bits, small: int) -> int:
    return 8 * (bits.take(5) + 1) if small else bits.take(_SIDE_BITS[bits.take(2)]) + 1


def _codestream(data: Buffer) -> tuple[int, int]:
    """Return where the codestream begins, and where the last box ends."""
    at, found = 0, 0
    for _ in range(MAX_BOXES):
        if at + 8 > len(data):
            break
        length, kind = struct.unpack_from(">I4s", data, at)
        head = 8
        if length == 1:
            [length], head = struct.unpack_from(">Q", data, at + 8), 16
        if not found and kind in (b"jxlc", b"jxlp"):
            # A part begins with its number.
            found = at + head + 4 * (kind == b"jxlp")
        if length == 0:
            at = len(data)
        elif length < head:
            raise FileCorrupted("a box has no length")
        else:
            at += length
    else:
        raise ImageTooComplex(f"more than {MAX_BOXES} boxes")
    return found, at
