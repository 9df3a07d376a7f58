"""Compares the worker's outputs with those of Pillow (with LittleCMS) and sharp: never with its own earlier ones.

Tolerances. A thumbnail is a JPEG, and coding alone moves colours by up to 6 (mean CIEDE2000, a noisy photo at 150 px),
so a fixed tolerance would find nothing in a smooth picture. So the tolerance applies to the distance to Pillow's
pixels, minus the distance of Pillow's own pixels before and after mozjpeg at the same quality. Measured:

                                                       mean        95th pct.   1 - SSIM
    worker beyond coding, without the exceptions       <= 0.24     <= 1.1      <= 0.011
    sharp to Pillow, uncoded, without the exceptions   <= 0.94     <= 2.7      <= 0.011
    broken on purpose, beyond coding:
    no conversion from Display-P3, at 150 / 600        1.8 / 2.1   0.7 / 3.1   0.001 / 0.006
    no press for CMYK without a profile, 150 / 600     1.4 / 2.0   1.6 / 4.5   0.002 / 0.008
    a grey profile dropped, at 150                     15          20          0.08
    one pixel to the side, at 150 / 600                8.7 / 3.0   27 / 9.7    0.85 / 0.09
    turned wrongly, or mirrored                        > 33        > 56        > 0.7
"""

from __future__ import annotations

import functools
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.golden import matrix
from tests.golden.conftest import QUALITIES, Made, Studio, array
from tests.golden.measures import Pixels, colour_difference, ssim
from tests.golden.references import pillow

NAMES = [*matrix.MADE, *matrix.REAL]
#: Beyond coding: of the mean, of the 95th percentile, of 1 - SSIM.
TOLERANCE = (0.35, 1.3, 0.012)
#: Black and white dots: the filter decides how they become grey, and the references differ by 1.9, 4.7 and 0.09.
DOTS = (1.5, 3.0, 0.04)
TOLERANCES = {"one bit": DOTS}
#: sharp against Pillow, without coding, so that a wrong reference is noticed.
AGREEMENT = (1.0, 2.8, 0.012)
SHARP_DIFFERS = {
    "display p3 16 bit": "sharp reduces 16 bits to 8 before it converts, and treats them as sRGB",
    "one bit": "see DOTS",
    "png_16bit_trns.png": "it ignores a PNG's gamma",
    **{
        name: "its box filter drops the last columns that it cannot fill"
        for name in matrix.MADE
        if "x" in name
    },
}


def apart(first: Pixels, second: Pixels) -> np.ndarray:
    """Return the differences of two pictures: mean, 95th percentile, 1 - SSIM."""
    assert first.shape == second.shape
    return np.array([*colour_difference(first, second), 1 - ssim(first, second)])


@pytest.mark.parametrize("name", NAMES)
def test_the_worker_makes_what_the_references_make(studio: Studio, name: str) -> None:
    made = studio.made(name)
    _sizes(made)
    for each, output in made.outputs.items():
        coding = apart(output.coded, output.by_pillow)
        found = apart(output.pixels, output.by_pillow) - coding
        assert (found <= TOLERANCES.get(name, TOLERANCE)).all(), f"{each} is {found.round(3)} from Pillow's"
        if output.by_sharp is not None and name not in SHARP_DIFFERS:
            references = apart(output.by_sharp, output.by_pillow)
            assert (references <= AGREEMENT).all(), f"{each}: the references are {references.round(3)} apart"
    for data in made.files.values():
        _clean(studio, data)


def _sizes(made: Made) -> None:
    """Upright sizes, in the report and the files: the longer side is the thumbnail's, the other within half a pixel."""
    width, height = made.report.width, made.report.height
    facts = made.report.facts["metadata"]
    assert (facts["width"], facts["height"]) == (width, height)
    squares = {"thumb_sm": 150, "thumb_md": 300, "thumb_lg": 600, "optimized": 10_000}
    assert set(made.files) == set(squares)
    for name, square in squares.items():
        scale = min(1, square / max(width, height))
        size = Image.open(io.BytesIO(made.files[name])).size
        for got, side in zip(size, (width, height), strict=True):
            assert abs(got - max(1, scale * side)) <= 0.5 + 1e-9
        assert max(size) == min(square, max(width, height))


def _clean(studio: Studio, data: bytes) -> None:
    """A progressive JPEG with nothing but its picture, read without a warning by Pillow and sharp."""
    picture = Image.open(io.BytesIO(data))
    picture.load()
    assert picture.format == "JPEG"
    assert picture.info.get("progressive")
    kept = set(picture.info) - {
        "progressive",
        "progression",
        "jfif",
        "jfif_version",
        "jfif_unit",
        "jfif_density",
    }
    assert not kept, kept
    assert not picture.getexif()
    facts = studio.sharp.facts(data)
    assert (facts["format"], facts["isProgressive"], facts["kept"]) == ("jpeg", True, [])
    assert (facts["width"], facts["height"]) == picture.size
    assert b"secret" not in data
    assert b"Acme" not in data


def test_every_real_photo_but_the_refused_is_in_the_list() -> None:
    if not matrix.PHOTOS.is_dir():
        pytest.skip("no ../shared/photos beside the checkout")
    assert len(matrix.REAL) + len(matrix.REFUSED) == sum(1 for _ in matrix.PHOTOS.glob("*/*"))


@pytest.mark.parametrize(("name", "code"), matrix.REFUSED.items())
def test_a_real_file_that_is_damaged_or_too_large_is_refused(studio: Studio, name: str, code: str) -> None:
    path = matrix.PHOTOS / "odd" / name
    if not path.is_file():
        pytest.skip("no ../shared/photos beside the checkout")
    assert studio.worker.ask(path.read_bytes()).code == code


@pytest.mark.parametrize("name", [name for name in matrix.MADE if name.startswith("animated")])
def test_an_animation_gives_its_first_frame_and_says_how_many_there_are(studio: Studio, name: str) -> None:
    assert studio.made(name).report.facts["metadata"].get("frames") == 4


@functools.cache
def _upright(path: Path) -> Image.Image:
    return Image.fromarray(pillow(path.read_bytes(), [None])[0])


@pytest.mark.parametrize("quarters", range(4))
def test_a_heic_is_turned_by_its_container(studio: Studio, quarters: int) -> None:
    """A phone's file with another rotation written into its `irot` box: there is no HEVC encoder here."""
    path = matrix.PHOTOS / "odd" / "iphone.heic"
    if not path.is_file():
        pytest.skip("no ../shared/photos beside the checkout")
    data = bytearray(path.read_bytes())
    at = data.index(b"irot") + 4
    before, data[at] = data[at], quarters
    report, files = studio.files(bytes(data))
    thumbnail = array(Image.open(io.BytesIO(files["thumb_lg"])))
    upright = _upright(path)
    turned = upright.rotate(90 * (quarters - before), expand=True)
    assert (report.width, report.height) == turned.size
    wanted = array(turned.resize(thumbnail.shape[1::-1], Image.Resampling.LANCZOS))
    coding = apart(studio.sharp.coded(wanted, QUALITIES["thumb_lg"]), wanted)
    assert (apart(thumbnail, wanted) - coding <= TOLERANCE).all()
