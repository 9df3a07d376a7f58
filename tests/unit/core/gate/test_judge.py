"""The gate: what it reads from headers, what it refuses, in which order, and at what cost."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastproc.core import errors
from fastproc.core.gate import jpeg
from fastproc.core.gate import judge as gate
from fastproc.core.header import Header
from fastproc.core.model import Limits
from tests import pictures
from tests.work import at_most

ALL = Limits(formats=("jpeg", "png", "webp", "heic", "avif", "gif"), min_side_px=1)


def judge(data: bytes, limits: Limits = ALL) -> Header:
    return gate.judge(memoryview(data), limits)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("jpeg", pictures.jpeg()),
        ("png", pictures.png()),
        ("webp", pictures.webp()),
        ("webp", pictures.webp(lossless=True)),
        ("webp", pictures.webp(exif=pictures.camera_exif())),
        ("gif", pictures.gif()),
        ("avif", pictures.avif()),
        ("heic", pictures.heif(320, 240)),
        ("heic", pictures.heif(320, 240, brand=b"mif1")),
    ],
)
def test_format_and_sides_are_read_from_the_content(name: str, data: bytes) -> None:
    header = judge(data)
    assert (header.format, header.width, header.height) == (name, 320, 240)


def test_stored_sides_are_reported_whatever_the_orientation() -> None:
    assert judge(pictures.turned(6)).width == 240


def test_a_progressive_jpeg_says_so_with_its_scans_and_its_memory() -> None:
    header = judge(pictures.jpeg(progressive=True, subsampling="4:2:0"))
    assert header.progressive
    assert header.scans == 10
    assert header.decoded_bytes == 320 * 240 * 3
    assert judge(pictures.jpeg(progressive=True, subsampling="4:4:4")).decoded_bytes == 320 * 240 * 6


def test_a_baseline_jpeg_streams() -> None:
    header = judge(pictures.jpeg(4000, 3000))
    assert not header.progressive
    assert header.scans == 1
    assert header.decoded_bytes < 1 << 20


@pytest.mark.parametrize("kind", ["WEBP", "PNG"])
def test_frames_of_an_animation_are_counted(kind: str) -> None:
    assert judge(pictures.animated(kind, frames=5)).frames == 5


def test_an_absurd_number_of_apng_frames_is_ignored_since_only_the_still_is_decoded() -> None:
    control = pictures.png_chunk(b"acTL", struct.pack(">II", 1 << 31, 0))
    assert judge(pictures.png_with(control)).frames == 1


def test_an_interlaced_png_is_held_whole() -> None:
    header = judge(pictures.png_header(200, 200, interlace=1))
    assert header.progressive
    assert header.decoded_bytes == 200 * 3 * 200 * 8 // 7


@pytest.mark.parametrize(
    "data",
    [
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"II*\0" + bytes(60),
        b"%PDF-1.7",
        b"BM" + bytes(60),
        pictures.heif(320, 240, brand=b"isom").replace(b"mif1", b"mp42"),
        b"RIFF\x20\0\0\0WAVEfmt " + bytes(20),
        b"\xff\xd8",
        b"x",
    ],
)
def test_content_of_no_listed_format_is_unsupported(data: bytes) -> None:
    with pytest.raises(errors.UnsupportedFormat):
        judge(data)


def test_gif_is_unsupported_unless_it_is_listed() -> None:
    with pytest.raises(errors.UnsupportedFormat, match="gif"):
        judge(pictures.gif(), Limits(min_side_px=1))


def test_an_empty_file_is_corrupted() -> None:
    with pytest.raises(errors.FileCorrupted, match="empty"):
        judge(b"")


@pytest.mark.parametrize(
    ("marker", "words"),
    [
        (0xC3, r"^lossless JPEG \(SOF3\)"),
        (0xC5, r"^hierarchical JPEG \(SOF5\)"),
        (0xC7, r"^hierarchical JPEG \(SOF7\)"),
        (0xC9, r"^JPEG with arithmetic coding \(SOF9\)"),
        (0xCA, r"^JPEG with arithmetic coding \(SOF10\)"),
        (0xCB, r"^JPEG with arithmetic coding \(SOF11\)"),
        (0xCF, r"^hierarchical JPEG with arithmetic coding \(SOF15\)"),
    ],
)
def test_jpegs_of_other_kinds_are_unsupported_by_their_names(marker: int, words: str) -> None:
    with pytest.raises(errors.UnsupportedFormat, match=words):
        judge(pictures.jpeg().replace(b"\xff\xc0", bytes((0xFF, marker)), 1))


@pytest.mark.parametrize("restarts", [0, 1])
def test_a_jpeg_whose_height_follows_its_first_scan_is_unsupported(restarts: int) -> None:
    data = pictures.jpeg(restart_marker_rows=restarts)
    at = data.find(b"\xff\xc0") + 5
    without = data[:at] + bytes(2) + data[at + 2 :]
    with pytest.raises(errors.UnsupportedFormat, match="height follows its first scan"):
        judge(without[:-2] + b"\xff\xdc\0\4" + data[at : at + 2] + b"\xff\xd9")
    with pytest.raises(errors.FileCorrupted, match="the jpeg header says 320x0"):
        judge(without)
    with pytest.raises(errors.FileCorrupted, match="the jpeg header says 320x0"):
        judge(without[:-2])
    with pytest.raises(errors.UnsupportedFormat, match="height follows its first scan"):
        # Camera files have more behind their end; the marker is found before it.
        judge(without[:-2] + b"\xff\xdc\0\4" + data[at : at + 2] + b"\xff\xd9" + bytes(3 << 20))
    with pytest.raises(errors.UnsupportedFormat, match="height follows its first scan"):
        judge(without[:-2] + bytes(3 << 20) + b"\xff\xdc\0\4" + data[at : at + 2] + b"\xff\xd9")


def test_a_jpeg_of_twelve_bits_is_unsupported() -> None:
    data = pictures.jpeg()
    at = data.find(b"\xff\xc0")
    with pytest.raises(errors.UnsupportedFormat, match="12 bits"):
        judge(data[: at + 4] + b"\x0c" + data[at + 5 :])


@pytest.mark.parametrize("item", [b"unci", b"avc1", b"vvc1", b"j2k1"])
def test_heif_with_foreign_codecs_is_unsupported(item: bytes) -> None:
    with pytest.raises(errors.UnsupportedFormat):
        judge(pictures.heif(320, 240, item=item))


@pytest.mark.parametrize(
    "data",
    [
        pictures.jpeg()[:100],
        pictures.jpeg_saying(30000, 30000),
        pictures.png()[:-12],
        pictures.png()[:20],
        pictures.png_header(20000, 20000),
        pictures.webp()[:-100],
        pictures.webp()[:24],
        pictures.gif()[:8],
        pictures.heif(320, 240)[:20],
        pictures.box(b"ftyp", b"heic", bytes(4), b"mif1") + pictures.box(b"meta", bytes(4)),
        b"\xff\xd8\xff\xd9",
        b"\xff\xd8\xff\xe0\0\1",
    ],
)
def test_a_header_that_is_cut_short_or_false_is_corrupted(data: bytes) -> None:
    limits = Limits(formats=ALL.formats, min_side_px=1, max_side_px=65535, max_pixels=1 << 40)
    with pytest.raises(errors.FileCorrupted):
        judge(data, limits)


def test_a_flat_picture_of_few_bytes_is_not_taken_for_a_false_header() -> None:
    flat = pictures.encoded(pictures.Image.new("RGB", (8000, 8000), (9, 9, 9)), "JPEG", quality=10)
    assert judge(flat).width == 8000


@pytest.mark.parametrize(("width", "height"), [(99, 300), (300, 99)])
def test_a_side_under_the_minimum_is_too_small(width: int, height: int) -> None:
    with pytest.raises(errors.ImageTooSmall, match=f"{width}x{height}"):
        judge(pictures.png(width, height), Limits())


def test_a_side_of_exactly_the_minimum_is_large_enough() -> None:
    assert judge(pictures.png(100, 100), Limits()).width == 100


@pytest.mark.parametrize("least", [0, 1, 100])
@pytest.mark.parametrize(
    ("data", "words"),
    [
        (pictures.png_header(0, 10), "the png header says 0x10"),
        (pictures.png_header(10, 0), "the png header says 10x0"),
        (pictures.jpeg_saying(0, 480), "the jpeg header says 0x480"),
        (pictures.gif()[:6] + bytes(4) + pictures.gif()[10:], "the gif header says 0x0"),
        (pictures.heif(0, 240), "the heic header says 0x0"),
    ],
)
def test_a_side_of_nothing_is_no_small_picture_but_a_false_header(
    data: bytes, words: str, least: int
) -> None:
    with pytest.raises(errors.FileCorrupted, match=words):
        judge(data, Limits(formats=ALL.formats, min_side_px=least))


@pytest.mark.parametrize(
    ("data", "limits"),
    [
        (pictures.jpeg(640, 480), Limits(min_side_px=1, max_side_px=639)),
        (pictures.jpeg(640, 480), Limits(min_side_px=1, max_pixels=640 * 480 - 1)),
        (
            pictures.jpeg(640, 480, progressive=True),
            Limits(min_side_px=1, max_decoded_bytes=640 * 480 * 3 - 1),
        ),
        (pictures.heif(9000, 9000, brand=b"avif", item=b"av01"), Limits(max_decoded_bytes=1_000_000_000)),
    ],
)
def test_sides_pixels_and_memory_over_the_limits_are_too_large(data: bytes, limits: Limits) -> None:
    with pytest.raises(errors.ImageTooLarge):
        judge(data, limits)


def test_what_is_exactly_at_the_limits_passes() -> None:
    assert judge(pictures.jpeg(640, 480), Limits(min_side_px=480, max_side_px=640, max_pixels=640 * 480))


@pytest.mark.parametrize(
    "data",
    [
        pictures.scan_bomb(64),
        pictures.png_with(*(65 * [pictures.png_chunk(b"tEXt", b"Comment\0x")])),
        pictures.png_with(60_000 * pictures.png_chunk(b"tIME", bytes(7))),
        pictures.png_with(pictures.png_chunk(b"iCCP", bytes(Limits().max_icc_bytes + 1))),
        pictures.heif(320, 240, items=1001),
        b"\xff\xd8" + 5000 * b"\xff\xfe\0\3x" + pictures.jpeg()[2:],
    ],
)
def test_scans_texts_chunks_profiles_items_and_segments_over_the_limits_are_too_complex(data: bytes) -> None:
    with pytest.raises(errors.ImageTooComplex):
        judge(data)


def test_frames_over_the_limit_are_too_complex() -> None:
    with pytest.raises(errors.ImageTooComplex, match="5 frames"):
        judge(pictures.animated("WEBP", frames=5), Limits(min_side_px=1, max_frames=4))


def test_sixty_four_texts_are_not_too_many() -> None:
    assert judge(pictures.png_with(*(64 * [pictures.png_chunk(b"tEXt", b"Comment\0x")])))


def test_what_follows_a_pictures_end_is_not_counted_as_scans() -> None:
    """A motion photo is a JPEG followed by a film, in which any two bytes occur by chance."""
    assert judge(pictures.scan_bomb(200, after_end=True)).progressive


def test_an_end_marker_in_a_comment_does_not_hide_scans() -> None:
    """A decoder skips the comment, so the picture goes on after it."""
    bomb = pictures.scan_bomb(200)
    at = bomb.find(b"\xff\xda")
    with pytest.raises(errors.ImageTooComplex):
        judge(bomb[:at] + b"\xff\xfe\0\4\xff\xd9" + bomb[at:])


def test_scans_are_found_across_the_border_of_two_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = pictures.scan_bomb(70)
    whole = jpeg._count_scans(memoryview(bomb), 0, 1000)
    monkeypatch.setattr(jpeg, "_WINDOW", 7)
    assert jpeg._count_scans(memoryview(bomb), 0, 1000) == whole == 80


def test_one_file_with_many_faults_is_judged_in_the_agreed_order() -> None:
    bomb, texts = pictures.scan_bomb(64), 65 * [pictures.png_chunk(b"tEXt", b"Comment\0x")]
    with pytest.raises(errors.UnsupportedFormat):
        judge(pictures.png_with(*texts)[:-12], Limits(formats=("jpeg",), min_side_px=9999))
    with pytest.raises(errors.FileCorrupted):
        judge(pictures.png_with(*texts)[:-12], Limits(min_side_px=9999))
    with pytest.raises(errors.ImageTooSmall):
        judge(bomb, Limits(min_side_px=300, max_side_px=310))
    with pytest.raises(errors.ImageTooLarge):
        judge(bomb, Limits(max_side_px=310))


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xd8" + b"\xff" * (8 << 20),
        b"\xff\xd8" + b"\xff\x01" * (4 << 20),
        b"\xff\xd8\xff\xe0\0\2" + (b"x" * 400 + b"\xff\0") * 80_000,
        pictures.png()[:33] + bytes(8 << 20),
        b"RIFF\xff\xff\0\0WEBPVP8X\x0a\0\0\0\2\0\0\0\xff\0\0\xff\0\0" + b"ANMX\0\0\0\0" * (1 << 20),
        pictures.box(b"ftyp", b"heic", bytes(4)) + b"\0\0\0\x08free" * (1 << 20),
    ],
)
def test_no_file_makes_the_gate_slow(data: bytes) -> None:
    with pytest.raises(errors.ImageError), at_most(1_000_000):
        judge(data)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_damaged_header_gives_a_header_or_an_image_error_and_nothing_else(data: st.DataObject) -> None:
    sound = data.draw(st.sampled_from(_SOUND))
    damaged = bytearray(sound[: data.draw(st.integers(0, len(sound)))])
    for at in data.draw(st.lists(st.integers(0, max(0, len(damaged) - 1)), max_size=8)):
        if damaged:
            damaged[at] = data.draw(st.integers(0, 255))
    try:
        header = judge(bytes(damaged))
    except errors.ImageError:
        return
    assert header.width * header.height <= ALL.max_pixels
    assert header.decoded_bytes <= ALL.max_decoded_bytes


_SOUND = [
    pictures.jpeg(40, 30),
    pictures.jpeg(40, 30, progressive=True),
    pictures.png(40, 30),
    pictures.animated("WEBP", width=40, height=30),
    pictures.gif(40, 30),
    pictures.avif(40, 30),
    pictures.heif(40, 30),
]


def test_a_glance_gives_what_the_verdict_gives_without_counting_scans() -> None:
    for photo in (pictures.jpeg(progressive=True), pictures.jpeg(), pictures.png(), pictures.webp()):
        seen, judged = gate.glance(photo, ALL), gate.judge(photo, ALL)
        assert (seen.width, seen.height, seen.decoded_bytes) == (
            judged.width,
            judged.height,
            judged.decoded_bytes,
        )
    assert gate.glance(pictures.scan_bomb(200), ALL).format == "jpeg"
    with pytest.raises(errors.UnsupportedFormat):
        gate.glance(b"no picture", ALL)
