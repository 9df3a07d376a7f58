"""Colours by numbers as containers give them, the bits that say grey, and how much text a PNG may inflate to."""

from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastproc.core.colours import ColourTag
from fastproc.core.errors import ImageTooComplex
from fastproc.core.gate import png, properties
from fastproc.core.gate.judge import judge
from fastproc.core.model import Limits
from tests import pictures
from tests.pictures import box, png_chunk

LIMITS = Limits(formats=("png", "avif", "heic"), min_side_px=1)


def tag_of(*chunks: bytes) -> ColourTag | None:
    return judge(pictures.png_with(*chunks), LIMITS).colour


def nclx(primaries: int, transfer: int, *, full: bool = True) -> bytes:
    return box(b"colr", b"nclx", struct.pack(">HHHB", primaries, transfer, 6, 0x80 * full))


def iprp(known: list[bytes], items: dict[int, list[int]], *, boxes: int = 1) -> bytes:
    """The content of `iprp`: properties, and which of them (from 1) belong to which items, in so many `ipma` boxes."""
    entries = [struct.pack(">HB", item, len(places)) + bytes(places) for item, places in items.items()]
    parts = [entries[n::boxes] for n in range(boxes)]
    associations = [box(b"ipma", bytes(4), struct.pack(">I", len(part)), *part) for part in parts]
    return box(b"ipco", *known) + b"".join(associations)


def test_the_numbers_of_a_png_are_read() -> None:
    cicp = png_chunk(b"cICP", bytes((9, 16, 0, 1)))
    light = png_chunk(b"cLLI", struct.pack(">II", 12_340_000, 0))
    assert tag_of(cicp, light) == ColourTag(primaries=9, transfer=16, peak_nits=1234, before_profile=True)
    gama = png_chunk(b"gAMA", struct.pack(">I", 50_000))
    assert tag_of(gama) == ColourTag(gamma=2.0)
    chrm = png_chunk(b"cHRM", struct.pack(">8I", *range(10_000, 90_000, 10_000)))
    found = tag_of(gama, chrm)
    assert found is not None
    assert found.gamma == 2
    assert found.chromaticities == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8])


@pytest.mark.parametrize(
    "chunk",
    [
        png_chunk(b"cICP", bytes((9, 16, 9, 1))),
        png_chunk(b"cICP", bytes((2, 16, 0, 1))),
        png_chunk(b"cICP", bytes((9, 2, 0, 1))),
        png_chunk(b"cICP", bytes((9, 16, 0))),
        png_chunk(b"gAMA", bytes(4)),
        png_chunk(b"gAMA", struct.pack(">I", 45455)),
        png_chunk(b"cHRM", bytes(31)),
    ],
)
def test_chunks_that_mean_nothing_are_as_if_they_were_not_there(chunk: bytes) -> None:
    assert tag_of(chunk) is None


def test_chunks_about_colours_after_the_pixels_do_not_count() -> None:
    whole = pictures.png()
    late = whole[:-12] + png_chunk(b"cICP", bytes((9, 16, 0, 1))) + whole[-12:]
    assert judge(late, LIMITS).colour is None


def test_the_colours_of_a_heif_are_those_of_its_primary_item() -> None:
    known = [nclx(9, 16), nclx(12, 13, full=False)]
    items = properties.of_items(iprp(known, {1: [1], 2: [2]}))
    assert properties.colour(items, 2, {2}) == ColourTag(primaries=12, transfer=13, full_range=False)
    assert properties.colour(items, 1, {1, 2}) == ColourTag(primaries=9, transfer=16)
    assert properties.colour(items, 3, {3}) is None


def test_a_grid_without_colours_has_those_of_its_tiles() -> None:
    items = properties.of_items(iprp([nclx(12, 13)], {1: [], 2: [1], 3: [1]}))
    assert properties.colour(items, 1, {1, 2, 3}) == ColourTag(primaries=12, transfer=13)


def test_associations_may_lie_in_several_boxes() -> None:
    items = properties.of_items(iprp([nclx(12, 13), nclx(9, 18)], {1: [1], 2: [2]}, boxes=2))
    assert properties.colour(items, 1, {1}) == ColourTag(primaries=12, transfer=13)
    assert properties.colour(items, 2, {2}) == ColourTag(primaries=9, transfer=18)


@pytest.mark.parametrize(
    ("light", "display", "peak"), [(1600, 0, 1600), (0, 4000, 4000), (1600, 4000, 1600), (0, 0, 0)]
)
def test_the_peak_is_the_brightest_pixel_or_that_of_the_display(
    light: int, display: int, peak: float
) -> None:
    clli = box(b"clli", struct.pack(">HH", light, 0))
    mdcv = box(b"mdcv", bytes(16), struct.pack(">II", display * 10_000, 0))
    found = properties.colour(properties.of_items(iprp([nclx(9, 16), clli, mdcv], {1: [1, 2, 3]})), 1, {1})
    assert found is not None
    assert found.peak_nits == peak


def test_grey_is_what_every_coded_part_says() -> None:
    grey_av1 = box(b"av1C", bytes((0x81, 0, 0x10, 0)))
    colour_av1 = box(b"av1C", bytes((0x81, 0, 0x0C, 0)))
    grey_hevc = box(b"hvcC", bytes(16), b"\xfc", bytes(6))
    colour_hevc = box(b"hvcC", bytes(16), b"\xfd", bytes(6))
    items = properties.of_items(
        iprp([grey_av1, colour_av1, grey_hevc, colour_hevc], {1: [1], 2: [2], 3: [3], 4: [4], 5: []})
    )
    assert [properties.is_grey(items, {item}) for item in (1, 2, 3, 4, 5)] == [
        True,
        False,
        True,
        False,
        False,
    ]
    assert properties.is_grey(items, {1, 5})
    assert not properties.is_grey(items, {1, 2})


@given(st.binary(max_size=300))
def test_no_property_box_raises_anything_undeclared(noise: bytes) -> None:
    body = box(b"ipco", nclx(9, 16), noise) + box(b"ipma", bytes(4), noise)
    try:
        items = properties.of_items(body)
    except (IndexError, struct.error):
        return
    properties.colour(items, 1, items)
    properties.is_grey(items, items)


def packed(kind: bytes, size: int) -> bytes:
    body = zlib.compress(bytes(size), 9)
    return png_chunk(kind, b"Comment\0\0" + body if kind == b"zTXt" else b"Comment\0\1\0en\0\0" + body)


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt"])
def test_text_that_inflates_beyond_the_bound_is_refused(kind: bytes) -> None:
    quarter = png.MAX_TEXT_BYTES // 4
    assert png.too_much_text(pictures.png_with(*[packed(kind, quarter)] * 3)) == ""
    with pytest.raises(ImageTooComplex, match="compressed text"):
        judge(pictures.png_with(*[packed(kind, quarter)] * 5), LIMITS)


def test_one_text_counts_only_as_far_as_libpng_inflates_it() -> None:
    huge = packed(b"iTXt", 50_000_000)
    assert png.too_much_text(pictures.png_with(huge)) == ""
    assert png.too_much_text(pictures.png_with(*[huge] * 3)) != ""


def test_text_that_is_not_compressed_is_as_long_as_it_is() -> None:
    plain = png_chunk(b"iTXt", b"Comment\0\0\0en\0\0" + zlib.compress(bytes(png.MAX_TEXT_BYTES * 2)))
    assert png.too_much_text(pictures.png_with(plain, png_chunk(b"tEXt", b"Comment\0" + bytes(100)))) == ""


def test_compressed_text_that_is_damaged_counts_as_far_as_it_goes() -> None:
    chunk = png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(1000))[:-9] + b"damaged!!")
    assert png.too_much_text(pictures.png_with(chunk, png_chunk(b"zTXt", b"no end"))) == ""
