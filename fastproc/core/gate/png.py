"""Reads the header of PNG files: the first chunk, the numbers about colours, then the kinds of all other chunks.

Rule 1: pixels are not inflated; compressed text is counted by inflating it, up to a bound (`too_much_text`).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import Final

from fastproc.core.colours import ColourTag
from fastproc.core.errors import FileCorrupted, ImageTooComplex
from fastproc.core.gate.reading import MAX_CHUNKS, Buffer, Reading, peak_nits
from fastproc.core.header import Header
from fastproc.core.model import Limits

#: Deflate expands 1032 times at most (zlib, technical details).
MAX_DEFLATE_EXPANSION: Final = 1100
#: Bytes of rows that every file may have beyond that: the header of a small file is larger than its data.
FREE_BYTES: Final = 4096
#: libpng inflates every text chunk when it reads the header: 200 of 8 MB cost 0.7 s.
MAX_TEXT_CHUNKS: Final = 64
#: Bytes of text that may come of all compressed chunks: libpng holds it several times over (300 MB of text, 1.2 GB).
MAX_TEXT_BYTES: Final = 16 << 20
#: libpng gives up a chunk at this length (PNG_USER_CHUNK_MALLOC_MAX).
MAX_CHUNK_BYTES: Final = 8_000_000
#: A gamma alone that differs from a screen's by less is none (libpng, PNG_GAMMA_THRESHOLD).
GAMMA_THRESHOLD: Final = 0.05
SCREEN_GAMMA: Final = 2.2

_STEP_BYTES: Final = 1 << 16
_CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_TEXT: Final = frozenset({b"tEXt", b"zTXt", b"iTXt"})
#: The chunks about colours, which come before the pixels, and their lengths.
_COLOURS: Final = {b"cICP": 4, b"sRGB": 1, b"gAMA": 4, b"cHRM": 32, b"cLLI": 8, b"mDCV": 24}


def read(data: Buffer, limits: Limits) -> Reading:
    """Return the header. Raises FileCorrupted, ImageTooComplex; IndexError or struct.error where the data ends."""
    if bytes(data[12:16]) != b"IHDR":
        raise FileCorrupted("the first chunk is not IHDR")
    width, height, depth, colour, _, _, interlace = struct.unpack_from(">IIBBBBB", data, 16)
    if colour not in _CHANNELS:
        raise FileCorrupted("impossible colour type")
    frames, too_complex, whole, colours = _chunks(data, limits.max_icc_bytes)
    row = (width * _CHANNELS[colour] * depth + 7) // 8
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
        colour=_colour(colours),
        profiled=b"iCCP" in colours,
    )
    return header, too_complex


def too_much_text(data: Buffer) -> str:
    """Return why the compressed texts are too long, "" if they are not. Cost: at most some 30 ms."""
    left = MAX_TEXT_BYTES
    for kind, at, length in _walk(data):
        if kind == b"zTXt" or kind == b"iTXt":
            left -= _inflated(bytes(data[at : at + length]), kind, min(left, MAX_CHUNK_BYTES))
            if left < 0:
                return f"more than {MAX_TEXT_BYTES} bytes of compressed text"
    return ""


def _inflated(text: bytes, kind: bytes, limit: int) -> int:
    """Return how many bytes a text chunk inflates to, up to `limit` or just over; 0 where it is not compressed."""
    rest = text.partition(b"\0")[2]
    if kind == b"iTXt":
        # The flag, the method, two names, and the text.
        if rest[:1] != b"\1":
            return 0
        rest = rest[2:].partition(b"\0")[2].partition(b"\0")[2]
    else:
        rest = rest[1:]
    count, inflater = 0, zlib.decompressobj()
    try:
        while rest and not inflater.eof and count <= limit:
            count += len(inflater.decompress(rest, _STEP_BYTES))
            rest = inflater.unconsumed_tail
    except zlib.error:
        return count  # The decoder drops such a text; what came before it was held.
    return count


def _walk(data: Buffer) -> Iterator[tuple[bytes, int, int]]:
    """Yield each chunk up to the end: its kind, where its content is, and its length. Raises ImageTooComplex."""
    at, end = 8, len(data) - 8
    for _ in range(MAX_CHUNKS):
        if at > end:
            return
        length, kind = struct.unpack_from(">I4s", data, at)
        yield kind, at + 8, length
        if kind == b"IEND":
            return
        at += 12 + length
    raise ImageTooComplex(f"more than {MAX_CHUNKS} chunks")


def _chunks(data: Buffer, max_icc_bytes: int) -> tuple[int, str, bool, dict[bytes, bytes]]:
    """Return an animation's frames, why the file is too complex (""), whether it has an end, and the colours' chunks.

    An absurd number of frames does not refuse the file: only the still picture is decoded.
    """
    frames, texts, too_complex, whole, pixels = 1, 0, "", False, False
    colours: dict[bytes, bytes] = {}
    for kind, at, length in _walk(data):
        if kind in _TEXT:
            texts += 1
        elif kind == b"acTL":
            frames = max(1, struct.unpack_from(">I", data, at)[0])
        elif kind == b"iCCP":
            colours[kind] = b""
            too_complex = f"a colour profile of {length} bytes" if length > max_icc_bytes else too_complex
        elif _COLOURS.get(kind) == length and not pixels:
            colours.setdefault(kind, bytes(data[at : at + length]))
        pixels, whole = pixels or kind == b"IDAT", kind == b"IEND"
    return frames, too_complex or _too_many_texts(texts), whole, colours


def _colour(chunks: Mapping[bytes, bytes]) -> ColourTag | None:
    """Return how the file says its colours, by rank: cICP, (a profile,) sRGB, gAMA with cHRM.

    Source: W3C PNG, third edition, 4.3. A gamma alone is compared with a screen's as libpng does.
    """
    primaries, transfer, matrix, whole = chunks.get(b"cICP", b"\2\2\2\0")
    if matrix == 0 and 2 not in (primaries, transfer):
        light, display = chunks.get(b"cLLI", bytes(8)), chunks.get(b"mDCV", bytes(24))
        brightest, most = struct.unpack_from(">I", light)[0], struct.unpack_from(">I", display, 16)[0]
        return ColourTag(
            primaries=primaries,
            transfer=transfer,
            full_range=bool(whole),
            peak_nits=peak_nits(brightest / 10_000, most / 10_000),
            before_profile=True,
        )
    if b"sRGB" in chunks:
        return ColourTag(primaries=1, transfer=13)
    gamma = struct.unpack(">I", chunks.get(b"gAMA", bytes(4)))[0] / 100_000
    chromaticities = tuple(
        n / 100_000 for n in struct.unpack(">8I", chunks.get(b"cHRM", b"")[:32] or bytes(32))
    )
    if b"cHRM" in chunks:
        return ColourTag(chromaticities=chromaticities, gamma=1 / gamma if gamma else 0.0)
    like_a_screen = not gamma or abs(gamma * SCREEN_GAMMA - 1) < GAMMA_THRESHOLD
    return None if like_a_screen else ColourTag(gamma=1 / gamma)


def _too_many_texts(texts: int) -> str:
    return f"more than {MAX_TEXT_CHUNKS} text chunks" if texts > MAX_TEXT_CHUNKS else ""
