"""Gives cosines and the projections of small pictures on them, for placeholders and perceptual hashes."""

from __future__ import annotations

import math
from functools import lru_cache

Wave = tuple[float, ...]


@lru_cache(maxsize=128)
def waves(count: int, size: int, phase: float = 0.5) -> tuple[Wave, ...]:
    """Return the first `count` cosines over `size` samples; with a phase of 0.5 they are the DCT-II's."""
    return tuple(
        tuple(math.cos(math.pi / size * frequency * (place + phase)) for place in range(size))
        for frequency in range(count)
    )


def planar(pixels: bytes) -> bytes:
    """Return R G B R G B ... as all red, all green, all blue."""
    return b"".join((pixels[0::3], pixels[1::3], pixels[2::3]))
