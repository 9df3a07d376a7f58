"""Reads Canon's CR3, which is made of boxes: its previews, its full-size JPEG, its EXIF in parts.

Rule 1: boxes are found on their path alone (never searched for), at most MAX_BOXES on a level.
Source: ISO/IEC 14496-12 (moov, trak, stsz, stco, co64); L. Clevy, "Canon CR3 file format" (CMT1 to 4, PRVW, THMB).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from fastproc.core.gate.raw.contents import Contents, Part, Place
from fastproc.core.gate.raw.directories import Tiff

#: A CR3 has seven boxes on its top level, and four tracks.
MAX_BOXES: Final = 32
BRAND: Final = b"crx "
_CANON: Final = bytes.fromhex("85c0b687820f11e08111f4ce462b6a48")
_PREVIEW: Final = bytes.fromhex("eaf42b5e1c984b88b9fbb7dc406e4d16")
_TRACK: Final = (b"mdia", b"minf", b"stbl")
#: A preview's JPEG begins so early in its box, behind numbers which differ from version to version.
_HEAD_BYTES: Final = 64
_ORIENTATION: Final = 0x0112


def read(data: memoryview) -> Contents:
    """Return what the boxes say of a file whose brand is BRAND."""
    previews: list[Place] = []
    parts: dict[bytes, Part] = {}
    end = 0
    for kind, start, stop in _boxes(data, 0, len(data)):
        end = max(end, stop)
        if kind == b"moov":
            for inner, at, until in _boxes(data, start, min(stop, len(data))):
                if inner == b"uuid" and bytes(data[at : at + 16]) == _CANON:
                    parts |= _parts(data, at + 16, until)
                    previews += _pictures(data, at + 16, until)
                elif inner == b"trak":
                    previews += _sample(data, at, until)
        elif kind == b"uuid" and bytes(data[start : start + 16]) == _PREVIEW:
            # Eight bytes of unknown meaning come before the box.
            previews += _pictures(data, start + 24, stop)
    main = parts.get(b"CMT1")
    return Contents(
        kind="cr3",
        previews=tuple(previews),
        orientation=_orientation(main),
        end=max([end, *(place.end for place in previews)]),
        main=main,
        exif=parts.get(b"CMT2"),
        gps=parts.get(b"CMT4"),
    )


def _boxes(data: memoryview, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield type, begin and end of the content of the boxes in a range. The last may end beyond it."""
    for _ in range(MAX_BOXES):
        if at + 8 > end or at + 8 > len(data):
            return
        length, kind = struct.unpack_from(">I4s", data, at)
        head = 8
        if length == 1 and at + 16 <= len(data):
            [length], head = struct.unpack_from(">Q", data, at + 8), 16
        if length < head:  # 0: to the end of the file
            return
        yield kind, at + head, at + length
        at += length


def _parts(data: memoryview, start: int, end: int) -> dict[bytes, Part]:
    """Return the EXIF directories: CMT1 is the main one, CMT2 EXIF's, CMT4 the position's."""
    found = {}
    for kind, at, _ in _boxes(data, start, end):
        tiff = Tiff.at(data, at) if kind in (b"CMT1", b"CMT2", b"CMT4") else None
        if tiff is not None:
            found[kind] = Part(tiff, tiff.first())
    return found


def _pictures(data: memoryview, start: int, end: int) -> list[Place]:
    found = []
    for kind, at, until in _boxes(data, start, end):
        if kind in (b"PRVW", b"THMB"):
            before = bytes(data[at : at + _HEAD_BYTES]).find(b"\xff\xd8\xff")
            found += [Place(at + before, until - at - before)] if before >= 0 else []
    return found


def _sample(data: memoryview, start: int, end: int) -> list[Place]:
    """Return where the first sample of a track is: one of the tracks has the full-size JPEG."""
    for step in _TRACK:
        start, end = next(((at, to) for kind, at, to in _boxes(data, start, end) if kind == step), (0, 0))
    boxes = {kind: at for kind, at, _ in _boxes(data, start, end)}
    try:
        [size] = struct.unpack_from(">I", data, boxes[b"stsz"] + 4)
        if not size:
            [size] = struct.unpack_from(">I", data, boxes[b"stsz"] + 12)
        place = boxes.get(b"co64")
        [offset] = (
            struct.unpack_from(">I", data, boxes[b"stco"] + 8)
            if place is None
            else struct.unpack_from(">Q", data, place + 8)
        )
    except (KeyError, struct.error):
        return []
    return [Place(offset, size)]


def _orientation(main: Part | None) -> int | None:
    if main is None:
        return None
    entry = main.tiff.directory(main.offset, (_ORIENTATION,)).entries.get(_ORIENTATION)
    number = main.tiff.number(entry)
    return number if number in range(1, 9) else None
