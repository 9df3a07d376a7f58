"""Reads the header of PNG files: the first chunk, then the kinds of all others; nothing is inflated."""

from __future__ import annotations

import struct
from typing import Final

from fastproc.core.errors import FileCorrupted, ImageTooComplex
from fastproc.core.gate.reading import MAX_CHUNKS, Buffer, Reading
from fastproc.core.model import Header, Limits

#: Deflate expands 1032 times at most (zlib, technical details).
MAX_DEFLATE_EXPANSION: Final = 1100
#: Bytes of rows that every file may have beyond that: the header of a small file is larger than its data.
FREE_BYTES: Final = 4096
#: libpng inflates every text chunk when it reads the header: 200 of 8 MB cost 0.7 s.
MAX_TEXT_CHUNKS: Final = 64

_CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_TEXT: Final = frozenset({b"tEXt", b"zTXt", b"iTXt"})


def read(data: Buffer, limits: Limits) -> Reading:
    """Return the header. Raises FileCorrupted, ImageTooComplex; IndexError or struct.error where the data ends."""
    if bytes(data[12:16]) != b"IHDR":
        raise FileCorrupted("the first chunk is not IHDR")
    width, height, depth, colour, _, _, interlace = struct.unpack_from(">IIBBBBB", data, 16)
    if colour not in _CHANNELS:
        raise FileCorrupted("impossible colour type")
    frames, too_complex, whole = _chunks(data, limits.max_icc_bytes)
    row = (width * _CHANNELS[colour] * depth + 7) // 8
    if row * height > MAX_DEFLATE_EXPANSION * len(data) + FREE_BYTES:
        raise FileCorrupted(f"{width}x{height} pixels are more than the data can hold")
    header = Header(
        format="png",
        width=width,
        height=height,
        frames=frames if frames <= limits.max_frames else 1,
        progressive=bool(interlace),
        whole=whole,
        decoded_bytes=row * height * 8 // 7 if interlace else row * 64,
    )
    return header, too_complex


def _chunks(data: Buffer, max_icc_bytes: int) -> tuple[int, str, bool]:
    """Return the frames that an animation announces, why the file is too complex (""), and whether there is an end.

    An absurd number of frames does not refuse the file: only the still picture is decoded.
    """
    frames, texts, too_complex = 1, 0, ""
    at, end = 8, len(data) - 8
    for _ in range(MAX_CHUNKS):
        if at > end:
            return frames, too_complex or _too_many_texts(texts), False
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"IEND":
            return frames, too_complex or _too_many_texts(texts), True
        if kind in _TEXT:
            texts += 1
        elif kind == b"acTL":
            frames = max(1, struct.unpack_from(">I", data, at + 8)[0])
        elif kind == b"iCCP" and length > max_icc_bytes:
            too_complex = f"a colour profile of {length} bytes"
        at += 12 + length
    raise ImageTooComplex(f"more than {MAX_CHUNKS} chunks")


def _too_many_texts(texts: int) -> str:
    return f"more than {MAX_TEXT_CHUNKS} text chunks" if texts > MAX_TEXT_CHUNKS else ""
