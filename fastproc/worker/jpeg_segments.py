"""Writes segments of JPEG files: XMP, and whatever goes between a file's beginning and its picture.

Rule 1: a JPEG has one XMP packet (XMP Specification, Part 3, 1.1.3), so all that is to be said goes into one call of
        `xmp`, as one description for each subject.
Rule 2: nothing of a source passes unchecked: callers give numbers, and texts that went through `quoted`.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from typing import Final

from fastproc.core.gate.segments import XMP_SIGN
from fastproc.worker.xmp.writing import packet

APP1: Final = 0xE1
APP2: Final = 0xE2
MAX_BODY_BYTES: Final = 65_533
_JFIF: Final = b"\xff\xe0"
_QUOTED: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"})
#: What no XML document may have, quoted or not (XML 1.0, 2.2).
_FORBIDDEN: Final = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]+")


def segment(marker: int, body: bytes) -> bytes:
    """Return a segment. Raises ValueError if the body is longer than a segment can be."""
    if len(body) > MAX_BODY_BYTES:
        raise ValueError(f"a segment cannot have {len(body)} bytes")
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def quoted(text: str) -> str:
    """Return the text as it stands in XML, in an element or between double quotes."""
    return _FORBIDDEN.sub("", text).translate(_QUOTED)


def description(namespaces: dict[str, str], attributes: dict[str, str], content: str = "") -> str:
    """Return an rdf:Description: prefixes and their namespaces, simple properties, and its content as XML."""
    names = {f"xmlns:{prefix}": uri for prefix, uri in namespaces.items()}
    listed = "".join(f' {name}="{quoted(value)}"' for name, value in (names | attributes).items())
    return f'<rdf:Description rdf:about=""{listed}>{content}</rdf:Description>'


def xmp(descriptions: Iterable[str]) -> bytes:
    """Return the segment of the one XMP packet with these descriptions. Raises ValueError if they are too long."""
    return segment(APP1, XMP_SIGN + packet(descriptions))


def place(jpeg: bytes) -> int:
    """Return where segments go in: after the start marker, and after JFIF's, which must be the first."""
    return 4 + struct.unpack_from(">H", jpeg, 4)[0] if jpeg[2:4] == _JFIF else 2


def inserted(jpeg: bytes, segments: Iterable[bytes]) -> bytes:
    """Return the file with these segments before its picture."""
    at = place(jpeg)
    return b"".join((jpeg[:at], *segments, jpeg[at:]))
