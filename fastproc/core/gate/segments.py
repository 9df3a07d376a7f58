"""Walks the segments of a JPEG up to its first scan: for what stands in them, not to judge the file (`gate.jpeg`).

Rule 1: what libjpeg tolerates between two segments (fill, junk, stray markers) is tolerated here, within bounds.
Rule 2: the walk ends where something is wrong; nothing is raised.
Source: ITU-T T.81, annex B.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from fastproc.core.gate.reading import Buffer

#: Camera files have about 20 segments, at most 250 with a large profile or extended XMP.
MAX_SEGMENTS: Final = 4_000
#: Junk that libjpeg skips between two segments. Camera files have up to a few hundred bytes.
MAX_JUNK_BYTES: Final = 4_096
#: How an APP1 segment with XMP begins (XMP specification, part 3, 1.1.3).
XMP_SIGN: Final = b"http://ns.adobe.com/xap/1.0/\0"

_SCAN, _END = 0xDA, 0xD9


def segments(data: Buffer, start: int = 0) -> Iterator[tuple[int, int, int]]:
    """Yield marker, begin and end of the content of each segment of the JPEG at `start`, as far as the data goes."""
    at, size = start + 2, len(data)
    for _ in range(MAX_SEGMENTS):
        if at + 4 > size:
            return
        if data[at] != 0xFF:
            junk = bytes(data[at : at + MAX_JUNK_BYTES]).find(b"\xff")
            if junk < 0:
                return
            at += junk
            continue
        marker = data[at + 1]
        if marker == 0xFF:
            fill = bytes(data[at : at + MAX_JUNK_BYTES])
            at += max(1, len(fill) - len(fill.lstrip(b"\xff")) - 1)
        elif marker in (0x00, 0x01) or 0xD0 <= marker <= 0xD8:
            at += 2
        else:
            length = struct.unpack_from(">H", data, at + 2)[0]
            if marker in (_SCAN, _END) or length < 2:
                return
            yield marker, at + 4, min(at + 2 + length, size)
            at += 2 + length
