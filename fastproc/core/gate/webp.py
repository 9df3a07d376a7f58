"""Reads the header of WebP files: the first chunk, and the number of frames of an animation."""

from __future__ import annotations

import struct

from fastproc.core.errors import FileCorrupted, ImageTooComplex
from fastproc.core.gate.reading import MAX_CHUNKS, Buffer, Reading
from fastproc.core.header import Header
from fastproc.core.model import Limits


def read(data: Buffer, limits: Limits) -> Reading:
    """Return the header. Raises FileCorrupted, ImageTooComplex; IndexError or struct.error where the data ends."""
    kind, frames = bytes(data[12:16]), 1
    if kind == b"VP8X":
        width = int.from_bytes(data[24:27], "little") + 1
        height = int.from_bytes(data[27:30], "little") + 1
        frames = _frames(data, limits.max_frames) if data[20] & 2 else 1
    elif kind == b"VP8L" and data[20] == 0x2F:
        bits = struct.unpack_from("<I", data, 21)[0]
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif kind == b"VP8 " and bytes(data[23:26]) == b"\x9d\x01\x2a":
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    else:
        raise FileCorrupted("no picture in the WebP container")
    header = Header(
        format="webp",
        width=width,
        height=height,
        frames=frames,
        decoded_bytes=width * height * 8,
        profiled=kind == b"VP8X" and bool(data[20] & 0x20),
        whole=struct.unpack_from("<I", data, 4)[0] + 8 <= len(data) + 1,
    )
    too_many = f"{frames} frames, the limit is {limits.max_frames}" if frames > limits.max_frames else ""
    return header, too_many


def _frames(data: Buffer, limit: int) -> int:
    """Count the frames of an animation, up to just over `limit`."""
    frames, at = 0, 12
    for _ in range(MAX_CHUNKS):
        if at + 8 > len(data) or frames > limit:
            return max(1, frames)
        kind, length = struct.unpack_from("<4sI", data, at)
        frames += kind == b"ANMF"
        at += 8 + length + (length & 1)
    raise ImageTooComplex(f"more than {MAX_CHUNKS} chunks")
