"""Finds the pictures that follow the first one in a JPEG file: by the Multi-Picture Format's index, or by a search.

Rule 1: the index is read as it is written: offsets count from its own byte-order mark, and the first entry is the
        picture that holds the index.
Rule 2: every walk has a bound, and a place where no JPEG begins is left out. Nothing is raised.

Source: CIPA DC-007 (Multi-Picture Format), MP Index IFD.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from fastproc.core.gate.reading import Buffer
from fastproc.core.gate.segments import segments

#: Pictures that are looked at: phones write up to four (gain map, depth, portrait matte, video), cameras two or three.
MAX_PICTURES: Final = 16
#: The index has three entries, seven with the tags for panoramas and stereo.
MAX_TAGS: Final = 32
_ENTRIES, _UNDEFINED = 0xB002, 7
_ENTRY_BYTES: Final = 16
_WINDOW: Final = 1 << 20
_START: Final = b"\xff\xd8\xff"

#: Where a picture begins, and where it ends at the latest.
Place = tuple[int, int]


def indexed(data: Buffer) -> list[Place]:
    """Return the places of the further pictures in the index of the file's first picture."""
    for marker, begin, end in segments(data):
        if marker == 0xE2 and bytes(data[begin : begin + 4]) == b"MPF\0":
            places = dict.fromkeys(_places(bytes(data[begin + 4 : end]), begin + 4, len(data)))
            return [place for place in places if bytes(data[place[0] : place[0] + len(_START)]) == _START]
    return []


def searched(data: Buffer, start: int) -> Iterator[Place]:
    """Yield the places after `start` where a JPEG seems to begin; each ends with the file.

    In entropy-coded data FF is stuffed, so a first scan header is a good `start`: no match lies in the first picture.
    """
    count = 0
    for window in range(start, len(data), _WINDOW):
        chunk = bytes(data[window : window + _WINDOW + len(_START) - 1])
        at = chunk.find(_START)
        while at >= 0:
            yield window + at, len(data)
            count += 1
            if count == MAX_PICTURES:
                return
            at = chunk.find(_START, at + len(_START))


def _places(index: bytes, base: int, size: int) -> list[Place]:
    """Return the pictures of an index whose byte-order mark is at `base` of a file of `size` bytes."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(index[:4])
    if order is None:
        return []
    try:
        entries = _entries(index, order)
        found = [struct.unpack_from(order + "II", index, entry + 4) for entry in entries]
    except struct.error:
        return []
    return [
        (base + offset, min(base + offset + length, size))
        for length, offset in found
        if offset and length and base + offset < size
    ]


def _entries(index: bytes, order: str) -> range:
    """Return where the entries of the index begin, none if there is no list. Raises struct.error."""
    directory = struct.unpack_from(order + "I", index, 4)[0]
    count = min(struct.unpack_from(order + "H", index, directory)[0], MAX_TAGS)
    for at in range(directory + 2, directory + 2 + 12 * count, 12):
        tag, kind, length, offset = struct.unpack_from(order + "HHII", index, at)
        if (tag, kind) == (_ENTRIES, _UNDEFINED) and length > 4:
            whole = min(length // _ENTRY_BYTES, MAX_PICTURES)
            return range(offset, offset + whole * _ENTRY_BYTES, _ENTRY_BYTES)
    return range(0)
