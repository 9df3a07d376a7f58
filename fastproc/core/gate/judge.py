"""Judge a photo from its header alone, before any decoder sees it: format, dimensions, and what decoding would cost.

Rule 1: pure bytes in, a Header or an ImageError out; no codec, nothing is inflated, no whole file is copied.
Rule 2: the format is what the content says; names and content types are not looked at.
Rule 3: judged in this order, so that one file always gets one code: format, corruption, too small, too large,
        too complex.
Rule 4: memory per pixel is measured (peak RSS of a decode): progressive JPEG 3 bytes at 4:2:0 and 6 at 4:4:4, Adam7
        its rows and a seventh, GIF 4.2, HEIC 4.5, WebP 7.7, AVIF 14.7; baseline JPEG and plain PNG stream.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

from fastproc.core.errors import (
    FileCorrupted,
    ImageTooComplex,
    ImageTooLarge,
    ImageTooSmall,
    UnsupportedFormat,
)
from fastproc.core.gate import heif as gate_heif
from fastproc.core.gate import jpeg as gate_jpeg
from fastproc.core.model import Header, Limits

#: A file's bytes. A memoryview cannot be searched and slices of it are copied, so slices are kept small.
Buffer = bytes | bytearray | memoryview
#: A header that is whole, and what about the picture is excessive, if anything.
Reading = tuple[Header, str]

#: Deflate expands 1032 times at most (zlib, technical details).
MAX_DEFLATE_EXPANSION: Final = 1100
#: A dimension rule spares files whose pixels or rows are fewer than this: their header outweighs their data.
FREE_BYTES: Final = 4096
#: libpng inflates every text chunk when it reads the header: 200 of 8 MB cost 0.7 s.
MAX_TEXT_CHUNKS: Final = 64
#: Encoders write chunks of 8 KiB, so this is a file of 480 MB.
MAX_CHUNKS: Final = 60_000

_PNG_CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PNG_TEXT: Final = frozenset({b"tEXt", b"zTXt", b"iTXt"})


def judge(data: Buffer, limits: Limits, *, may_be_cut: bool = False) -> Header:
    """Return what the header says. A file that is cut short behind its header passes where it `may_be_cut`.

    Raises: UnsupportedFormat, FileCorrupted, ImageTooSmall, ImageTooLarge, ImageTooComplex.
    Cost:   10 to 100 microseconds; a multi-scan JPEG 0.3 ms a megabyte, a PNG 0.3 ms a thousand chunks.
    """
    if len(data) == 0:
        raise FileCorrupted("the file is empty")
    name = format_of(data)
    if name not in limits.formats:
        raise UnsupportedFormat(f"{name} is not an allowed format" if name else "")
    try:
        header, excess = _READERS[name](data, limits)
    except (IndexError, struct.error):
        raise FileCorrupted(f"the {name} header is cut short") from None
    if not header.whole and not may_be_cut:
        raise FileCorrupted("the file is cut short")
    check_size(header, limits)
    if excess:
        raise ImageTooComplex(excess)
    return header


def format_of(data: Buffer) -> str | None:
    """Return the format's name by the first bytes, or None for anything that is no picture we can read."""
    head = bytes(data[:16])
    if head[:3] == b"\xff\xd8\xff":
        return "jpeg"
    if head[:8] == b"\x89PNG\r\n\x1a\n":
        return "png"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return "gif"
    if head[4:8] == b"ftyp":
        return gate_heif.format_of(data)
    return None


def check_size(header: Header, limits: Limits) -> None:
    """Raises ImageTooSmall, ImageTooLarge. For a decoder's own view of the header too, once it is opened."""
    width, height = header.width, header.height
    size = f"{width}x{height}"
    if min(width, height) < max(1, limits.min_side_px):
        raise ImageTooSmall(f"{size}: a side is under {max(1, limits.min_side_px)} px")
    if max(width, height) > limits.max_side_px:
        raise ImageTooLarge(f"{size}: a side is over {limits.max_side_px} px")
    if width * height > limits.max_pixels:
        raise ImageTooLarge(f"{size}: over {limits.max_pixels} pixels")
    if header.decoded_bytes > limits.max_decoded_bytes:
        raise ImageTooLarge(f"{size}: decoding takes about {header.decoded_bytes} bytes of memory")


def _png(data: Buffer, limits: Limits) -> Reading:
    if bytes(data[12:16]) != b"IHDR":
        raise FileCorrupted("the first chunk is not IHDR")
    width, height, depth, colour, _, _, interlace = struct.unpack_from(">IIBBBBB", data, 16)
    if colour not in _PNG_CHANNELS:
        raise FileCorrupted("impossible colour type")
    frames, excess, whole = _png_chunks(data, limits.max_icc_bytes)
    row = (width * _PNG_CHANNELS[colour] * depth + 7) // 8
    if row * height > MAX_DEFLATE_EXPANSION * len(data) + FREE_BYTES:
        raise FileCorrupted(f"{width}x{height} pixels are more than the data can hold")
    header = Header(
        format="png",
        width=width,
        height=height,
        frames=frames if frames <= limits.max_frames else 1,
        progressive=bool(interlace),
        whole=whole,
        decoded_bytes=row * height * 8 // 7 if interlace else row * 64,
    )
    return header, excess


def _png_chunks(data: Buffer, max_icc_bytes: int) -> tuple[int, str, bool]:
    """Return the frames that an animation announces, what is excessive, and whether there is an end.

    An absurd number of frames is no reason to refuse: only the still picture is ever decoded.
    """
    frames, texts, excess = 1, 0, ""
    at, end = 8, len(data) - 8
    for _ in range(MAX_CHUNKS):
        if at > end:
            return frames, excess or _png_excess(texts), False
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"IEND":
            return frames, excess or _png_excess(texts), True
        if kind in _PNG_TEXT:
            texts += 1
        elif kind == b"acTL":
            frames = max(1, struct.unpack_from(">I", data, at + 8)[0])
        elif kind == b"iCCP" and length > max_icc_bytes:
            excess = f"a colour profile of {length} bytes"
        at += 12 + length
    raise ImageTooComplex(f"more than {MAX_CHUNKS} chunks")


def _png_excess(texts: int) -> str:
    return f"more than {MAX_TEXT_CHUNKS} text chunks" if texts > MAX_TEXT_CHUNKS else ""


def _webp(data: Buffer, limits: Limits) -> Reading:
    kind, frames = bytes(data[12:16]), 1
    if kind == b"VP8X":
        width = int.from_bytes(data[24:27], "little") + 1
        height = int.from_bytes(data[27:30], "little") + 1
        frames = _webp_frames(data, limits.max_frames) if data[20] & 2 else 1
    elif kind == b"VP8L" and data[20] == 0x2F:
        bits = struct.unpack_from("<I", data, 21)[0]
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif kind == b"VP8 " and bytes(data[23:26]) == b"\x9d\x01\x2a":
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    else:
        raise FileCorrupted("no picture in the WebP container")
    header = Header(
        format="webp",
        width=width,
        height=height,
        frames=frames,
        decoded_bytes=width * height * 8,
        whole=struct.unpack_from("<I", data, 4)[0] + 8 <= len(data) + 1,
    )
    too_many = f"{frames} frames, the limit is {limits.max_frames}" if frames > limits.max_frames else ""
    return header, too_many


def _webp_frames(data: Buffer, limit: int) -> int:
    """Count the frames of an animation, up to just over `limit`."""
    frames, at = 0, 12
    for _ in range(MAX_CHUNKS):
        if at + 8 > len(data) or frames > limit:
            return max(1, frames)
        kind, length = struct.unpack_from("<4sI", data, at)
        frames += kind == b"ANMF"
        at += 8 + length + (length & 1)
    raise ImageTooComplex(f"more than {MAX_CHUNKS} chunks")


def _gif(data: Buffer, limits: Limits) -> Reading:
    """Frames are not counted: GIF has no index, and the decoder, asked for the first only, counts them itself."""
    width, height = struct.unpack_from("<HHxxxx", data, 6)
    return Header(format="gif", width=width, height=height, decoded_bytes=round(width * height * 4.2)), ""


def _heif(data: Buffer, limits: Limits) -> Reading:
    return gate_heif.read(data), ""


_READERS: Final[dict[str, Callable[[Buffer, Limits], Reading]]] = {
    "jpeg": gate_jpeg.read,
    "png": _png,
    "webp": _webp,
    "gif": _gif,
    "heic": _heif,
    "avif": _heif,
}
