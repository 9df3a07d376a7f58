"""Finds duplicates: a perceptual hash, which is similar for pictures that look alike, and the SHA-256 of the file.

Two photos look alike if their hashes differ in few of the 64 bits: up to about 8 for the same photo at another size or
quality, about 32 for two unrelated photos.
"""

from __future__ import annotations

from functools import lru_cache
from statistics import median
from typing import Final

from fastproc.worker.digest import dct
from fastproc.worker.stage import StageResult, Work
from fastproc.worker.vips import colours
from fastproc.worker.vips.projection import Projection, weighted

NAME: Final = "phash"

#: As in the original pHash and in Python's imagehash: 32 x 32 grey values; the lowest 8 x 8 frequencies of their cosine
#: transform are compared with their median, row by row, highest bit first.
SIDE_PX: Final = 32
WAVES: Final = 8
#: Grey of red, green and blue as Pillow has it, of 2**16.
_GREY: Final = (19595, 38470, 7471)
#: Decimals that count: a flat picture's frequencies are all zero but for rounding errors.
_DECIMALS: Final = 3


def run(work: Work) -> StageResult:
    """Raises FileCorrupted."""
    pixels = colours.rgb_bytes(work.source.stretched(SIDE_PX, SIDE_PX))
    return StageResult({"hash": hash_of(pixels), "sha256": work.source.sha256()})


def hash_of(pixels: bytes) -> str:
    """Return 16 hexadecimal digits for 32 x 32 pixels R G B R G B ...

    Source: Pillow's convert("L") in integers, then imagehash.phash.
    """
    (sums,) = _projection().sums(dct.planar(pixels))
    values = [round(value, _DECIMALS) for value in sums]
    middle = median(values)
    bits = "".join("1" if value > middle else "0" for value in values)
    return f"{int(bits, 2):016x}"


@lru_cache(maxsize=1)
def _projection() -> Projection:
    lowest = dct.waves(WAVES, SIDE_PX)
    pairs = [(x, y) for y in range(WAVES) for x in range(WAVES)]
    return Projection(3, lowest, lowest, pairs, weighted(_GREY, 16))
