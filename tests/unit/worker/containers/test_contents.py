"""Where each kind of file has what describes it; and that cut, absurd and huge files raise nothing and cost little."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable

import pytest
from PIL import Image

from fastproc.worker.containers import contents, gif, reading
from tests import pictures
from tests.described import (
    app1_xmp,
    app11,
    app13,
    gif_with,
    jpeg_with,
    jumbf,
    orientation,
    png_before_end,
    raw_profile,
    segment,
    text_chunk,
    webp_with,
    xmp,
)
from tests.work import at_most, memory_at_most

PACKET = xmp("<dc:title>T</dc:title>")
EXIF = orientation(6)
SIGNED = b"Exif\0\0" + EXIF
C2PA_BOX = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")


def found(data: bytes, format: str) -> contents.Contents:
    return reading.contents(memoryview(data), format)


def test_a_plain_file_has_nothing() -> None:
    for format, data in {
        "jpeg": pictures.jpeg(),
        "png": pictures.png(),
        "webp": pictures.webp(),
        "gif": pictures.gif(),
        "avif": pictures.avif(),
        "heic": pictures.heif(64, 64),
        "other": b"",
    }.items():
        assert found(data, format) == contents.Contents(), format


@pytest.mark.parametrize(
    "data",
    [
        jpeg_with(app1_xmp(PACKET)),
        jpeg_with(segment(0xE1, b"Exif\0\0" + EXIF), segment(0xFE, b"remark"), app1_xmp(PACKET)),
        jpeg_with(b"\xff\xff\xff", app1_xmp(PACKET)),
        jpeg_with(segment(0xFE, b"remark"), b"junk", app1_xmp(PACKET)),
        jpeg_with(segment(0xE1, b"http://ns.adobe.com/xap/1.0/"), app1_xmp(PACKET)),
    ],
)
def test_a_jpeg_has_xmp_in_a_segment(data: bytes) -> None:
    assert found(data, "jpeg").xmp == [PACKET]


def test_what_stands_behind_the_first_scan_of_a_jpeg_is_not_its_own() -> None:
    """Such as the gain map of an UltraHDR, which is a second JPEG with XMP of its own."""
    assert found(pictures.jpeg() + jpeg_with(app1_xmp(PACKET)), "jpeg").xmp == []
    plain = pictures.jpeg()
    scan = plain.index(b"\xff\xda")
    data = scan + 2 + plain[scan + 3]
    assert found(plain[:data] + app1_xmp(PACKET) + plain[data:], "jpeg").xmp == []
    assert found(b"\xff\xd8\xff\xd9\0\2" + app1_xmp(PACKET), "jpeg").xmp == []


def test_photoshops_resources_go_on_in_the_next_segment_of_a_jpeg() -> None:
    resources = bytes(range(256)) * 500
    data = jpeg_with(app13(resources, cut_every=50_001), segment(0xED, b"Other\0" + bytes(9)))
    assert found(data, "jpeg").resources == resources
    many = jpeg_with(*(60 * [app13(bytes(60_000))]))
    assert len(found(many, "jpeg").resources) == contents.MAX_BLOCK_BYTES


NAME = b"0123456789ABCDEF" * 2


def extension(place: int, body: bytes, whole: int = 9, name: bytes = NAME) -> bytes:
    return segment(
        0xE1, b"http://ns.adobe.com/xmp/extension/\0" + name + struct.pack(">II", whole, place) + body
    )


def test_an_extension_of_xmp_is_joined_in_the_order_of_its_places() -> None:
    data = jpeg_with(extension(3, b"def"), extension(0, b"abc"), extension(0, b"xyz"), extension(6, b"ghi"))
    assert found(data, "jpeg").extensions == {NAME.decode(): b"abcdefghi"}


def test_an_extension_ends_where_a_part_is_missing() -> None:
    data = jpeg_with(extension(0, b"abc"), extension(6, b"ghi"), extension(0, b"other", name=b"x" * 32))
    assert found(data, "jpeg").extensions == {NAME.decode(): b"abc", "x" * 32: b"other"}


def test_an_extension_that_is_too_large_is_not_read_and_that_is_told() -> None:
    """A phone's map of depths, in base64."""
    data = jpeg_with(*(extension(60_000 * n, bytes(60_000)) for n in range(20)))
    read = found(data, "jpeg")
    assert read.extensions == {}
    assert read.unread == ["an XMP extension of 1201500 bytes was not read"]


CREDENTIALS = {
    "jpeg": [jpeg_with(app11(jumbf()))],
    "png": [pictures.png_with(pictures.png_chunk(b"caBX", jumbf()))],
    "webp": [webp_with((b"C2PA", jumbf()))],
    "gif": [gif_with(b"C2PA_GIF\1\0\0", jumbf(), blocks=True)],
    "avif": [
        pictures.avif() + pictures.box(b"uuid", C2PA_BOX, bytes(4), b"manifest\0", bytes(8), jumbf()),
        pictures.avif() + struct.pack(">I4sQ", 1, b"uuid", 16 + 16) + C2PA_BOX,
        pictures.avif() + jumbf(),
    ],
    "heic": [pictures.heif(64, 64) + pictures.box(b"uuid", C2PA_BOX)],
}
OTHERS = {
    "jpeg": [
        jpeg_with(app11(jumbf(b"jps\0"))),
        jpeg_with(segment(0xEB, b"HDR_RI ver=11")),
        jpeg_with(segment(0xEB, b"JP")),
        jpeg_with(segment(0xFE, app11(jumbf()))),
        pictures.jpeg() + app11(jumbf()),
    ],
    "png": [
        pictures.png_with(pictures.png_chunk(b"caBX", jumbf(b"json"))),
        pictures.png_with(pictures.png_chunk(b"tEXt", b"caBX\0" + jumbf())),
    ],
    "webp": [webp_with((b"C2PA", b""))],
    "gif": [gif_with(b"NETSCAPE2.0", b"\1\0\0", blocks=True)],
    "avif": [pictures.avif() + pictures.box(b"uuid", bytes(16)), pictures.avif() + jumbf(b"jxli")],
    "heic": [pictures.heif(64, 64) + pictures.box(b"free", C2PA_BOX)],
}  # fmt: skip


@pytest.mark.parametrize("format", CREDENTIALS)
def test_content_credentials_are_found_where_they_belong_and_nowhere_else(format: str) -> None:
    for number, data in enumerate(CREDENTIALS[format]):
        assert found(data, format).credentials is True, number
    for number, data in enumerate(OTHERS[format]):
        assert found(data, format).credentials is False, number


def test_a_webp_has_xmp_in_a_chunk() -> None:
    for name in (b"XMP ", b"XMP\0"):
        assert found(webp_with((b"ODD ", b"x"), (name, PACKET)), "webp").xmp == [PACKET]
    assert found(pictures.webp(xmp=PACKET), "webp").xmp == [PACKET]


def test_a_gif_has_xmp_in_an_extension_before_or_after_its_picture() -> None:
    before = gif_with(b"XMP DataXMP", PACKET)
    assert found(before, "gif").xmp == [PACKET]
    assert Image.open(io.BytesIO(before)).convert("RGB").size == (320, 240), "other readers get past it"
    start = before.index(b"!\xff\x0bXMP")
    extension = before[start : before.index(bytes(range(4, -1, -1)) + b"\0", start) + 6]
    assert found(pictures.gif()[:-1] + extension + b";", "gif").xmp == [PACKET]


@pytest.mark.parametrize("keyword", [b"XML:com.adobe.xmp", b"Raw profile type xmp"])
@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt", b"iTXt"])
@pytest.mark.parametrize("place", [pictures.png_with, png_before_end])
def test_a_png_has_xmp_in_a_text_of_any_kind(
    place: Callable[..., bytes], kind: bytes, keyword: bytes
) -> None:
    text = raw_profile("xmp", PACKET) if keyword.startswith(b"Raw") else PACKET
    for compressed in (True, False):
        chunk = text_chunk(kind, keyword, text, compressed=compressed)
        assert found(place(text_chunk(b"tEXt", b"Comment", b"x"), chunk), "png").xmp == [PACKET]


@pytest.mark.parametrize(
    ("chunks", "exif", "turns"),
    [
        ([pictures.png_chunk(b"eXIf", EXIF)], EXIF, True),
        ([text_chunk(b"zTXt", b"Raw profile type exif", raw_profile("exif", SIGNED))], SIGNED, True),
        ([text_chunk(b"tEXt", b"Raw profile type exif", raw_profile("exif", EXIF))], EXIF, True),
        ([text_chunk(b"tEXt", b"exif", SIGNED)], SIGNED, True),
        ([text_chunk(b"zTXt", b"Raw profile type APP1", raw_profile("generic", SIGNED))], SIGNED, False),
        (
            [
                text_chunk(b"tEXt", b"Raw profile type exif", raw_profile("exif", orientation(3))),
                pictures.png_chunk(b"eXIf", EXIF),
            ],
            EXIF,
            True,
        ),
        ([text_chunk(b"tEXt", b"Raw profile type exif", b"\nexif\n   4\nzzzz\n")], None, True),
        ([text_chunk(b"tEXt", b"Raw profile type exif", b"\nexif\n")], None, True),
        ([text_chunk(b"tEXt", b"Raw profile type exif", b"")], None, True),
        ([pictures.png_chunk(b"zTXt", b"Raw profile type exif\0\0not deflated")], None, True),
        ([text_chunk(b"tEXt", b"exif:Model", b"Exif\0\0" + EXIF)], None, True),
    ],
)  # fmt: skip
@pytest.mark.parametrize("place", [pictures.png_with, png_before_end])
def test_a_png_has_exif_in_a_chunk_or_a_text_before_or_after_its_picture(
    place: Callable[..., bytes], chunks: list[bytes], exif: bytes | None, turns: bool
) -> None:
    read = found(place(*chunks), "png")
    assert (read.exif, read.turns) == (exif, turns)


def test_the_profile_app1_of_a_png_may_be_xmp() -> None:
    profile = raw_profile("generic", b"http://ns.adobe.com/xap/1.0/\0" + PACKET)
    read = found(pictures.png_with(text_chunk(b"zTXt", b"Raw profile type APP1", profile)), "png")
    assert (read.exif, read.xmp) == (None, [PACKET])


@pytest.mark.parametrize("name", [b"iptc", b"8bim", b"IPTC"])
def test_a_png_has_iptc_in_a_profile(name: bytes) -> None:
    chunk = text_chunk(b"zTXt", b"Raw profile type " + name, raw_profile("iptc", b"8BIM..."))
    assert found(pictures.png_with(chunk), "png").resources == b"8BIM..."


@pytest.mark.parametrize("keyword", [b"XML:com.adobe.xmp", b"Raw profile type exif"])
def test_a_text_that_inflates_without_end_is_not_read_and_that_is_told(keyword: bytes) -> None:
    bomb = text_chunk(b"zTXt", keyword, bytes(30 << 20))
    others = [text_chunk(b"zTXt", b"Raw profile type %d" % n, bytes(30 << 20)) for n in range(3)]
    data = pictures.png_with(*(30 * [bomb]), *(10 * others))
    with memory_at_most(8 * contents.MAX_BLOCK_BYTES):
        read = found(data, "png")
    assert (read.xmp, read.exif) == ([], None)
    assert len(read.unread) == 1
    assert "was not read" in read.unread[0]


@pytest.mark.parametrize("format", ["jpeg", "png", "webp", "gif"])
def test_xmp_has_a_bound_and_a_packet_beyond_it_is_told(format: str) -> None:
    huge = b"<" + bytes(contents.MAX_BLOCK_BYTES)
    data = {
        "jpeg": jpeg_with(*(10 * [app1_xmp(PACKET)])),
        "png": pictures.png_with(text_chunk(b"iTXt", b"XML:com.adobe.xmp", huge)),
        "webp": webp_with((b"XMP ", huge)),
        "gif": gif_with(b"XMP DataXMP", b"<" + b"\xff" * contents.MAX_BLOCK_BYTES),
    }[format]
    read = found(data, format)
    if format == "jpeg":
        assert read.xmp == contents.MAX_PACKETS * [PACKET]
    else:
        assert (read.xmp, len(read.unread)) == ([], 1)


WHOLE = {
    "jpeg": jpeg_with(app1_xmp(PACKET), app13(b"8BIM"), extension(0, b"abc"), app11(jumbf())),
    "png": png_before_end(
        text_chunk(b"iTXt", b"XML:com.adobe.xmp", PACKET), pictures.png_chunk(b"eXIf", EXIF)
    ),
    "webp": webp_with((b"XMP ", PACKET), (b"C2PA", jumbf())),
    "gif": gif_with(b"XMP DataXMP", PACKET),
    "avif": CREDENTIALS["avif"][0],
}


@pytest.mark.parametrize("format", WHOLE)
def test_a_file_that_ends_anywhere_raises_nothing(format: str) -> None:
    whole = WHOLE[format]
    for end in {*range(min(len(whole), 1500)), *range(max(0, len(whole) - 1500), len(whole))}:
        found(whole[:end], format)


@pytest.mark.parametrize(
    ("format", "data"),
    [
        ("jpeg", jpeg_with(segment(0xFE, b"") * 500_000)),
        ("jpeg", jpeg_with(b"\xff" * 2_000_000)),
        ("jpeg", jpeg_with(bytes(2_000_000))),
        ("jpeg", jpeg_with(*(3_000 * [extension(0, b"abc")]))),
        ("png", pictures.png_with(pictures.png_chunk(b"prVt", b"") * 200_000)),
        ("png", pictures.png_with(text_chunk(b"tEXt", b"Raw profile type exif", b"\n" * 2_000_000))),
        (
            "png",
            pictures.png_with(text_chunk(b"tEXt", b"Raw profile type exif", b"\nexif\n" + b" " * 2_000_000)),
        ),
        ("png", pictures.png_with(text_chunk(b"iTXt", b"XML:com.adobe.xmp", b"") * 5_000)),
        ("webp", webp_with(*(300_000 * [(b"ODD ", b"")]))),
        ("gif", gif_with(b"any old one", b"", before=b"!\xfe\0" * 500_000)),
        ("gif", gif_with(b"any old one", b"", before=b"!\xfe" + b"\1x" * 500_000)),
        ("avif", pictures.avif() + pictures.box(b"free") * 200_000),
    ],
)
def test_absurd_files_cost_little(format: str, data: bytes) -> None:
    with at_most(1_000_000):
        found(data, format)


def test_a_gif_is_walked_for_so_many_blocks() -> None:
    remarks = b"!\xfe\1x\0" * (gif.MAX_STEPS // 2)
    assert found(gif_with(b"XMP DataXMP", PACKET, before=remarks[: -5 * 200]), "gif").xmp == [PACKET]
    assert found(gif_with(b"XMP DataXMP", PACKET, before=remarks), "gif").xmp == []
