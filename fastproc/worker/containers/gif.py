"""Finds XMP and C2PA in the application extensions of a GIF.

Source: GIF89a, 26; XMP specification, part 3, 1.1.2: a packet is not cut into blocks, but ends with the bytes FF to 00,
through which a reader of blocks reaches its end; C2PA 2.1, A.3.3.
"""

from __future__ import annotations

import contextlib
from typing import Final

from fastproc.core.gate.reading import Buffer
from fastproc.worker.containers.contents import MAX_BLOCK_BYTES, Contents

#: Blocks and parts of blocks that are walked: a picture's data has one for each 255 bytes.
MAX_STEPS: Final = 50_000
_XMP: Final = b"XMP DataXMP"
_C2PA: Final = b"C2PA_GIF"
_IMAGE, _EXTENSION, _APPLICATION = 0x2C, 0x21, 0xFF


def contents(data: Buffer) -> Contents:
    """Return what describes the photo."""
    found = Contents()
    # A file that ends early counts as far as it goes.
    with contextlib.suppress(IndexError):
        _walk(data, found)
    return found


def _walk(data: Buffer, found: Contents) -> None:
    at, steps = 13 + _table(data[10]), MAX_STEPS
    while steps > 0:
        kind = data[at]
        if kind == _IMAGE:
            start = at + 11 + _table(data[at + 9])
        elif kind == _EXTENSION:
            start = at + 2
        else:
            return
        end, used = _end(data, start, steps)
        steps -= used
        if kind == _EXTENSION and data[at + 1] == _APPLICATION:
            _application(bytes(data[start : start + 12]), data, start + 12, end, found)
        at = end


def _table(packed: int) -> int:
    """Return the bytes of a table of colours."""
    return 3 << (packed & 7) + 1 if packed & 0x80 else 0


def _end(data: Buffer, at: int, steps: int) -> tuple[int, int]:
    """Return where blocks end, and how many there were. Raises IndexError where there is no end."""
    for used in range(1, steps + 1):
        size = data[at]
        at += 1 + size
        if not size:
            return at, used
    raise IndexError


def _application(head: bytes, data: Buffer, start: int, end: int, found: Contents) -> None:
    name = head[1:]
    if name == _XMP:
        # The last 257 bytes are the trailer.
        found.add_xmp(
            bytes(data[start : min(end, start + MAX_BLOCK_BYTES + 1)]).partition(b"\1\xff\xfe\xfd")[0]
        )
    elif name.startswith(_C2PA):
        found.credentials = True
