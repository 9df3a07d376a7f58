"""Resampling puts every pixel where it belongs: measured on pictures whose value is their position."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
import pyvips
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from fastproc.core.header import Header
from fastproc.core.model import ThumbnailDecode
from fastproc.core.plan import DECODE_RULES, fit, reduction
from fastproc.worker.vips import resampling
from fastproc.worker.vips.resampling import in_memory, resized, scaled_copy

#: libvips' filters know 64 positions between two pixels; at two filters, and twice as much for the far end.
CLOSE_PX = 0.04


def positions(width: int, height: int) -> pyvips.Image:
    """A picture of two bands: each pixel's column and row."""
    return pyvips.Image.xyz(width, height).cast("float")


def values(picture: pyvips.Image) -> np.ndarray:
    """Rows, columns, bands. (The oldest pyvips that is allowed has no `numpy` for today's NumPy.)"""
    kind = np.float32 if picture.format == "float" else np.uint8
    return np.frombuffer(picture.write_to_memory(), kind).reshape(
        picture.height, picture.width, picture.bands
    )


def misplaced(made: np.ndarray, whole: float, left: int) -> float:
    """How far the values of one row or column are from their places, in pixels of the result, away from the edges.

    `whole` is the exact side before, of which `left` pixels were there.
    """
    scale = whole / len(made)
    wanted = (np.arange(len(made)) + 0.5) * scale - 0.5
    edge = 3 * max(1.0, scale) + 1
    inside = (wanted > edge) & (wanted < left - 1 - edge)
    return float(np.abs(made - wanted)[inside].max(initial=0) / scale)


@given(
    st.integers(16, 9000), st.integers(16, 9000), st.integers(1, 800), st.sampled_from(sorted(DECODE_RULES))
)
@example(1500, 1125, 600, "fast")
@example(4807, 3203, 600, "fast")
@example(4805, 101, 600, "fast")
@example(4000, 3002, 600, "best")
def test_a_reduced_decode_of_any_size_is_not_shifted(
    width: int, height: int, side: int, decode: ThumbnailDecode
) -> None:
    by = reduction(Header(format="jpeg", width=width, height=height), side, decode)
    wide, high = fit(width, height, side)
    made = values(resized(positions(width // by, height // by), wide, high, (width / by, height / by)))
    assert made.shape[:2] == (high, wide)
    assert misplaced(made[high // 2, :, 0], width / by, width // by) < CLOSE_PX
    assert misplaced(made[:, wide // 2, 1], height / by, height // by) < CLOSE_PX


@pytest.mark.parametrize("sides", [(1, 1), (1, 40), (40, 1), (3000, 2)])
def test_a_picture_without_anything_to_change_stays_as_it_is(sides: tuple[int, int]) -> None:
    made = values(resized(positions(*sides), *sides))
    assert (made == values(positions(*sides))).all()


def test_a_picture_up_to_six_times_too_large_is_resampled_by_lanczos_alone() -> None:
    """Noise shows the filter: with a box before it the difference to Pillow's Lanczos is 2.3 levels, not 0.4."""
    noise = np.random.default_rng(1).integers(0, 256, (477, 477), np.uint8)
    made = values(resized(pyvips.Image.new_from_array(noise), 90, 90))[:, :, 0]
    wanted = np.asarray(Image.fromarray(noise).resize((90, 90), Image.Resampling.LANCZOS))
    inside = np.s_[4:-4, 4:-4]
    assert np.abs(made[inside].astype(int) - wanted[inside]).mean() < 1


SPACES = {1: "b-w", 2: "b-w", 3: "srgb", 4: "srgb"}


def noise(dice: random.Random, width: int, height: int, bands: int) -> pyvips.Image:
    pixels = dice.randbytes(width * height * bands)
    made = pyvips.Image.new_from_memory(pixels, width, height, bands, "uchar")
    return in_memory(made.copy(interpretation=SPACES[bands], xres=dice.choice([1, 11.8]), yres=3))


#: Small and large ones, with alpha and without, both turns, a side that stays, one that grows.
SCALED = [
    ((150, 113), (32, 24)),
    ((113, 150), (32, 32)),
    ((300, 225), (150, 113)),
    ((400, 300), (300, 225)),
    ((100, 80), (32, 80)),
    ((40, 1), (32, 32)),
    ((20, 30), (32, 32)),
]


@pytest.mark.parametrize("bands", SPACES)
@pytest.mark.parametrize(("before", "after"), SCALED)
def test_a_pipeline_that_is_kept_scales_one_picture_after_another_as_a_new_one_does(
    bands: int, before: tuple[int, int], after: tuple[int, int]
) -> None:
    """No pixel of the picture before is in the next one's result, and what is said of it is its own."""
    dice = random.Random(bands)
    kept = []
    for _ in range(6):
        picture = noise(dice, *before, bands)
        wanted, made = resized(picture, *after), scaled_copy(picture, *after)
        assert made.write_to_memory() == wanted.write_to_memory()
        for name in ("width", "height", "bands", "format", "interpretation", "xres", "yres"):
            assert getattr(made, name) == getattr(wanted, name)
        kept.append((made, bytes(made.write_to_memory())))
    # A result has memory of its own: a later run does not change it.
    assert all(bytes(made.write_to_memory()) == pixels for made, pixels in kept)
    assert len({pixels for _, pixels in kept}) == len(kept)


def test_a_picture_of_the_right_size_is_not_computed_again() -> None:
    picture = noise(random.Random(1), 160, 120, 3)
    assert scaled_copy(picture, 160, 120) is picture


def test_pipelines_are_kept_for_small_pictures_alone_and_not_without_end() -> None:
    resampling._kept.cache_clear()
    dice = random.Random(1)
    for _ in range(3):
        scaled_copy(noise(dice, 400, 300, 3), 300, 225)
    assert resampling._kept.cache_info().currsize == 0
    for _ in range(3):
        scaled_copy(noise(dice, 200, 150, 3), 150, 113)
    assert (resampling._kept.cache_info().misses, resampling._kept.cache_info().hits) == (1, 2)
    for width, height in itertools.product(range(100, 110), range(100, 110)):
        scaled_copy(noise(dice, width, height, 1), 32, 32)
    assert resampling._kept.cache_info().currsize == resampling.KEPT
