"""Reads the header of HEIF files (HEIC, AVIF), which are made of boxes.

Rule 1: the brands give the family, which must be ours; the types of the picture's items give the codec (`gate.items`),
        and none may be a foreign one.
Rule 2: the largest `ispe` (image extent) of the `meta` box is taken, so a grid counts as a whole, not by its tiles.
"""

from __future__ import annotations

import struct
from typing import Final

from fastproc.core.colours import HDR_TRANSFERS
from fastproc.core.errors import FileCorrupted, ImageTooComplex, UnsupportedFormat
from fastproc.core.gate.items import parts
from fastproc.core.gate.reading import Buffer, Reading
from fastproc.core.header import Header

#: Brands of still HEVC pictures; `mif1` leaves the codec to the item types.
HEVC_BRANDS: Final = frozenset({b"heic", b"heix", b"heim", b"heis", b"mif1"})
#: Item types that no decoder here can read: uncompressed, masks, JPEG 2000, AVC, VVC.
FOREIGN_ITEMS: Final = (b"unci", b"mski", b"j2k1", b"avc1", b"vvc1")
#: A phone's 12-megapixel picture is a grid of 48 tiles and a thumbnail; 200 megapixels take 800.
MAX_ITEMS: Final = 1_000
#: The box of a 200-megapixel grid takes 60 kB.
MAX_META_BYTES: Final = 4 << 20
MAX_TOP_BOXES: Final = 1_000
#: Frames of an animation. A larger number is ignored; only the first frame is decoded.
MAX_FRAMES: Final = 1_000_000
#: An item of ISO 21496-1, Apple's auxiliary picture.
GAIN_MAP_SIGNS: Final = (b"tmap", b"aux:hdrgainmap")
#: Memory per pixel of a decode, rounded up from what was measured: libheif (HEIC) 4.5, libvips (AVIF) 14.7.
HEIC_BYTES_A_PIXEL: Final = 4.6
AVIF_BYTES_A_PIXEL: Final = 15
#: The same where libheif must give 16 bits, for HDR.
HDR_HEIC_BYTES_A_PIXEL: Final = 9.2


def format_of(data: Buffer) -> str | None:
    """Return `avif`, `heic`, or None for other families (films, image sequences, JPEG 2000)."""
    length = struct.unpack_from(">I", data)[0]
    box = bytes(data[8 : max(12, min(length, 256))])
    brands = {box[:4]} | {box[at : at + 4] for at in range(8, len(box), 4)}
    if b"avif" in brands:
        return "avif"
    return "heic" if brands & HEVC_BRANDS else None


def read(data: Buffer) -> Reading:
    """Return the header of a file that `format_of` named; it is not whole where its picture's data ends beyond it.

    Raises: FileCorrupted (no `meta`, no extent), UnsupportedFormat (codec), ImageTooComplex (items, size of `meta`).
    """
    name = format_of(data) or ""
    box = meta(data)
    made_of = parts(box)
    for item in FOREIGN_ITEMS:
        # A file that names no primary item is searched.
        if item in (made_of.types or box):
            raise UnsupportedFormat(f"{name} with items of type {item.decode()}")
    if box.count(b"infe") > MAX_ITEMS:
        raise ImageTooComplex(f"more than {MAX_ITEMS} items")
    width, height = _extent(box)
    wide = made_of.colour is not None and made_of.colour.transfer in HDR_TRANSFERS
    a_pixel = AVIF_BYTES_A_PIXEL if name == "avif" else HDR_HEIC_BYTES_A_PIXEL if wide else HEIC_BYTES_A_PIXEL
    header = Header(
        format=name,
        width=width,
        height=height,
        frames=_frames(data),
        decoded_bytes=round(width * height * a_pixel),
        gain_map=any(sign in box for sign in GAIN_MAP_SIGNS),
        whole=made_of.end <= len(data),
        colour=made_of.colour,
        grey=made_of.grey,
        profiled=made_of.profiled,
    )
    repeated = made_of.transforms > 1
    return header, f"an item is transformed in one way {made_of.transforms} times" if repeated else ""


def _frames(data: Buffer) -> int:
    """Return the number of samples of a sequence's first track; 1 for stills and for impossible numbers."""
    film = _box(data, b"moov") or b""
    at = film.find(b"stsz")
    samples = struct.unpack_from(">I", film, at + 12)[0] if 0 <= at <= len(film) - 16 else 1
    return samples if 1 <= samples <= MAX_FRAMES else 1


def meta(data: Buffer) -> bytes:
    """Return the `meta` box. Raises FileCorrupted, ImageTooComplex."""
    found = _box(data, b"meta")
    if found is None:
        raise FileCorrupted("no meta box")
    return found


def _box(data: Buffer, wanted: bytes) -> bytes | None:
    """Return the first box of that type on the top level. Raises ImageTooComplex if it is too large."""
    at = 0
    for _ in range(MAX_TOP_BOXES):
        if at + 8 > len(data):
            break
        length, kind = struct.unpack_from(">I4s", data, at)
        if length == 1:
            length = struct.unpack_from(">Q", data, at + 8)[0]
        if kind == wanted:
            end = min(at + (length or len(data)), len(data))
            if end - at > MAX_META_BYTES:
                raise ImageTooComplex(f"{end - at} bytes of {kind.decode()}")
            return bytes(data[at:end])
        if length < 8:
            break
        at += length
    return None


def _extent(meta: bytes) -> tuple[int, int]:
    """Return width and height of the largest extent, in stored orientation."""
    width = height = 0
    at = meta.find(b"ispe")
    if at < 0:
        raise FileCorrupted("no image extent")
    while at >= 0:
        w, h = struct.unpack_from(">II", meta, at + 8)
        if w * h > width * height:
            width, height = w, h
        at = meta.find(b"ispe", at + 16)
    return width, height
