"""A picture that is divided while it is read: means of squares, of the same light, whatever is read by whom."""

from __future__ import annotations

import numpy as np
import pytest
import pyvips

from fastproc.core.errors import FileCorrupted
from fastproc.worker.vips.divided import Divided
from tests import pictures

SIDES = [(160, 128), (163, 131), (641, 479), (3000, 70), (40, 33), (17, 3)]


def noise(width: int, height: int, bands: int) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, (height, width, bands), dtype=np.uint8)


def means(pixels: np.ndarray, by: int) -> np.ndarray:
    """The mean of each whole square."""
    height, width, bands = (pixels.shape[0] // by, pixels.shape[1] // by, pixels.shape[2])
    return pixels[: height * by, : width * by].reshape(height, by, width, by, bands).mean((1, 3))


@pytest.mark.parametrize("by", [2, 4, 8])
@pytest.mark.parametrize("bands", [1, 3])
@pytest.mark.parametrize("sides", SIDES[:-1])
def test_each_pixel_is_the_mean_of_a_whole_square(sides: tuple[int, int], bands: int, by: int) -> None:
    pixels = noise(*sides, bands)
    image = pyvips.Image.new_from_array(pixels).copy(interpretation="srgb" if bands == 3 else "b-w", xres=2.5)
    divided = Divided(image, by)
    assert b"".join(bytes(strip) for strip in divided.strips()) == pixels.tobytes()
    small = divided.divided()
    expected = means(pixels, by)
    found = small.numpy().reshape(expected.shape).astype(float)
    assert np.abs(found - expected).max() <= 1
    assert (small.interpretation, small.xres) == (image.interpretation, 2.5)


@pytest.mark.parametrize("by", [2, 4, 8])
def test_it_is_as_bright_as_the_picture(by: int) -> None:
    """libvips' own division rounds halves up, and twice: by 2 it is half a level brighter."""
    pixels = noise(1000, 800, 3)
    small = Divided(pyvips.Image.new_from_array(pixels), by).divided()
    assert abs(float(small.numpy().mean()) - float(means(pixels, by).mean())) < 0.02


def test_what_the_reader_leaves_is_read_for_the_small_picture() -> None:
    pixels = noise(640, 480, 3)
    whole, partly = (Divided(pyvips.Image.new_from_array(pixels), 4) for _ in range(2))
    for _strip in partly.strips():
        break
    assert partly.divided().write_to_memory() == whole.divided().write_to_memory()


def test_it_says_that_the_decoder_failed() -> None:
    data = pictures.encoded(pictures.detailed(640, 480), "JPEG")
    cut = pyvips.Image.jpegload_buffer(data[: len(data) // 2], access="sequential", fail_on="error")
    divided = Divided(cut, 4)
    next(divided.strips())
    assert not divided.failed
    with pytest.raises(FileCorrupted):
        divided.divided()
    assert divided.failed
