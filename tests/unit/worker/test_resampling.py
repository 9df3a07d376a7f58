"""Resampling puts every pixel where it belongs: measured on pictures whose value is their position."""

from __future__ import annotations

import numpy as np
import pytest
import pyvips
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from fastproc.core.header import Header
from fastproc.core.model import ThumbnailDecode
from fastproc.core.plan import DECODE_RULES, fit, reduction
from fastproc.worker.vips.resampling import resized

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
