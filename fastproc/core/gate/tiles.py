"""Takes the coded parts of an AVIF picture out of their container, each as a file of its own.

A decoder that puts a grid together leaves a part that it cannot decode green and says nothing; of a file with one part
it says what is wrong.

Rule 1: only parts whose data lies in the file itself are taken; what cannot be read is left out.
Rule 2: all parts together are no longer than the file: parts that lie over each other are no camera's.
Source: ISO/IEC 14496-12, 8.11; ISO/IEC 23008-12, 6.5.3 and 9.3; the AV1 binding (AVIF), 2.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from fastproc.core.gate import heif
from fastproc.core.gate.items import Item, coded_parts

#: The properties that a decoder needs for a part alone.
_NEEDED: Final = (b"ispe", b"av1C", b"pixi")


def tiles(data: memoryview) -> Iterator[bytes]:
    """Yield the parts of the primary picture as AVIF files, if it is made of several. Raises as `heif.read`."""
    left = len(data)
    for item in coded_parts(heif.meta(data), b"av01"):
        # Of a file that is cut short, what is there.
        left -= sum(len(data[at : at + length]) for at, length in item.extents)
        if left < 0:
            return
        yield _file(item, b"".join(bytes(data[at : at + length]) for at, length in item.extents))


def _file(item: Item, coded: bytes) -> bytes:
    properties = [_box(kind, content) for kind, content in item.properties if kind in _NEEDED]
    head = _box(b"ftyp", b"avif" + bytes(4) + b"avifmif1")
    links = bytes(range(1, len(properties) + 1))

    def meta(start: int) -> bytes:
        return _full(
            b"meta",
            _full(b"hdlr", bytes(4) + b"pict" + bytes(13)),
            _full(b"pitm", struct.pack(">H", 1)),
            _full(b"iloc", struct.pack(">BBHHHHII", 0x44, 0, 1, 1, 0, 1, start, len(coded))),
            _full(b"iinf", struct.pack(">H", 1), _box(b"infe", b"\2\0\0\0\0\1\0\0av01\0")),
            _box(
                b"iprp",
                _box(b"ipco", *properties)
                + _full(b"ipma", struct.pack(">IHB", 1, 1, len(properties)) + links),
            ),
        )

    return head + meta(len(head) + len(meta(0)) + 8) + _box(b"mdat", coded)


def _box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I4s", len(body) + 8, kind) + body


def _full(kind: bytes, *parts: bytes) -> bytes:
    return _box(kind, bytes(4), *parts)
