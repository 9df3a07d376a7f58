"""Copies the EXIF fields of a raw file's directories into a block of their own, as a JPEG would have them; its XMP.

Rule 1: directories are copied, not searched for: main, EXIF, position. What is private (maker notes) or points
        elsewhere in the file stays out.
Rule 2: the block is bounded, whatever the file says: many entries may name the same bytes.
Source: TIFF 6.0, section 2; Exif 3.0, 4.6.
"""

from __future__ import annotations

import struct
from typing import Final

from fastproc.core.gate.raw.contents import Contents, Part
from fastproc.core.gate.raw.directories import SIZES, Entry

_EXIF, _GPS = 0x8769, 0x8825
#: Offsets and sizes of picture data and of other directories, maker notes, private data, a JPEG as a value.
_POINTERS: Final = (0x0111, 0x0117, 0x0144, 0x0145, 0x014A, 0x0201, 0x0202, _EXIF, _GPS, 0xA005)
#: A packet of XMP as a value of the main directory (XMP specification, part 3, 1.1.3).
_XMP: Final = 0x02BC
_LEFT_OUT: Final = frozenset({*_POINTERS, _XMP, 0x002E, 0x927C, 0xC634, 0xC68B})
#: Longer texts are cut; other values are left out. The longest that a field needs is a text of 8 KiB.
MAX_VALUE_BYTES: Final = 16 << 10
MAX_BLOCK_BYTES: Final = 256 << 10
#: XMP as long as that is read of other containers, too; programs that keep their edits in it take up to 300 KB.
MAX_XMP_BYTES: Final = 1 << 20
_TEXTS: Final = frozenset({2, 129})
#: Where the main directory of the block is, behind the block's own header.
_MAIN_AT: Final = 8
_Fields = list[tuple[int, int, int, bytes]]


def block(found: Contents) -> bytes | None:
    """Return the EXIF of a raw file; None where its container has no directory, as RAF has none."""
    if found.main is None:
        return None
    order = found.main.tiff.order
    parts = (found.main, found.exif, found.gps)
    main, exif, gps = (_fields(part) if part and part.tiff.order == order else [] for part in parts)
    exif_at = _MAIN_AT + _size(main) + 2 * 12
    gps_at = exif_at + _size(exif)
    links = [(tag, 4, 1, struct.pack(order + "I", at)) for tag, at in ((_EXIF, exif_at), (_GPS, gps_at))]
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", _MAIN_AT)
    return (
        head
        + _directory([*main, *links], _MAIN_AT, order)
        + _directory(exif, exif_at, order)
        + _directory(gps, gps_at, order)
    )


def xmp(found: Contents) -> bytes | None:
    """Return the packet of XMP in a raw file's main directory; None if there is none, or it is too long."""
    if found.main is None:
        return None
    entry = found.main.tiff.directory(found.main.offset).entries.get(_XMP)
    if entry is None or entry.size > MAX_XMP_BYTES:
        return None
    return bytes(found.main.tiff.data[entry.at : entry.at + entry.size]) or None


def _fields(part: Part) -> _Fields:
    """Return tag, type, count and bytes of a directory's values, within a third of the block."""
    found: _Fields = []
    left = MAX_BLOCK_BYTES // 3
    for tag, entry in part.tiff.directory(part.offset).entries.items():
        if tag in _LEFT_OUT:
            continue
        value = _value(part, entry)
        left -= len(value) + 12
        if left < 0:
            break
        if value:
            found.append((tag, entry.kind, len(value) // SIZES[entry.kind], value))
    return found


def _value(part: Part, entry: Entry) -> bytes:
    if entry.size > MAX_VALUE_BYTES and entry.kind not in _TEXTS:
        return b""
    data = part.tiff.data
    value = bytes(data[entry.at : min(entry.at + min(entry.size, MAX_VALUE_BYTES), len(data))])
    return value if entry.kind in _TEXTS or len(value) == entry.size else b""


def _size(fields: _Fields) -> int:
    return 6 + sum(12 + (len(value) if len(value) > 4 else 0) for *_, value in fields)


def _directory(fields: _Fields, at: int, order: str) -> bytes:
    """Return a directory that stands at `at`, followed by its values."""
    entries, values = bytearray(), bytearray()
    beyond = at + 6 + 12 * len(fields)
    for tag, kind, count, value in fields:
        inside = len(value) <= 4
        place = value.ljust(4, b"\0") if inside else struct.pack(order + "I", beyond + len(values))
        entries += struct.pack(order + "HHI", tag, kind, count) + place
        values += b"" if inside else value
    return struct.pack(order + "H", len(fields)) + bytes(entries) + bytes(4) + bytes(values)
