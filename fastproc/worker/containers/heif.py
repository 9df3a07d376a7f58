"""Finds C2PA in the boxes of a HEIC or AVIF. EXIF and XMP are items, which the decoder finds.

Source: ISO/IEC 14496-12, 4.2; C2PA 2.1, A.5: a `uuid` box of a type of its own.
"""

from __future__ import annotations

import struct
from typing import Final

from fastproc.core.gate.heif import MAX_TOP_BOXES
from fastproc.core.gate.reading import Buffer
from fastproc.worker.containers.contents import Contents, is_manifest_store

_C2PA: Final = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")


def contents(data: Buffer) -> Contents:
    """Return what describes the photo."""
    found = Contents()
    at = 0
    for _ in range(MAX_TOP_BOXES):
        if at + 8 > len(data):
            break
        length, kind = struct.unpack_from(">I4s", data, at)
        body = at + 8
        if length == 1 and at + 16 <= len(data):
            length = struct.unpack_from(">Q", data, body)[0]
            body += 8
        if kind == b"uuid":
            found.credentials |= bytes(data[body : body + 16]) == _C2PA
        elif kind == b"jumb":
            found.credentials |= is_manifest_store(bytes(data[at : at + 28]))
        if length < 8:
            break
        at += length
    return found
