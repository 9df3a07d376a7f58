"""Finds EXIF, XMP, IPTC and C2PA in the chunks of a PNG, before and after the picture.

Rule 1: EXIF is the chunk of its own, wherever it stands; else a text: programs wrote it so before there was the chunk
        (ImageMagick, GIMP, exiv2), as hexadecimal digits.
Rule 2: nothing is inflated beyond its bound, and no more texts are looked at than the gate lets pass.
Source: W3C PNG, third edition, 11.3; XMP specification, part 3, 1.1.5; ImageMagick, coders/png.c; C2PA 2.1, A.3.2.
"""

from __future__ import annotations

import struct
import zlib
from typing import Final

from fastproc.core.gate.png import MAX_TEXT_CHUNKS
from fastproc.core.gate.reading import MAX_CHUNKS, Buffer
from fastproc.core.gate.segments import XMP_SIGN
from fastproc.worker.containers.contents import MAX_BLOCK_BYTES, Contents, is_manifest_store

_TEXT: Final = frozenset({b"tEXt", b"zTXt", b"iTXt"})
_XMP: Final = b"xml:com.adobe.xmp"
_PROFILE: Final = b"raw profile type "
#: Pillow wrote EXIF so, as it is.
_PLAIN_EXIF: Final = b"exif"
_KEYWORDS: Final = frozenset(
    {_XMP, _PLAIN_EXIF, *(_PROFILE + name for name in (b"exif", b"app1", b"xmp", b"iptc", b"8bim"))}
)
_MAX_KEYWORD_BYTES: Final = 80
_MAX_HEAD_BYTES: Final = 160
#: Digits are two bytes for one, and lines end.
_MAX_TEXT_BYTES: Final = MAX_BLOCK_BYTES * 9 // 4
_EXIF_SIGN: Final = b"Exif\0\0"


def contents(data: Buffer) -> Contents:
    """Return what describes the photo."""
    found = Contents()
    texts: dict[bytes, bytes] = {}
    looked_at, at, end = 0, 8, len(data) - 8
    for _ in range(MAX_CHUNKS):
        if at > end:
            break
        length, kind = struct.unpack_from(">I4s", data, at)
        body, at = at + 8, at + 12 + length
        if kind == b"eXIf" and found.exif is None:
            found.exif = bytes(data[body : body + length])
        elif kind in _TEXT and looked_at < MAX_TEXT_CHUNKS:
            looked_at += 1
            keyword = bytes(data[body : body + min(length, _MAX_KEYWORD_BYTES)]).partition(b"\0")[0].lower()
            if keyword in _KEYWORDS and keyword not in texts:
                texts[keyword] = _text(data, body + len(keyword) + 1, body + length, kind, found)
        elif kind == b"caBX":
            found.credentials |= is_manifest_store(bytes(data[body : body + min(length, 20)]))
        elif kind == b"IEND":
            break
    _place(texts, found)
    return found


def _text(data: Buffer, start: int, end: int, kind: bytes, found: Contents) -> bytes:
    """Return a text, inflated; b"" for one that is broken or too long, which is told."""
    end = min(end, len(data))
    compressed = kind == b"zTXt"
    start += compressed
    if kind == b"iTXt":
        head = bytes(data[start : min(start + 2 + 2 * _MAX_KEYWORD_BYTES, end)])
        compressed = head[:1] == b"\1"
        # Its language and its keyword in that language.
        skipped = head[2:].split(b"\0", 2)
        start += 2 + sum(len(part) + 1 for part in skipped[:2])
    if end - start > _MAX_TEXT_BYTES:
        return _unread(found, f"a text of {end - start} bytes in the PNG was not read")
    raw = bytes(data[start:end])
    if not compressed:
        return raw
    try:
        inflater = zlib.decompressobj()
        text = inflater.decompress(raw, _MAX_TEXT_BYTES)
    except zlib.error:
        return _unread(found, "a text in the PNG cannot be inflated")
    if inflater.unconsumed_tail:
        return _unread(found, f"a text of more than {_MAX_TEXT_BYTES} bytes in the PNG was not read")
    return text


def _unread(found: Contents, what: str) -> bytes:
    found.unread.append(what)
    return b""


def _place(texts: dict[bytes, bytes], found: Contents) -> None:
    """Put the texts where they belong."""
    if text := texts.get(_XMP):
        found.add_xmp(text)
    profiles = {name: _profile(texts.get(_PROFILE + name, b"")) for name in (b"exif", b"app1", b"xmp")}
    if found.exif is None:
        found.exif = texts.get(_PLAIN_EXIF) or profiles[b"exif"] or None
    if profiles[b"app1"].startswith(_EXIF_SIGN) and found.exif is None:
        # As Pillow, which does not look there for an orientation.
        found.exif, found.turns = profiles[b"app1"], False
    for packet in (profiles[b"xmp"], profiles[b"app1"]):
        bare = packet.removeprefix(XMP_SIGN)
        if bare and not bare.startswith(_EXIF_SIGN):
            found.add_xmp(bare)
    found.resources = next(
        (profile for name in (b"iptc", b"8bim") if (profile := _profile(texts.get(_PROFILE + name, b"")))),
        b"",
    )


def _profile(text: bytes) -> bytes:
    """Return the bytes of a profile that was written as hexadecimal digits; b"" for anything else."""
    # A line with the profile's name, one with its length, then digits in lines.
    bare = text.lstrip()
    lines = bare[:_MAX_HEAD_BYTES].split(b"\n", 2)
    if len(lines) < 3 or not lines[1].strip().isdigit():
        return b""
    digits = b"".join(bare[len(lines[0]) + len(lines[1]) + 2 :].split())
    wanted = 2 * int(lines[1])
    try:
        return bytes.fromhex(digits[:wanted].decode("ascii"))
    except ValueError:
        return b""
