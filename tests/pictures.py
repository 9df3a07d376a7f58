"""Makes every picture that tests need, by code: there are no binary fixtures. All return the bytes of a file.

The scene is one that cannot be turned or mirrored unnoticed: four corners of four colours on a slope.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyvips
from PIL import Image, ImageDraw

#: Material that stays outside the repository; tests that use it skip where it is absent.
SHARED = Path(__file__).parents[1] / ".." / "shared"

RED, GREEN, BLUE, YELLOW = (200, 30, 30), (30, 160, 60), (40, 60, 200), (220, 200, 40)


def scene(width: int = 320, height: int = 240, mode: str = "RGB") -> Image.Image:
    """Red top left, green top right, blue bottom left, yellow bottom right, a slope between."""
    slope = Image.linear_gradient("L").resize((width, height))
    picture = Image.merge("RGB", (slope, slope.transpose(Image.Transpose.FLIP_TOP_BOTTOM), slope))
    draw = ImageDraw.Draw(picture)
    w, h = max(1, width // 4), max(1, height // 4)
    for colour, x, y in (
        (RED, 0, 0),
        (GREEN, width - w, 0),
        (BLUE, 0, height - h),
        (YELLOW, width - w, height - h),
    ):
        draw.rectangle((x, y, x + w - 1, y + h - 1), colour)
    return picture if mode == "RGB" else picture.convert(mode)


def encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def jpeg(width: int = 320, height: int = 240, mode: str = "RGB", **options: Any) -> bytes:
    """`progressive=True`, `subsampling="4:4:4"`, `exif=`, `icc_profile=`, `dpi=` go to Pillow."""
    return encoded(scene(width, height, mode), "JPEG", **{"quality": 90, **options})


def png(width: int = 320, height: int = 240, mode: str = "RGB", **options: Any) -> bytes:
    return encoded(scene(width, height, mode), "PNG", **options)


def webp(width: int = 320, height: int = 240, **options: Any) -> bytes:
    return encoded(scene(width, height), "WEBP", **options)


def gif(width: int = 320, height: int = 240) -> bytes:
    return encoded(scene(width, height), "GIF")


def avif(width: int = 320, height: int = 240) -> bytes:
    return encoded(scene(width, height), "AVIF", speed=10)


def animated(kind: str, frames: int = 5, width: int = 160, height: int = 120) -> bytes:
    """The scene first, then plain frames."""
    rest = [Image.new("RGB", (width, height), (40 * n, 10, 10)) for n in range(frames - 1)]
    return encoded(scene(width, height), kind, save_all=True, append_images=rest, duration=50)


def turned(orientation: int, kind: str = "JPEG", width: int = 320, height: int = 240) -> bytes:
    """The scene as stored by a camera that was held otherwise: upright only once the orientation is applied."""
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }.get(orientation)
    picture = scene(width, height)
    stored = picture.transpose(undo) if undo is not None else picture
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(stored, kind, quality=95, exif=exif)


def camera_exif(**more: Any) -> bytes:
    """What a phone writes: camera, exposure, dates with offset, a position in the south-west."""
    exif = Image.Exif()
    exif[0x010F], exif[0x0110], exif[0x0131] = "Acme", "Pocket 3", "Acme OS 1.2"
    exif[0x0112], exif[0x0132] = 6, "2024:02:29 13:45:10"
    camera = exif.get_ifd(0x8769)
    camera.update({0x829A: 1 / 250, 0x829D: 1.8, 0x8822: 2, 0x8827: 400, 0x9204: -0.3, 0x9207: 5, 0x9209: 25})
    camera.update({0x920A: 4.25, 0xA403: 1, 0xA405: 26, 0xA433: "Acme Optics", 0xA434: "Wide 4.25mm f/1.8"})
    camera.update({0x9003: "2024:02:29 13:45:09", 0x9011: "-03:00", 0x9010: "-03:00"})
    camera.update(more.get("camera", {}))
    position = exif.get_ifd(0x8825)
    position.update(
        {1: "S", 2: (22.0, 57.0, 6.48), 3: "W", 4: (43.0, 12.0, 36.0), 5: b"\1", 6: 12.5, 0x11: 271.5}
    )
    return exif.tobytes()


def tiff_block(entries: Iterable[tuple[int, int, int, bytes]], tail: bytes = b"", order: str = "<") -> bytes:
    """A raw EXIF block of one directory: entries of tag, type, count and four bytes of value or offset."""
    listed = list(entries)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    body = b"".join(
        struct.pack(order + "HHI", tag, kind, count) + value for tag, kind, count, value in listed
    )
    return head + struct.pack(order + "H", len(listed)) + body + bytes(4) + tail


def display_p3(colour: tuple[int, int, int] = (200, 120, 60), width: int = 320, height: int = 240) -> bytes:
    """A JPEG of one colour with a Display-P3 profile: the numbers mean more colour than they say."""
    flat = (pyvips.Image.black(width, height) + list(colour)).cast("uchar").copy(interpretation="srgb")
    profiled = flat.icc_transform("p3", input_profile="p3")
    return bytes(profiled.jpegsave_buffer(Q=100, subsample_mode="off", profile="p3"))


def profile(name: str) -> bytes:
    """The bytes of one of libvips' built-in profiles: `srgb`, `p3`, `cmyk`."""
    flat = (
        pyvips.Image.black(8, 8, bands=3)
        .copy(interpretation="srgb")
        .icc_transform(name, input_profile="srgb")
    )
    return bytes(flat.get("icc-profile-data"))


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_with(*chunks: bytes, data: bytes | None = None) -> bytes:
    """A PNG with chunks put in behind its header."""
    whole = data or png()
    return whole[:33] + b"".join(chunks) + whole[33:]


def png_header(width: int, height: int, *, depth: int = 8, colour: int = 2, interlace: int = 0) -> bytes:
    """A PNG of a header, a little data that is none, and an end."""
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", head)
        + png_chunk(b"IDAT", bytes(64))
        + png_chunk(b"IEND", b"")
    )


def jpeg_saying(width: int, height: int, data: bytes | None = None) -> bytes:
    """A JPEG whose header lies about its sides."""
    whole = bytearray(data or jpeg())
    at = max(whole.find(b"\xff\xc0"), whole.find(b"\xff\xc2"))
    whole[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(whole)


def scan_bomb(scans: int, *, after_end: bool = False) -> bytes:
    """A progressive JPEG with so many more scans, or with as many scan headers behind its end, where they are none."""
    whole = jpeg(progressive=True)
    one = b"\xff\xda\x00\x08\x01\x01\x00\x01\x01\x00" + b"\x00"
    return whole + scans * one if after_end else whole[:-2] + scans * one + whole[-2:]


def box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I", 8 + len(body)) + kind + body


def heif(width: int, height: int, *, brand: bytes = b"heic", item: bytes = b"hvc1", items: int = 1) -> bytes:
    """The boxes that a gate looks at; no decoder would be content."""
    extent = box(b"ispe", bytes(4), struct.pack(">II", width, height))
    entries = items * box(b"infe", bytes(4), bytes(4), item)
    return box(b"ftyp", brand, bytes(4), brand, b"mif1") + box(b"meta", bytes(4), entries, extent)
