"""Makes every picture that tests need: there are no binary fixtures. Most functions return the bytes of a file.

The scene shows every turn and mirroring: four corners of four colours on a slope.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyvips
from PIL import Image, ImageDraw

#: Material outside the repository; tests that use it skip if it is absent.
SHARED = Path(__file__).parents[1] / ".." / "shared"

RED, GREEN, BLUE, YELLOW = (200, 30, 30), (30, 160, 60), (40, 60, 200), (220, 200, 40)


def scene(width: int = 320, height: int = 240, mode: str = "RGB") -> Image.Image:
    """Red top left, green top right, blue bottom left, yellow bottom right, a slope between them."""
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


def detailed(width: int = 640, height: int = 480, mode: str = "RGB") -> Image.Image:
    """The scene with waves of many lengths and hues on its slope, finer to the right: they show resampling and shifts.

    The shortest wave is 8 pixels of 640, so that it is kept in a thumbnail and does not become moire.
    """
    y, x = np.mgrid[:height, :width]
    across, down = x / max(1, width - 1), y / max(1, height - 1)
    waves = np.sin(2 * np.pi * (4 * across + 38 * across**2)) * np.cos(2 * np.pi * 6 * down)
    bands = [
        128 + 60 * waves + 50 * np.cos(2 * np.pi * (down + 0.3 * across + third / 3)) for third in range(3)
    ]
    picture = Image.fromarray(np.clip(np.stack(bands, axis=-1), 0, 255).astype(np.uint8))
    corners = scene(width, height)
    w, h = max(1, width // 4), max(1, height // 4)
    for left, top in ((0, 0), (width - w, 0), (0, height - h), (width - w, height - h)):
        picture.paste(corners.crop((left, top, left + w, top + h)), (left, top))
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


def turned(
    orientation: int,
    kind: str = "JPEG",
    width: int = 320,
    height: int = 240,
    shown: Image.Image | None = None,
) -> bytes:
    """The scene (or `shown`) as a turned camera stores it: upright once the orientation is applied."""
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }.get(orientation)
    picture = shown or scene(width, height)
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
    """A JPEG of one colour with a Display-P3 profile: as sRGB the same numbers would be less saturated."""
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


def gain_map(picture: Image.Image) -> bytes:
    """An UltraHDR JPEG as phones write it: the picture, followed by a second one, its gain map."""
    linear = pyvips.Image.new_from_array(np.asarray(picture)).copy(interpretation="srgb").colourspace("scrgb")
    return bytes(linear.copy().uhdrsave_buffer(Q=95))


#: Red, green and blue of two spaces, as XYZ adapted to D50; and those of sRGB in a wrong, very visible order.
ADOBE_RGB = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
PROPHOTO = ((0.79767, 0.28804, 0.0), (0.13519, 0.71188, 0.0), (0.03134, 0.00009, 0.82491))
SWAPPED = ((0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141), (0.4361, 0.2225, 0.0139))


def matrix_profile(primaries: Iterable[tuple[float, float, float]], gamma: float) -> bytes:
    """An ICC profile (version 2) of a display with these primaries; of a grey display if there are none."""
    triples = list(primaries)
    curve = b"curv" + bytes(4) + struct.pack(">IHxx", 1, round(gamma * 256))
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(79),
        b"cprt": b"text" + bytes(4) + b"none\0\0\0\0",
        b"wtpt": _xyz((0.9642, 1.0, 0.8249)),
    }
    names = (b"r", b"g", b"b") if triples else (b"k",)
    tags |= {name + b"TRC": curve for name in names}
    tags |= {name + b"XYZ": _xyz(triple) for name, triple in zip(b"r g b".split(), triples, strict=False)}
    table, body = struct.pack(">I", len(tags)), b""
    for name, value in tags.items():
        value += bytes(-len(value) % 4)
        table += name + struct.pack(">II", 132 + 12 * len(tags) + len(body), len(value))
        body += value
    head = struct.pack(
        ">I4xI4s4s4s", 132 + 12 * len(tags) + len(body), 0x02100000, b"mntr", *_spaces(triples)
    )
    head += struct.pack(">6H4s", 2024, 1, 1, 0, 0, 0, b"acsp") + bytes(28) + _xyz((0.9642, 1.0, 0.8249))[8:]
    return head + bytes(128 - len(head)) + table + body


def _spaces(triples: list[tuple[float, float, float]]) -> tuple[bytes, bytes]:
    return (b"RGB " if triples else b"GRAY", b"XYZ ")


def _xyz(triple: tuple[float, float, float]) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(value * 65536) for value in triple))


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_with(*chunks: bytes, data: bytes | None = None) -> bytes:
    """A PNG with chunks inserted after its header."""
    whole = data or png()
    return whole[:33] + b"".join(chunks) + whole[33:]


def png_header(width: int, height: int, *, depth: int = 8, colour: int = 2, interlace: int = 0) -> bytes:
    """A PNG of a header, 64 bytes that are no image data, and an end."""
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", head)
        + png_chunk(b"IDAT", bytes(64))
        + png_chunk(b"IEND", b"")
    )


def jpeg_saying(width: int, height: int, data: bytes | None = None) -> bytes:
    """A JPEG whose header gives false sides."""
    whole = bytearray(data or jpeg())
    at = max(whole.find(b"\xff\xc0"), whole.find(b"\xff\xc2"))
    whole[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(whole)


def scan_bomb(scans: int, *, after_end: bool = False) -> bytes:
    """A progressive JPEG with so many more scans, or with so many scan headers after its end, where none count."""
    whole = jpeg(progressive=True)
    one = b"\xff\xda\x00\x08\x01\x01\x00\x01\x01\x00" + b"\x00"
    return whole + scans * one if after_end else whole[:-2] + scans * one + whole[-2:]


def box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I", 8 + len(body)) + kind + body


def heif(width: int, height: int, *, brand: bytes = b"heic", item: bytes = b"hvc1", items: int = 1) -> bytes:
    """The boxes that the gate reads; no decoder could use them."""
    extent = box(b"ispe", bytes(4), struct.pack(">II", width, height))
    entries = items * box(b"infe", bytes(4), bytes(4), item)
    return box(b"ftyp", brand, bytes(4), brand, b"mif1") + box(b"meta", bytes(4), entries, extent)
