"""Makes JPEGs with HDR gain maps as their writers do, byte by byte; none of the package's own code takes part.

`ultra_hdr` and `apple` return the photo and its map in one file; the functions above make the parts.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from fractions import Fraction

from tests import pictures

ADOBE = "http://ns.adobe.com/hdr-gain-map/1.0/"
ISO = b"urn:iso:std:iso:ts:21496:-1\0"
XMP = b"http://ns.adobe.com/xap/1.0/\0"
#: Of a map whose 0 leaves the picture as it is, and whose 255 makes it four times as bright.
NUMBERS = {"GainMapMin": "0", "GainMapMax": "2", "HDRCapacityMin": "0", "HDRCapacityMax": "2"}
#: The same in ISO's order, as fractions: headrooms; minimum, maximum, gamma, both offsets.
HEADROOMS = (Fraction(0), Fraction(2))
CHANNEL = (Fraction(0), Fraction(2), Fraction(1), Fraction(1, 64), Fraction(1, 64))


def segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def with_segments(jpeg: bytes, *segments: bytes) -> bytes:
    """The segments come first: JFIF need not."""
    return jpeg[:2] + b"".join(segments) + jpeg[2:]


def packet(content: str, namespaces: Mapping[str, str], attributes: str = "") -> bytes:
    """An XMP segment of one description."""
    names = "".join(f' xmlns:{prefix}="{uri}"' for prefix, uri in namespaces.items())
    text = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f"<rdf:Description{names}{attributes}>{content}</rdf:Description></rdf:RDF></x:xmpmeta>"
    )
    return segment(0xE1, XMP + text.encode())


def adobe(numbers: Mapping[str, str | Sequence[str]] = NUMBERS, prefix: str = "hdrgm") -> bytes:
    """The map's XMP: a text is an attribute, a list is an element, of one value or of several."""
    attributes = f' {prefix}:Version="1.0"'
    content = ""
    for name, value in numbers.items():
        if isinstance(value, str):
            attributes += f' {prefix}:{name}="{value}"'
        elif len(value) == 1:
            content += f"<{prefix}:{name}>{value[0]}</{prefix}:{name}>"
        else:
            items = "".join(f"<rdf:li>{item}</rdf:li>" for item in value)
            content += f"<{prefix}:{name}>\n <rdf:Seq>{items}</rdf:Seq>\n</{prefix}:{name}>"
    return packet(content, {prefix: ADOBE}, attributes)


def iso(
    headrooms: Sequence[Fraction] = HEADROOMS,
    channels: Sequence[Sequence[Fraction]] = (CHANNEL,),
    *,
    in_base: bool = True,
    denominator: int = 0,
) -> bytes:
    """The map's segment of ISO 21496-1; with `denominator`, one for all numbers."""
    flags = (0x80 if len(channels) > 1 else 0) | (0x40 if in_base else 0) | (8 if denominator else 0)
    numbers = [*headrooms, *(number for channel in channels for number in channel)]
    if denominator:
        body = struct.pack(">I", denominator)
        body += b"".join(struct.pack(">i", int(number * denominator)) for number in numbers)
    else:
        body = b"".join(struct.pack(">iI", number.numerator, number.denominator) for number in numbers)
    return segment(0xE2, ISO + struct.pack(">HHB", 0, 0, flags) + body)


def index(photo_bytes: int, sizes: Sequence[int], before: int, order: str = ">") -> bytes:
    """A Multi-Picture index that stands `before` bytes into a photo which has `photo_bytes` with it."""
    count = len(sizes) + 1
    mark = before + 8
    entries, offset = struct.pack(order + "IIIHH", 0x030000, photo_bytes, 0, 0, 0), max(0, photo_bytes - mark)
    for size in sizes:
        entries += struct.pack(order + "IIIHH", 0, size, offset, 0, 0)
        offset += size
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, 3)
    tags = struct.pack(
        order + "HHI4sHHIIHHIII", 0xB000, 7, 4, b"0100", 0xB001, 4, 1, count, 0xB002, 7, 16 * count, 50, 0
    )
    return segment(0xE2, b"MPF\0" + head + tags + entries)


def directory(map_bytes: int, video_bytes: int = 0) -> bytes:
    """The photo's XMP of Ultra HDR, with a motion photo's film where there is one."""
    items = '<rdf:li rdf:parseType="Resource"><C:Item I:Semantic="Primary" I:Mime="image/jpeg"/></rdf:li>'
    items += (
        '<rdf:li rdf:parseType="Resource">'
        f'<C:Item I:Semantic="GainMap" I:Mime="image/jpeg" I:Length="{map_bytes}"/></rdf:li>'
    )
    if video_bytes:
        items += (
            '<rdf:li rdf:parseType="Resource">'
            f'<C:Item I:Semantic="MotionPhoto" I:Mime="video/mp4" I:Length="{video_bytes}"/></rdf:li>'
        )
    names = {
        "hdrgm": ADOBE,
        "C": "http://ns.google.com/photos/1.0/container/",
        "I": "http://ns.google.com/photos/1.0/container/item/",
    }
    seq = f"<C:Directory><rdf:Seq>{items}</rdf:Seq></C:Directory>"
    return packet(seq, names, ' hdrgm:Version="1.0"')


def together(photo: bytes, gain_map: bytes, *own: bytes, after: bytes = b"", order: str = ">") -> bytes:
    """One file: the photo with its `own` segments and an index, the map, and what comes `after`."""
    before = 2 + sum(map(len, own))
    length = len(index(0, [0], 0, order))
    found = index(len(photo) + before - 2 + length, [len(gain_map)], before, order)
    return with_segments(photo, *own, found) + gain_map + after


def a_map(width: int = 80, height: int = 60, mode: str = "L", **options: object) -> bytes:
    """The scene as a map, without any metadata."""
    return pictures.encoded(pictures.scene(width, height, mode), "JPEG", **{"quality": 95, **options})


def ultra_hdr(
    photo: bytes | None = None, gain_map: bytes | None = None, means: bytes | None = None, film: bytes = b""
) -> bytes:
    """An Ultra HDR file; `means` are the map's own segments, by default Adobe's XMP."""
    second = with_segments(gain_map or a_map(), adobe() if means is None else means)
    return together(photo or pictures.jpeg(), second, directory(len(second), len(film)), after=film)


def apple(
    photo: bytes | None = None, gain_map: bytes | None = None, headroom: str = "", order: str = ">"
) -> bytes:
    """A JPEG of an iPhone: the map says that it is one, the photo has only an index."""
    names = {"H": "http://ns.apple.com/HDRGainMap/1.0/", "apdi": "http://ns.apple.com/pixeldatainfo/1.0/"}
    content = (
        "<apdi:AuxiliaryImageType>urn:com:apple:photo:2020:aux:hdrgainmap</apdi:AuxiliaryImageType>"
        "<H:HDRGainMapVersion>65536</H:HDRGainMapVersion>"
    )
    if headroom:
        content += f"<H:HDRGainMapHeadroom>{headroom}</H:HDRGainMapHeadroom>"
    second = with_segments(gain_map or a_map(), packet(content, names))
    return together(photo or pictures.jpeg(), second, order=order)


def maker_note(headroom: tuple[int, int], gain: tuple[int, int]) -> bytes:
    """EXIF of an iPhone with the two numbers of its maker note, big-endian as theirs is."""
    note = b"Apple iOS\0\0\1MM" + struct.pack(">H", 2)
    note += struct.pack(">HHII", 33, 10, 1, 14 + 2 + 24 + 4) + struct.pack(
        ">HHII", 48, 10, 1, 14 + 2 + 24 + 4 + 8
    )
    note += bytes(4) + struct.pack(">iiii", *headroom, *gain)
    # By hand, because Pillow writes the note as numbers.
    main = struct.pack(">2sHIHHHIII", b"MM", 42, 8, 1, 0x8769, 4, 1, 26, 0)
    return b"Exif\0\0" + main + struct.pack(">HHHIII", 1, 0x927C, 7, len(note), 44, 0) + note
