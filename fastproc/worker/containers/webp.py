"""Finds XMP and C2PA in the chunks of a WebP. EXIF is left to the decoder.

Source: RFC 9649, 2.7; C2PA 2.1, A.3.4 (RIFF).
"""

from __future__ import annotations

import struct

from fastproc.core.gate.reading import MAX_CHUNKS, Buffer
from fastproc.worker.containers.contents import MAX_BLOCK_BYTES, Contents, is_manifest_store


def contents(data: Buffer) -> Contents:
    """Return what describes the photo."""
    found = Contents()
    at, end = 12, len(data) - 8
    for _ in range(MAX_CHUNKS):
        if at > end:
            break
        kind, length = struct.unpack_from("<4sI", data, at)
        body = at + 8
        # Some writers end the name with a zero.
        if kind in (b"XMP ", b"XMP\0"):
            found.add_xmp(bytes(data[body : body + min(length, MAX_BLOCK_BYTES + 1)]))
        elif kind == b"C2PA":
            found.credentials |= is_manifest_store(bytes(data[body : body + min(length, 20)]))
        at = body + length + (length & 1)
    return found
