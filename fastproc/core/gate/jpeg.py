"""Reads the header of JPEG files: segments up to the first scan, then the number of scans.

Rule 1: what libjpeg tolerates (fill, junk, stray markers between segments) is tolerated here, within bounds.
Rule 2: every walk has a bound on its steps, so no file makes it long.
"""

from __future__ import annotations

import re
import struct
from typing import Final

from fastproc.core.errors import FileCorrupted, ImageTooComplex, UnsupportedFormat
from fastproc.core.gate import multi_picture
from fastproc.core.gate.reading import Buffer, Reading
from fastproc.core.gate.segments import MAX_JUNK_BYTES, MAX_SEGMENTS
from fastproc.core.header import Header
from fastproc.core.model import Limits

#: Most pixels for each byte of entropy-coded JPEG in a true header: an 8x8 block takes at least two bits a
#: component, so 1024 leaves a factor of four. False dimensions pass libjpeg, where missing data is a warning.
MAX_PIXELS_PER_BYTE: Final = 1024
#: Pixels that every file may have beyond that: the header of a small picture is larger than its data.
FREE_PIXELS: Final = 4096

#: Signs of a gain map in a header: XMP of Google and Adobe, ISO 21496-1, Apple.
GAIN_MAP_SIGNS: Final = (b"hdrgm:Version", b"urn:iso:std:iso:ts:21496:-1", b"ns.apple.com/HDRGainMap")

#: How an APP2 segment with a part of a colour profile begins (ICC.1, annex B.4).
_PROFILE: Final = b"ICC_PROFILE\0"

#: What a frame header announces, by the last digit of its marker; 0, 1 and 2 are read. (ITU-T T.81, table B.1)
_KINDS: Final = {
    **dict.fromkeys((3,), "lossless JPEG"),
    **dict.fromkeys((5, 6, 7), "hierarchical JPEG"),
    **dict.fromkeys((9, 10, 11), "JPEG with arithmetic coding"),
    **dict.fromkeys((13, 14, 15), "hierarchical JPEG with arithmetic coding"),
}

#: Of a further picture: room for its XMP and a profile.
MAX_HEAD_BYTES: Final = 1 << 16
_WINDOW: Final = 1 << 20
#: The marker DNL and its segment's length. In entropy-coded data FF is stuffed.
_NUMBER_OF_LINES: Final = b"\xff\xdc\0\4"
#: A marker in entropy-coded data: not stuffing, not a restart, not fill.
_MARKER: Final = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")


def read(data: Buffer, limits: Limits) -> Reading:
    """Return the header, and why the picture is too complex ("" if it is not).

    Raises: FileCorrupted, UnsupportedFormat, ImageTooComplex; IndexError or struct.error where the data ends.
    """
    marker, frame, scan, profiled = _segments(data)
    height, width, components = struct.unpack_from(">HHB", data, frame + 5)
    if height == 0 and _height_follows(data, scan):
        raise UnsupportedFormat("JPEG whose height follows its first scan (DNL)")
    progressive = marker == 0xC2
    buffered = progressive or data[scan + 4] < components
    # A decoder stops after the first scan of an interleaved baseline picture, so what follows costs nothing.
    scans = _count_scans(data, scan, limits.max_scans) if buffered else 1
    if width * height > MAX_PIXELS_PER_BYTE * (len(data) - scan) + FREE_PIXELS:
        raise FileCorrupted(f"{width}x{height} pixels are more than the data can hold")
    header = Header(
        format="jpeg",
        width=width,
        height=height,
        scans=scans,
        progressive=progressive,
        decoded_bytes=round(width * height * _coefficient_bytes(data, frame)) if buffered else width * 96,
        gain_map=_has_gain_map(data, scan),
        profiled=profiled,
    )
    return header, f"more than {limits.max_scans} scans" if scans > limits.max_scans else ""


def _has_gain_map(data: Buffer, scan: int) -> bool:
    """Return whether the picture's header, or that of a picture in its index (Apple's way), has a sign of one."""
    own = bytes(data[: min(scan, _WINDOW)])
    if any(sign in own for sign in GAIN_MAP_SIGNS):
        return True
    others = multi_picture.indexed(data)
    heads = (bytes(data[start : min(end, start + MAX_HEAD_BYTES)]) for start, end in others)
    return any(sign in head for head in heads for sign in GAIN_MAP_SIGNS)


def frame(data: Buffer) -> tuple[int, int, int]:
    """Return width, height and the number of components by the frame header. Raises as `read`."""
    height, width, components = struct.unpack_from(">HHB", data, _segments(data)[1] + 5)
    return width, height, components


def first_scan(data: Buffer) -> int:
    """Return where the first scan's header begins. Raises as `read`."""
    return _segments(data)[2]


def _segments(data: Buffer) -> tuple[int, int, int, bool]:
    """Return the frame header's marker, its offset, that of the first scan header, and whether there is a profile."""
    frame = marker = 0
    profiled = False
    at, size, segments = 2, len(data), 0
    while at + 4 <= size:
        if data[at] != 0xFF:
            junk = bytes(data[at : at + MAX_JUNK_BYTES]).find(b"\xff")
            if junk < 0:
                raise FileCorrupted("there is no segment where one is expected")
            at += junk
            continue
        code = data[at + 1]
        if code == 0xFF:
            fill = bytes(data[at : at + _WINDOW])
            at += len(fill) - len(fill.lstrip(b"\xff")) - 1
            continue
        segments += 1
        if segments > MAX_SEGMENTS:
            raise ImageTooComplex(f"more than {MAX_SEGMENTS} segments")
        if code in (0x00, 0x01) or 0xD0 <= code <= 0xD8:
            at += 2
            continue
        if code == 0xD9:
            raise FileCorrupted("the picture ends before its first scan")
        length = struct.unpack_from(">H", data, at + 2)[0]
        if length < 2:
            raise FileCorrupted("a segment has no length")
        if code == 0xDA:
            if not frame:
                raise FileCorrupted("a scan comes before the frame header")
            return marker, frame, at, profiled
        if 0xC0 <= code <= 0xCF and code not in (0xC4, 0xC8, 0xCC):
            if frame:
                raise FileCorrupted("two frame headers")
            marker, frame = code, at
            _check_frame(data, marker, frame)
        profiled = profiled or (code == 0xE2 and bytes(data[at + 4 : at + 16]) == _PROFILE)
        at += 2 + length
    raise FileCorrupted("no scan")


def _check_frame(data: Buffer, marker: int, frame: int) -> None:
    precision, components = data[frame + 4], data[frame + 9]
    if marker not in (0xC0, 0xC1, 0xC2):
        raise UnsupportedFormat(f"{_KINDS[marker & 15]} (SOF{marker - 0xC0})")
    if precision != 8:
        raise UnsupportedFormat(f"JPEG of {precision} bits")
    if components not in (1, 3, 4):
        raise UnsupportedFormat(f"JPEG of {components} components")


def _height_follows(data: Buffer, scan: int) -> bool:
    """Return whether the first scan ends in a DNL marker, which gives the height that the frame header has left open.

    libjpeg refuses such files ("DNL not supported"). Without the marker the header is just false. It is looked for in
    the first and last of the data alone: pictures of one scan, the usual ones, have it at their end.
    Source: ITU-T T.81, B.2.5.
    """
    return any(
        _NUMBER_OF_LINES in bytes(data[at : at + _WINDOW]) for at in (scan, max(scan, len(data) - _WINDOW))
    )


def _coefficient_bytes(data: Buffer, frame: int) -> float:
    """Return the bytes of coefficients (two a sample) that one pixel takes, by the sampling factors."""
    factors = [data[frame + 11 + 3 * n] for n in range(data[frame + 9])]
    sides = [(factor >> 4, factor & 15) for factor in factors]
    if not all(1 <= h <= 4 and 1 <= v <= 4 for h, v in sides):
        raise FileCorrupted("impossible chroma subsampling")
    whole = max(h for h, _ in sides) * max(v for _, v in sides)
    return 2 * sum(h * v for h, v in sides) / whole


def _count_scans(data: Buffer, start: int, limit: int) -> int:
    """Count the scans that a decoder would read from `start` on, up to just over `limit`.

    FF is stuffed in entropy-coded data, so a plain count of scan headers is never too low, and nearly always enough.
    The markers are walked only if that count is over the limit, because anything may follow the picture's end:
    a motion photo's film has the two bytes of a scan header every 64 KiB.
    """
    count = 0
    for at in range(start, len(data), _WINDOW):
        count += bytes(data[at : at + _WINDOW + 1]).count(b"\xff\xda")
        if count > limit:
            return _walk_scans(data, start, limit)
    return count


def _walk_scans(data: Buffer, start: int, limit: int) -> int:
    scans, at = 0, start
    for _ in range(MAX_SEGMENTS):
        found = _MARKER.search(data, at)
        if found is None or found.group() == b"\xff\xd9":
            return scans
        scans += found.group() == b"\xff\xda"
        if scans > limit:
            return scans
        at = found.end()
        if at + 2 <= len(data):
            at += struct.unpack_from(">H", data, at)[0]
    raise ImageTooComplex(f"more than {MAX_SEGMENTS} segments")
