"""Thumbnails keep their quality at every size of the source: no step where the decoder begins to reduce further.

The score is SSIMULACRA2 against the source scaled from all of its pixels by Pillow's Lanczos. Coding alone leaves 80.
Before a reduced decode was placed exactly, and had a margin, a source of 1195 pixels gave 80, one of 1205 gave 55,
2395 gave 72, 2405 gave 50, 2701 gave 56, 2711 gave 70. Now they are between 78.9 and 80.2.
"""

from __future__ import annotations

import functools
import io

import numpy as np
import pytest
from PIL import Image, ImageDraw
from ssimulacra2 import compute_ssimulacra2

from tests import pictures
from tests.golden.conftest import Studio

#: Points that 10 pixels more or less of a source may cost, and the least score.
STEP, LEAST = 5.0, 77.0


@functools.cache
def leaves(width: int = 3700, height: int = 1850) -> Image.Image:
    """Discs of many sizes, one over another: fine texture with hard edges at every scale."""
    chance = np.random.default_rng(5)
    picture = Image.new("RGB", (width, height), (110, 110, 110))
    draw = ImageDraw.Draw(picture)
    for radius in np.sort(6 / np.sqrt(1 - 0.9999 * chance.random(40_000)))[::-1]:
        x, y = chance.random() * width, chance.random() * height
        colour = tuple(int(value) for value in chance.integers(50, 200) + chance.integers(-15, 16, 3))
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), colour)
    return picture


def source(side: int) -> bytes:
    width, height = leaves().size
    small = leaves().resize((side, round(height * side / width)), Image.Resampling.LANCZOS)
    return pictures.encoded(small, "JPEG", quality=95)


def score(studio: Studio, data: bytes, name: str = "thumb_lg") -> float:
    _, files = studio.files(data)
    made = Image.open(io.BytesIO(files[name]))
    wanted = Image.open(io.BytesIO(data)).resize(made.size, Image.Resampling.LANCZOS)
    pair = [io.BytesIO(pictures.encoded(each.convert("RGB"), "PNG")) for each in (wanted, made)]
    return float(compute_ssimulacra2(*pair))


# Where a decode by 2, 4 begins: by the fast rule at 1200 and 2400, by the balanced one at 1800 and 3600. Odd sizes.
@pytest.mark.parametrize("side", [1195, 1205, 1289, 1795, 2395, 2701, 3595])
def test_ten_pixels_more_of_a_source_do_not_move_the_score(studio: Studio, side: int) -> None:
    before, after = (score(studio, source(each)) for each in (side, side + 10))
    assert abs(after - before) < STEP, f"{side} px: {before:.1f}, {side + 10} px: {after:.1f}"
    assert min(before, after) > LEAST
