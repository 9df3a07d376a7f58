"""Finds XMP, IPTC and C2PA in the segments of a JPEG. EXIF is left to the decoder.

Rule 1: the walk ends at the first scan.
Rule 2: a part of an extension counts once, and all of them together have a bound.
Source: XMP specification, part 3 (Storage in files), 1.1.3; C2PA 2.1, A.3.1.
"""

from __future__ import annotations

import struct
from typing import Final

from fastproc.core.gate.reading import Buffer
from fastproc.core.gate.segments import XMP_SIGN, segments
from fastproc.worker.containers.contents import MAX_BLOCK_BYTES, Contents, is_manifest_store

_APP1, _APP11, _APP13 = 0xE1, 0xEB, 0xED
_EXTENSION: Final = b"http://ns.adobe.com/xmp/extension/\0"
_PHOTOSHOP: Final = b"Photoshop 3.0\0"
_JUMBF: Final = b"JP"
#: Name of the extension, its whole length, this part's place.
_PART: Final = struct.Struct(">32sII")


def contents(data: Buffer) -> Contents:
    """Return what describes the photo."""
    found = Contents()
    resources = bytearray()
    parts: dict[bytes, dict[int, bytes]] = {}
    extended = 0
    for marker, start, end in segments(data):
        if marker == _APP1:
            head = bytes(data[start : start + len(_EXTENSION)])
            if head.startswith(XMP_SIGN):
                found.add_xmp(bytes(data[start + len(XMP_SIGN) : end]))
            elif head == _EXTENSION and end - start > len(head) + _PART.size:
                name, _, place = _PART.unpack_from(data, start + len(head))
                extended += end - start
                if extended <= MAX_BLOCK_BYTES:
                    part = bytes(data[start + len(head) + _PART.size : end])
                    parts.setdefault(name, {}).setdefault(place, part)
        elif marker == _APP13 and bytes(data[start : start + len(_PHOTOSHOP)]) == _PHOTOSHOP:
            # A resource may go on in the next segment.
            if len(resources) <= MAX_BLOCK_BYTES:
                resources += data[start + len(_PHOTOSHOP) : end]
        elif marker == _APP11 and bytes(data[start : start + 2]) == _JUMBF:
            # Two letters, the box's number, the packet's number; then the box.
            found.credentials |= is_manifest_store(bytes(data[start + 8 : min(start + 28, end)]))
    if extended > MAX_BLOCK_BYTES:
        found.unread.append(f"an XMP extension of {extended} bytes was not read")
    else:
        found.extensions = {
            name.decode("latin-1"): _joined(found_parts) for name, found_parts in parts.items()
        }
    found.resources = bytes(resources[:MAX_BLOCK_BYTES])
    return found


def _joined(parts: dict[int, bytes]) -> bytes:
    """Return the parts in order, up to the first that is missing."""
    whole = bytearray()
    for place in sorted(parts):
        if place != len(whole):
            break
        whole += parts[place]
    return bytes(whole)
