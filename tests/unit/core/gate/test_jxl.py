"""JPEG XL in the gate: sides from the bits of the codestream, bare or in boxes; bounds; off by default."""

from __future__ import annotations

import struct

import pytest

from fastproc.core import errors
from fastproc.core.gate import judge as gate
from fastproc.core.header import Header
from fastproc.core.model import Limits
from tests import pictures
from tests.work import at_most

LIMITS = Limits(
    formats=("jxl",), min_side_px=1, max_side_px=1 << 30, max_pixels=1 << 62, max_decoded_bytes=1 << 62
)


def judge(data: bytes, limits: Limits = LIMITS, *, may_be_cut: bool = False) -> Header:
    return gate.judge(memoryview(data), limits, may_be_cut=may_be_cut)


def bits(*fields: tuple[int, int]) -> bytes:
    """Numbers of so many bits, the lowest first, as ISO/IEC 18181-1 packs them, with some data behind them."""
    number = at = 0
    for value, width in fields:
        number |= value << at
        at += width
    return number.to_bytes((at + 7) // 8, "little") + bytes(16)


def side(value: int) -> tuple[tuple[int, int], tuple[int, int]]:
    choice = next(n for n, width in enumerate((9, 13, 18, 30)) if value - 1 < 1 << width)
    return (choice, 2), (value - 1, (9, 13, 18, 30)[choice])


def codestream(width: int, height: int, ratio: int = 0) -> bytes:
    """A header as an encoder writes it that does not know of multiples of eight."""
    wide = () if ratio else side(width)
    return b"\xff\x0a" + bits((0, 1), *side(height), (ratio, 3), *wide)


SIGNATURE = pictures.box(b"JXL ", b"\r\n\x87\n") + pictures.box(b"ftyp", b"jxl \0\0\0\0jxl ")


@pytest.mark.parametrize(
    "sides", [(1, 1), (320, 240), (512, 513), (8192, 8193), (262_144, 262_145), (1 << 30, 9)]
)
def test_sides_of_every_length_are_read(sides: tuple[int, int]) -> None:
    header = judge(codestream(*sides))
    assert (header.format, header.width, header.height) == ("jxl", *sides)
    assert header.decoded_bytes >= 24 * sides[0] * sides[1]


@pytest.mark.parametrize(
    ("ratio", "width"), [(1, 300), (2, 360), (3, 400), (4, 450), (5, 533), (6, 375), (7, 600)]
)
def test_a_width_may_be_a_ratio_of_the_height(ratio: int, width: int) -> None:
    assert judge(codestream(0, 300, ratio)).width == width


def test_sides_in_multiples_of_eight_take_five_bits() -> None:
    assert judge(b"\xff\x0a" + bits((1, 1), (29, 5), (0, 3), (31, 5))).width == 256
    assert judge(b"\xff\x0a" + bits((1, 1), (29, 5), (0, 3), (31, 5))).height == 240


@pytest.mark.parametrize(
    "boxes",
    [
        pictures.box(b"jxlc", codestream(320, 240)),
        pictures.box(b"Exif", bytes(99)) + pictures.box(b"jxlc", codestream(320, 240)),
        pictures.box(b"jxlp", struct.pack(">I", 0), codestream(320, 240)) + pictures.box(b"jxlp", bytes(9)),
        struct.pack(">I4sQ", 1, b"jxlc", 16 + 40) + codestream(320, 240).ljust(40, b"\0"),
        struct.pack(">I4s", 0, b"jxlc") + codestream(320, 240),
    ],
    ids=["whole", "behind-exif", "parts", "long", "to-the-end"],
)
def test_the_codestream_is_found_in_boxes(boxes: bytes) -> None:
    header = judge(SIGNATURE + boxes)
    assert (header.width, header.height, header.whole) == (320, 240, True)


def test_a_box_that_ends_beyond_the_file_means_that_it_is_cut_short() -> None:
    data = SIGNATURE + pictures.box(b"jxlc", codestream(320, 240), bytes(500))
    with pytest.raises(errors.FileCorrupted, match="cut short"):
        judge(data[:-100])
    assert not judge(data[:-100], may_be_cut=True).whole


@pytest.mark.parametrize(
    "data",
    [
        SIGNATURE,
        SIGNATURE + pictures.box(b"jxlc", b"no codestream"),
        b"\xff\x0a\0",
        SIGNATURE + bytes(3) + b"\4jxlc",
    ],
)
def test_a_file_without_a_header_is_corrupted(data: bytes) -> None:
    with pytest.raises(errors.FileCorrupted):
        judge(data)


def test_limits_hold_and_the_format_is_off_by_default() -> None:
    with pytest.raises(errors.ImageTooLarge):
        judge(codestream(20_000, 200), Limits(formats=("jxl",)))
    with pytest.raises(errors.ImageTooLarge, match="bytes of memory"):
        judge(codestream(9_999, 9_999), Limits(formats=("jxl",)))
    with pytest.raises(errors.UnsupportedFormat, match="jxl is not an allowed format"):
        judge(codestream(320, 240), Limits())


def test_no_file_makes_it_slow() -> None:
    data = SIGNATURE + pictures.box(b"free", b"") * 400_000
    with pytest.raises(errors.ImageTooComplex), at_most(50_000):
        judge(data)


def test_every_beginning_gives_a_verdict() -> None:
    data = SIGNATURE + pictures.box(b"jxlp", bytes(4), codestream(320, 240))
    for end in range(len(data)):
        with pytest.raises(errors.ImageError):
            judge(data[:end])
