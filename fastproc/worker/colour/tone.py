"""Turns the light of HDR pictures (PQ, HLG) into that of an ordinary screen: curves, and how highlights are compressed.

Rule 1: light is in units of the reference white, 203 cd/m2, which becomes the screen's white or a little less.
Rule 2: dark and middle tones keep their light; highlights up to the picture's peak are rolled off below white.
Source: ITU-R BT.2100-3 (PQ's EOTF, HLG's inverse OETF and OOTF), BT.2390-11 5.4.1 (the EETF), BT.2408-7 (203 cd/m2).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

WHITE_NITS: Final = 203.0
PQ_NITS: Final = 10_000.0
#: The peak where a PQ picture does not tell, and HLG's nominal one.
PEAK_NITS: Final = 1_000.0
#: HLG's system gamma at that peak.
HLG_GAMMA: Final = 1.2

_M1, _M2 = 2610 / 16384, 2523 / 4096 * 128
_C1, _C2, _C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
_A, _B, _C = 0.17883277, 0.28466892, 0.55991073


def pq_light(signal: float) -> float:
    """Return the light of a PQ signal of 0 to 1."""
    root = math.pow(signal, 1 / _M2)
    return PQ_NITS / WHITE_NITS * math.pow(max(root - _C1, 0.0) / (_C2 - _C3 * root), 1 / _M1)


def pq_signal(light: float) -> float:
    """Return the PQ signal of a light: the inverse of `pq_light`."""
    root = math.pow(max(light, 0.0) * WHITE_NITS / PQ_NITS, _M1)
    return math.pow((_C1 + _C2 * root) / (1 + _C3 * root), _M2)


def hlg_scene_light(signal: float) -> float:
    """Return the scene's light, 0 to 1, of an HLG signal of 0 to 1 (before the OOTF)."""
    return signal * signal / 3 if signal <= 0.5 else (math.exp((signal - _C) / _A) + _B) / 12


def peak_light(nits: float) -> float:
    """Return the peak as light: what the picture says, PEAK_NITS where it does not; never below the white."""
    return min(PQ_NITS, max(WHITE_NITS, nits or PEAK_NITS)) / WHITE_NITS


def compressed(light: float, peak: float) -> float:
    """Return light of up to `peak` as light of up to 1: BT.2390's EETF, with blacks unchanged."""
    top = pq_signal(peak)
    highest = pq_signal(1.0) / top
    signal = min(1.0, pq_signal(light) / top)
    knee = 1.5 * highest - 0.5
    if signal > knee and knee < 1:
        t = (signal - knee) / (1 - knee)
        signal = (
            (2 * t**3 - 3 * t**2 + 1) * knee
            + (t**3 - 2 * t**2 + t) * (1 - knee)
            + (3 * t**2 - 2 * t**3) * highest
        )
    return min(1.0, pq_light(signal * top))


def gains(peak: float, points: int) -> Iterator[float]:
    """Yield by what light is multiplied, for the light `light_at(0)` ... `light_at(points - 1)`."""
    for n in range(points):
        light = light_at(n, points)
        yield compressed(light, peak) / light if light else 1.0


def light_at(index: int, points: int) -> float:
    """Return the light of a place in the table of `gains`: the fourth power leaves most places to the dark."""
    return math.pow(index / (points - 1), 4) * PQ_NITS / WHITE_NITS
