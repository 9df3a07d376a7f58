"""Strips: every row once, in order; few of them for a small picture, small ones for a large."""

from __future__ import annotations

import random

import pytest
import pyvips

from fastproc.worker.vips.strips import STRIP_BYTES, STRIP_ROWS, strips


@pytest.mark.parametrize(
    ("width", "height", "bands", "count"),
    [
        (160, 120, 3, 1),
        (600, 450, 3, 4),
        (600, 436, 1, 1),
        (4000, 100, 3, 4),
        (1, 1, 3, 1),
        (100_000, 33, 3, 2),
    ],
)
def test_strips_are_the_rows_of_the_picture(width: int, height: int, bands: int, count: int) -> None:
    pixels = random.Random(1).randbytes(width * height * bands)
    picture = pyvips.Image.new_from_memory(pixels, width, height, bands, "uchar")
    found = [bytes(strip) for strip in strips(picture)]
    assert b"".join(found) == pixels
    assert len(found) == count
    assert all(len(strip) % (width * bands) == 0 for strip in found)
    assert all(len(strip) <= max(STRIP_BYTES, STRIP_ROWS * width * bands) for strip in found)
